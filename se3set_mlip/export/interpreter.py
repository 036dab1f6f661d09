"""How TorchScript is run: in its plain interpreter.

TorchScript's optimising executor profiles the first calls of a program and compiles it for what it
saw. Here that gains nothing: three calls of seconds, then the speed of eager torch, because the
sizes of a hypergraph change at every step and most time goes into products of matrices. The plain
interpreter starts at once and stays fastest. The setting is one of a thread; C++ programs make it
with ``torch::jit::setGraphExecutorOptimize(false)``.

Upstream TorchScript is deprecated. It is still what OpenMM's ``TorchForce`` and C++ programs load.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.potential.potential_module import PotentialOutput


def use_interpreter() -> None:
    """Run TorchScript without its optimising executor, from now on in the calling thread.

    :func:`bind` and ``load_bound`` call this, because OpenMM's ``TorchForce`` calls TorchScript
    where no context manager reaches. It matters to speed alone: the numbers are the same.
    """
    torch._C._set_graph_executor_optimize(False)  # noqa: SLF001


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
