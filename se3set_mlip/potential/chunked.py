"""Energies, forces and stress of large systems in parts: fast, and within a memory ceiling.

What a :class:`PotentialModule` computes at once is computed part by part here, with the same
result: see :mod:`.staged` for how and :mod:`.memory` for how large parts are. Small systems are one
part, and computed at once.
"""

import math

import torch

from se3set_mlip.errors import InputError
from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.hypergraph.parts import (
    Arrangement,
    arrange,
    first_part,
    n_rows,
    spatial_order,
    split,
)
from se3set_mlip.potential.derivatives import displaced, forces_and_stress, pullback
from se3set_mlip.potential.memory import (
    NetworkMemory,
    measure,
    rows_in_part,
    saved_bytes,
    tensor_bytes,
)
from se3set_mlip.potential.potential_module import (
    PotentialCandidates,
    PotentialModule,
    PotentialOutput,
)
from se3set_mlip.potential.staged import StagedEvaluation, differentiable

ATOMS_AT_ONCE = 256
"""Systems of up to this many atoms are always computed at once unless there is a ceiling."""
COMPILED_ATOMS_AT_ONCE = 1024
"""The same for a compiled network, which parts cannot use: they take less memory, more time."""
ATOMS_MEASURED = 32


def check_memory(memory_gib: float | None) -> None:
    """Raise ``InputError`` unless a ceiling is a positive number of GiB, or None."""
    if memory_gib is None:
        return
    number = isinstance(memory_gib, int | float) and not isinstance(memory_gib, bool)
    if not number or not 0.0 < memory_gib < math.inf:
        raise InputError(f"memory_gib = {memory_gib!r}; give a positive number of GiB, or None")


class ChunkedEvaluation:
    """Evaluates a potential in parts.

    Parameters
    ----------
    module
        The potential, whose network has stages.
    atoms_at_once
        Systems of up to so many atoms are computed at once unless there is a ceiling; None:
        :data:`ATOMS_AT_ONCE`.

    Attributes
    ----------
    n_parts
        In how many parts the last system was computed.
    """

    def __init__(self, module: PotentialModule, *, atoms_at_once: int | None = None) -> None:
        self.module = module
        self.atoms_at_once = atoms_at_once
        self.n_parts = 1
        self._memory: NetworkMemory | None = None

    def __call__(
        self,
        system: System,
        candidates: PotentialCandidates | None = None,
        *,
        forces: bool,
        stress: bool,
        memory_gib: float | None = None,
    ) -> PotentialOutput:
        """Compute energies, and derivatives if asked for; all without a graph.

        Parameters
        ----------
        system
            Structures.
        candidates
            Found for these atoms near by; None: they are searched for.
        forces, stress
            What to compute besides energies.
        memory_gib
            What the evaluation may take in GiB, besides what the process holds already; None: what
            makes it fast.

        Raises
        ------
        InputError
            If not even parts of one atom fit into the ceiling.
        """
        module = self.module
        self.n_parts = 1
        most = ATOMS_AT_ONCE if self.atoms_at_once is None else self.atoms_at_once
        few = len(system.numbers) <= most
        if few and memory_gib is None:
            return self._at_once(system, candidates, forces=forces, stress=stress)
        if candidates is None:
            candidates = module.candidates(system, 0.0)
        listed = candidates.hypergraph
        free, inputs = displaced(system, stress)
        with torch.set_grad_enabled(forces or stress):
            hypergraph, graph_bytes = saved_bytes(
                lambda: module.builder.weighted(free, listed, prune=True)
            )
        arrangement = arrange(hypergraph, spatial_order(system, ATOMS_AT_ONCE))
        fixed_bytes = graph_bytes + tensor_bytes(candidates) + 3 * tensor_bytes(arrangement)
        rows = self._rows_in_part(arrangement, fixed_bytes, memory_gib)
        if math.isinf(rows):
            del hypergraph, arrangement
            return self._at_once(system, candidates, forces=forces, stress=stress)

        parts = split(arrangement, rows)
        self.n_parts = len(parts)
        evaluation = StagedEvaluation(module.network, arrangement, parts)
        if forces or stress:
            network, derivatives = evaluation.derivatives(module.energy_scale)
        else:
            network, derivatives = evaluation.energies(), []
        del evaluation, parts, arrangement
        with torch.set_grad_enabled(forces or stress):
            energy, atomic = module.with_references(
                free, network.to(torch.float64), candidates.repulsion
            )
        out_forces = out_stress = system.positions[:0]
        if forces or stress:
            weights = [torch.ones_like(energy), *derivatives]
            found = pullback([energy, *differentiable(hypergraph)], weights, inputs)
            out_forces, out_stress = forces_and_stress(system, found, forces)
        return PotentialOutput(
            energy.detach(), atomic.detach(), out_forces, out_stress.view(-1, 3, 3)
        )

    def _at_once(
        self,
        system: System,
        candidates: PotentialCandidates | None,
        *,
        forces: bool,
        stress: bool,
    ) -> PotentialOutput:
        """Compute without parts."""
        with torch.set_grad_enabled(forces or stress):
            output: PotentialOutput = self.module(system, forces, stress, candidates)
        return output

    def _rows_in_part(
        self, arrangement: Arrangement, fixed_bytes: float, memory_gib: float | None
    ) -> float:
        """Return how many rows a part may have; measures the network where it must."""
        network, whole = self.module.network, arrangement.hypergraph
        if self._memory is None or not self._memory.fits(whole):
            self._memory = measure(network, first_part(arrangement, ATOMS_MEASURED), whole)
        return rows_in_part(
            self._memory,
            n_rows(arrangement),
            n_stages=network.n_stages,
            fixed_bytes=fixed_bytes + self._memory.features(whole, network.n_stages),
            memory_gib=memory_gib,
            device=whole.pair_vector.device,
        )
