"""Potentials of this package with random weights, at a named size and by one of several routes.

=============  ====================================================================================
``eager``      the module as it is
``scripted``   exported to TorchScript, and loaded as a user loads it
``compiled``   ``Potential.compiled``, by ``torch.compile``
``bounded``    the module as it is, in parts that keep a memory ceiling
=============  ====================================================================================

Called as directly as the peers are: positions in, hypergraph, network, energy and forces out; no
ASE.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from speed.parts import shares_of_parts
from speed.structure import Motion, Structure

from se3set_mlip.export.loading import load, load_bound
from se3set_mlip.export.torchscript import export_bound, export_generic
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.hypergraph.build import HypergraphConfig
from se3set_mlip.model.sizes import named_config
from se3set_mlip.potential.candidate_cache import CandidateCache
from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.potential.potential import Potential
from se3set_mlip.potential.potential_module import PotentialModule
from se3set_mlip.topology.molecule import Topology

PACKAGES = ("se3set-mlip", "torch", "e3nn")
ELEMENTS = (1, 6, 7, 8)


class OurSubject:
    """A potential in float32.

    Parameters
    ----------
    size
        A named size.
    route
        See above.
    device
        Where to compute.
    ceiling_gib
        Memory ceiling of the route ``bounded``.
    """

    def __init__(self, *, size: str, route: str, device: str, ceiling_gib: float) -> None:
        self._device = device
        self._memory_gib = ceiling_gib if route == "bounded" else None
        self._made = make_potential(size)
        self._run = self._made.to(device=device)
        if route == "scripted":
            with tempfile.TemporaryDirectory() as folder:
                path = export_generic(self._made, Path(folder) / "model.pt")
                self._run = load(path, device=device)
        elif route == "compiled":
            self._run = self._run.compiled()
        self._batch: Any = None

    def prepare(self, structure: Structure) -> None:
        """Take another structure; its fragments are found once, weights are frozen as in a file."""
        self._structure = structure
        self._fragments = self._fragment(structure)
        self._cache = CandidateCache()
        self._system = self._systems([structure.positions])
        self._run.module.eval().requires_grad_(False)

    def energy_forces(self, positions: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return energy and forces; candidates are kept as engines keep them."""
        system = self._system._replace(positions=self._tensor(positions))
        out = self._run.compute(system, cache=self._cache, memory_gib=self._memory_gib)
        return float(out.energy), out.forces.cpu().numpy()

    def prepare_training(self, copies: Sequence[NDArray[np.float64]]) -> None:
        """Make a batch; its hypergraph is part of every step, as in training."""
        self._run.module.train().requires_grad_(True)
        self._batch = self._systems(copies)

    def training_step(self) -> None:
        """Compute the loss of energies and forces, and its gradient."""
        self._run.module.zero_grad(set_to_none=True)
        out = self._run.module(self._batch, True, False)
        per_atom = out.energy / self._structure.n_atoms
        loss = per_atom.pow(2).mean() + out.forces.pow(2).mean()
        loss.backward()

    def parts(self, motion: Motion, *, calls: int) -> dict[str, Any]:
        """Return the share of time of each part of an evaluation; see ``parts.py``."""
        systems = [
            self._system._replace(positions=self._tensor(motion.positions(k))) for k in range(calls)
        ]
        return shares_of_parts(self._run.module, systems)

    def first_calls(self, motion: Motion, *, calls: int, bound: bool) -> list[float]:
        """Return the times of the first calls of an artefact that was just loaded.

        Parameters
        ----------
        motion
            Of the structure.
        calls
            How many.
        bound
            Whether it is bound to the structure and called as ``TorchForce`` calls it, in
            TorchScript's optimising executor; else it is generic, and read by ``load``.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.pt"
            if bound:
                periodic = self._structure.cell is not None
                export_bound(self._made, path, self._fragments, periodic=periodic)
                module = load_bound(path, device=self._device)
            else:
                export_generic(self._made, path)
                self._run = load(path, device=self._device)
        times = []
        for k in range(calls):
            positions = motion.positions(k)
            begin = time.perf_counter()
            if bound:
                self._call_bound(module, positions)
            else:
                self.energy_forces(positions)
            times.append(time.perf_counter() - begin)
        return times

    def _call_bound(self, module: torch.jit.ScriptModule, positions: NDArray[np.float64]) -> None:
        """Compute energy and forces in OpenMM's units, as it does."""
        leaf = self._tensor(positions / 10.0).requires_grad_(True)
        arguments = [leaf]
        if self._structure.cell is not None:
            arguments.append(self._tensor(self._structure.cell / 10.0))
        energy = module(*arguments)
        energy.backward()

    def _fragment(self, structure: Structure) -> Fragmentation:
        """Return the fragments of a structure."""
        topology = Topology(
            numbers=tuple(int(number) for number in structure.numbers),
            bonds=structure.bonds,
            orders=structure.orders,
            formal_charges=structure.charges,
        )
        return self._made.fragment(
            topology,
            structure.positions,
            cell=structure.cell,
            pbc=None if structure.cell is None else True,
        )

    def _systems(self, copies: Sequence[NDArray[np.float64]]) -> Any:
        """Return the tensors of geometries of the structure."""
        structure = self._structure
        return batch_systems(
            [
                self._run.system(
                    structure.numbers,
                    positions,
                    self._fragments,
                    cell=structure.cell,
                    pbc=None if structure.cell is None else True,
                )
                for positions in copies
            ]
        )

    def _tensor(self, values: NDArray[np.float64]) -> torch.Tensor:
        """Return values in float32 on the device."""
        return torch.as_tensor(values, dtype=torch.float32, device=self._device)


def make_potential(size: str) -> Potential:
    """Return a potential of a named size with random weights, in float32."""
    config = PotentialConfig(
        model=named_config(size, elements=ELEMENTS),
        hypergraph=HypergraphConfig(membership="hard" if size == "published" else "smooth"),
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = PotentialModule(config, dtype=torch.float32)
    return Potential(module.eval(), config)


def make_subject(options: dict[str, Any]) -> OurSubject:
    """Return a subject of a ``size`` by a ``route``."""
    return OurSubject(
        size=options["size"],
        route=options["route"],
        device=options["device"],
        ceiling_gib=options["ceiling_gib"],
    )
