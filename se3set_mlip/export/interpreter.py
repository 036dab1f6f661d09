"""How TorchScript is run.

TorchScript's optimising executor profiles the first calls of a program and compiles it for what it
saw: two or three calls of seconds. Afterwards it is no faster here than the plain interpreter,
because the sizes of a hypergraph change at every step and most time goes into matrix products. So:

- Called from Python (:class:`InterpretedPotential`), the interpreter runs, from the first call.
- ``TorchForce`` calls TorchScript from C++ and needs the optimising executor (its freezing of the
  module depends on it): a few slow calls, then none. :func:`limit_specialisation` keeps the fuser
  of GPUs from compiling again for each new size.
- C++ programs of one's own do best with ``torch::jit::setGraphExecutorOptimize(false)``.

Upstream TorchScript is deprecated; it is still what ``TorchForce`` and C++ programs load.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.potential.potential_module import PotentialOutput


def limit_specialisation() -> None:
    """Let TorchScript's fuser compile a program at most twice, for any shape.

    By default it compiles twice for exact shapes and ten times for any shape. The setting is one
    of the whole process (there is no other), concerns GPUs alone, and changes no numbers.
    """
    with expect_torchscript():
        torch.jit.set_fusion_strategy([("DYNAMIC", 2)])


class InterpretedPotential(nn.Module):
    """A scripted potential that runs in TorchScript's interpreter, in any thread.

    Parameters
    ----------
    script
        A compiled :class:`~se3set_mlip.potential.potential_module.PotentialModule`.
    """

    def __init__(self, script: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.script = script

    @property
    def network(self) -> nn.Module:
        """The network, whose weights tell the precision."""
        network: nn.Module = self.script.network
        return network

    def forward(self, system: System, forces: bool, stress: bool) -> PotentialOutput:  # noqa: FBT001
        """Compute what the script computes; see ``PotentialModule.forward``."""
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            output: PotentialOutput = self.script(system, forces, stress)
        return output


@contextmanager
def expect_torchscript() -> Iterator[None]:
    """Silence the warning, new in torch 2.9, that TorchScript is deprecated, and no other."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", r".*torch\.jit", category)
        yield
