"""The potential in the hand of a user: structures in, energies and forces out.

A :class:`Potential` holds a module (eager, or TorchScript with the same ``forward``), the settings
that made it and the metadata that travels with its file. Units are eV and Å.
"""

import copy
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import ArrayLike
from tqdm.auto import tqdm

from se3set_mlip.errors import InputError
from se3set_mlip.fragments.fragmentation import Fragmentation, fragment
from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.model.element_linear import ElementLinear
from se3set_mlip.potential.allocator import keep_freed_memory
from se3set_mlip.potential.candidate_cache import CandidateCache
from se3set_mlip.potential.chunked import (
    COMPILED_ATOMS_AT_ONCE,
    ChunkedEvaluation,
    check_memory,
)
from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.potential.fragment_cache import FragmentCache
from se3set_mlip.potential.hessian import hessian
from se3set_mlip.potential.inputs import check_electrons_known, make_system
from se3set_mlip.potential.potential_module import PotentialModule, PotentialOutput
from se3set_mlip.potential.results import Evaluation, Metadata, split_output
from se3set_mlip.topology.molecule import Topology

__all__ = [
    "Evaluation",
    "Metadata",
    "Potential",
    "PotentialConfig",
    "PotentialModule",
    "split_output",
    "usable_device",
]

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Potential:
    """A potential that can be evaluated.

    Parameters
    ----------
    module
        A :class:`PotentialModule`, or a scripted module with the same ``forward``.
    config
        The settings that made the module.
    metadata
        What is known of its origin.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        config: PotentialConfig,
        metadata: Metadata | None = None,
    ) -> None:
        self.module = module
        self.config = config
        self.metadata = metadata or Metadata()
        self.is_compiled = False
        self._cache = FragmentCache(config.fragmentation)
        self._chunked: ChunkedEvaluation | None = None
        if isinstance(module, PotentialModule):
            self._chunked = ChunkedEvaluation(module)

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the potential knows."""
        return self.config.model.elements

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of network and positions."""
        return next(self.module.network.parameters()).dtype  # type: ignore[union-attr]

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.module.parameters()).device

    @property
    def reference_energies(self) -> torch.Tensor:
        """Energies of the elements outside the network, (119,) by atomic number, eV, float64."""
        buffers = dict(self.module.named_buffers())
        return next(buffers[name] for name in buffers if name.endswith("reference_energies"))

    def to(
        self, *, device: torch.device | str | None = None, dtype: torch.dtype | str | None = None
    ) -> "Potential":
        """Return the potential on another device or in another dtype; itself if nothing changes.

        Raises
        ------
        InputError
            For an unknown dtype, a device that is not there, or another dtype of a TorchScript
            model.
        """
        name = self.dtype if dtype is None else dtype
        wanted = _DTYPES.get(str(name).removeprefix("torch."))
        if wanted is None:
            raise InputError(f"dtype {name!r} is none of {sorted(_DTYPES)}; give one of them")
        target = self.device if device is None else usable_device(device)
        if wanted == self.dtype and target == self.device:
            return self
        if isinstance(self.module, PotentialModule):
            module = self._copied_module(wanted).to(target)
            return self._again(Potential(module, self.config, self.metadata))
        if wanted != self.dtype:
            raise InputError(
                f"a TorchScript model of dtype {self.dtype} cannot become {wanted}; load the "
                "checkpoint (.safetensors), or export it in that dtype"
            )
        return Potential(copy.deepcopy(self.module).to(target), self.config, self.metadata)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Potential":
        """Copy the weights; engines deep-copy what they hold."""
        if isinstance(self.module, PotentialModule):
            module: torch.nn.Module = self._copied_module(self.dtype).to(self.device)
        else:
            module = copy.deepcopy(self.module, memo)
        return self._again(Potential(module, self.config, self.metadata))

    def _copied_module(self, dtype: torch.dtype) -> PotentialModule:
        """Return a new module with the same weights, on the CPU; its tables exact in ``dtype``."""
        module = PotentialModule(self.config, dtype=dtype)
        module.load_state_dict(self.module.state_dict())
        module.requires_grad_(any(weight.requires_grad for weight in self.module.parameters()))
        return module.train(self.module.training)

    def _again(self, copied: "Potential") -> "Potential":
        """Return a copy of this potential compiled, if this one is."""
        return copied.compiled() if self.is_compiled else copied

    def compiled(self) -> "Potential":
        """Return a copy whose network is compiled by ``torch.compile`` at its first evaluation.

        That takes minutes, once for a process, and a C++ compiler (on a GPU: Triton); afterwards
        an evaluation takes two thirds of the time. Any system is computed by the same program.
        Systems that are computed in parts, of more than 1,024 atoms or under a ceiling of memory,
        see :meth:`compute`, use the network as it is.

        Raises
        ------
        InputError
            For a TorchScript model, or without a C++ compiler for the processor.
        """
        if not isinstance(self.module, PotentialModule):
            raise InputError(
                "a potential that was loaded from TorchScript cannot be compiled again; load the "
                "checkpoint (.safetensors) that it was exported from"
            )
        if self.device.type == "cpu":
            _check_compiler()
        module = self._copied_module(self.dtype).to(self.device).eval().requires_grad_(False)
        for part in module.network.modules():
            if isinstance(part, ElementLinear):
                part.wide = True  # sizes that data decide would be compiled again and again
        module.network.compile(dynamic=True)
        potential = Potential(module, self.config, self.metadata)
        potential.is_compiled = True
        potential._chunked = ChunkedEvaluation(module, atoms_at_once=COMPILED_ATOMS_AT_ONCE)
        return potential

    def fragment(
        self,
        topology: Topology,
        positions: ArrayLike,
        *,
        cell: ArrayLike | None = None,
        pbc: ArrayLike | None = None,
    ) -> Fragmentation:
        """Cut a topology into fragments as this potential wants them; see ``s3.fragment``."""
        return fragment(topology, positions, config=self.config.fragmentation, cell=cell, pbc=pbc)

    def system(
        self,
        numbers: ArrayLike,
        positions: ArrayLike,
        fragmentation: Fragmentation,
        *,
        cell: ArrayLike | None = None,
        pbc: ArrayLike | None = None,
    ) -> System:
        """Check one structure and make its tensors; see :func:`.inputs.make_system`.

        Raises
        ------
        InputError
            Also for fragments that were made with other settings than the potential's, and for a
            total charge or an odd number of electrons that it was not trained on.
        """
        if not isinstance(fragmentation, Fragmentation):
            raise InputError(
                f"fragmentation is a {type(fragmentation).__name__}; make one with "
                "potential.fragment(topology, positions)"
            )
        if fragmentation.config != self.config.fragmentation:
            raise InputError(
                f"the fragments were made with {fragmentation.config}, the potential needs "
                f"{self.config.fragmentation}; make them with potential.fragment(...)"
            )
        check_electrons_known(fragmentation.topology, self.metadata)
        return make_system(
            numbers,
            positions,
            fragmentation,
            elements=self.elements,
            cell=cell,
            pbc=pbc,
            dtype=self.dtype,
            device=self.device,
        )

    def compute(
        self,
        system: System,
        *,
        forces: bool = True,
        stress: bool = False,
        cache: CandidateCache | None = None,
        memory_gib: float | None = None,
    ) -> PotentialOutput:
        """Compute a batch; all results are detached.

        Parameters
        ----------
        system
            The structures.
        forces, stress
            What to compute besides energies.
        cache
            Keeps candidates from one call to the next, for the same atoms in motion; None: they are
            searched for at each call, as they are by a TorchScript model in any case.
        memory_gib
            What the evaluation may take in GiB, besides what the process holds already, see
            :mod:`.memory`; None: what makes it fast, which for large systems is less than all at
            once takes.

        Raises
        ------
        InputError
            If stress is asked for of a structure that is not periodic in three directions; if the
            ceiling is too low or no positive number, or if there is one for a TorchScript model,
            which computes all at once.
        """
        if stress and not bool(system.pbc.all()):
            raise InputError(
                "stress needs a cell that is periodic in all three directions; set pbc=True and a "
                "cell, or do not ask for stress"
            )
        check_memory(memory_gib)
        if system.positions.device.type == "cpu":
            keep_freed_memory()
        was_training = self.module.training
        if was_training:
            self.module.eval()
        try:
            if self._chunked is None:
                return self._scripted(system, forces=forces, stress=stress, memory_gib=memory_gib)
            candidates = None
            if cache is not None:
                system, candidates = cache.find(self._chunked.module, system)
            return self._chunked(
                system, candidates, forces=forces, stress=stress, memory_gib=memory_gib
            )
        finally:
            if was_training:
                self.module.train()

    def _scripted(
        self, system: System, *, forces: bool, stress: bool, memory_gib: float | None
    ) -> PotentialOutput:
        """Compute a batch with a TorchScript model."""
        if memory_gib is not None:
            raise InputError(
                f"memory_gib = {memory_gib:g}, but a TorchScript model computes all at once; load "
                "the checkpoint that it was exported from, or set no ceiling"
            )
        with torch.set_grad_enabled(forces or stress):
            output: PotentialOutput = self.module(system, forces, stress)
        return output

    @overload
    def evaluate(
        self,
        structures: Sequence[Any],
        *,
        forces: bool = ...,
        stress: bool = ...,
        batch_size: int = ...,
        memory_gib: float | None = ...,
        topology: Topology | None = ...,
        progress: bool = ...,
    ) -> list[Evaluation]: ...

    @overload
    def evaluate(
        self,
        structures: Any,
        *,
        forces: bool = ...,
        stress: bool = ...,
        batch_size: int = ...,
        memory_gib: float | None = ...,
        topology: Topology | None = ...,
        progress: bool = ...,
    ) -> Any: ...

    def evaluate(
        self,
        structures: Any,
        *,
        forces: bool = True,
        stress: bool = False,
        batch_size: int = 32,
        memory_gib: float | None = None,
        topology: Topology | None = None,
        progress: bool = False,
    ) -> Any:
        """Evaluate one structure or many.

        Parameters
        ----------
        structures
            An ASE ``Atoms`` or a sequence of them. ``info["charge"]`` is honoured.
        forces, stress
            What to compute besides energies.
        batch_size
            Structures in one evaluation.
        memory_gib
            What one evaluation may take in GiB, besides what the process holds already; None: what
            makes it fast.
        topology
            Chemistry of all structures; found from coordinates if not given, once for all
            structures of the same molecule.
        progress
            Whether to show a progress bar.

        Returns
        -------
        Evaluation or list of Evaluation
            One if one structure was given, else a list.

        Raises
        ------
        InputError, TopologyError
            For structures that cannot be right, or whose bonds cannot be found.
        """
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size = {batch_size} must be a whole number, at least 1")
        for name, flag in (("forces", forces), ("stress", stress)):
            if not isinstance(flag, bool):
                raise InputError(f"{name} = {flag!r} must be True or False")
        single = hasattr(structures, "positions")
        items = _as_list([structures] if single else structures)
        out: list[Evaluation] = []
        with tqdm(total=len(items), disable=not progress, unit="structure") as bar:
            for start in range(0, len(items), batch_size):
                batch = items[start : start + batch_size]
                systems = [self._system_of(atoms, topology) for atoms in batch]
                out += self._evaluate_batch(
                    batch_systems(systems),
                    [len(atoms.numbers) for atoms in batch],
                    forces=forces,
                    stress=stress,
                    memory_gib=memory_gib,
                )
                bar.update(len(batch))
        return out[0] if single else out

    def _evaluate_batch(
        self,
        system: System,
        sizes: Sequence[int],
        *,
        forces: bool,
        stress: bool,
        memory_gib: float | None,
    ) -> list[Evaluation]:
        """Return the evaluations of the structures of a batch, of so many atoms each."""
        output = self.compute(system, forces=forces, stress=stress, memory_gib=memory_gib)
        return split_output(output, sizes)

    def hessian(
        self,
        structure: Any,
        *,
        topology: Topology | None = None,
        memory_gib: float | None = None,
    ) -> np.ndarray:
        """Return the second derivatives of the energy by positions; see :mod:`.hessian`.

        Parameters
        ----------
        structure
            An ASE ``Atoms``, or a :class:`System` of one structure.
        topology
            Chemistry of the ``Atoms``, as for :meth:`evaluate`.
        memory_gib
            What the calculation may take in GiB, besides what the process holds already; None: what
            makes it fast.

        Returns
        -------
        numpy.ndarray
            (3 n_atoms, 3 n_atoms) float64 in eV/Å^2, symmetric; as exact as the potential's dtype.

        Raises
        ------
        InputError
            For a TorchScript model, a batch of several structures, a topology beside a ``System``,
            or a ceiling that is too low.
        """
        if not isinstance(self.module, PotentialModule):
            raise InputError(
                "a TorchScript model has no second derivatives; load the checkpoint (.safetensors) "
                "that it was exported from"
            )
        if isinstance(structure, System):
            if topology is not None:
                raise InputError("a System has fragments already; give no topology beside it")
            system = structure
        else:
            (atoms,) = _as_list([structure])
            system = self._system_of(atoms, topology)
        module = self.module
        if self.is_compiled:  # what torch.compile makes can be differentiated once only
            module = self._copied_module(self.dtype).to(self.device)
        found = hessian(module, system, memory_gib=memory_gib)
        return found.cpu().numpy().astype(np.float64)

    def _system_of(self, atoms: Any, topology: Topology | None) -> System:
        """Return the system of an ASE ``Atoms``."""
        periodic = bool(np.any(atoms.pbc))
        return self.system(
            atoms.numbers,
            atoms.positions,
            self._cache.find(atoms, topology=topology),
            cell=np.asarray(atoms.cell) if periodic else None,
            pbc=atoms.pbc if periodic else None,
        )


def _check_compiler() -> None:
    """Raise ``InputError`` if the C++ compiler that torch.compile will call is not there."""
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    compiler = os.environ.get("CXX", usual)
    if shutil.which(compiler) is None:
        raise InputError(
            f"torch.compile needs a C++ compiler, and {compiler} is not on the PATH; install it, "
            "or go on without compiling"
        )


def _as_list(structures: Any) -> list[Any]:
    """Return a sequence of ASE ``Atoms`` as a list."""
    items = list(structures) if isinstance(structures, Iterable) else [structures]
    for item in items:
        if not all(hasattr(item, name) for name in ("numbers", "positions", "cell", "pbc", "info")):
            raise InputError(
                f"cannot evaluate {item!r} of type {type(item).__name__}; give an ASE Atoms or a "
                "list of them, as ase.io.read returns"
            )
    return items


def usable_device(device: torch.device | str) -> torch.device:
    """Return a device on which a tensor can be made."""
    try:
        usable = torch.device(device)
        torch.empty(0, device=usable)
    # An unknown name, a missing driver and a build without CUDA raise different errors.
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device {str(device)!r} cannot be used ({reason}); give 'cpu', or install a torch "
            "build and a driver for it"
        ) from error
    return usable
