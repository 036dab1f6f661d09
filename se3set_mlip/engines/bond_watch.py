"""A system from geometry to geometry: fragments, positions and a policy become an energy.

What counts as a broken bond, and as one to give up, is told in :mod:`.bond_policy`.
"""

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from se3set_mlip.elements import COVALENT_RADII
from se3set_mlip.engines.bond_policy import (
    GIVEN_UP_FACTOR,
    Bond,
    BondPolicy,
    TopologyChange,
    TopologyChangeWarning,
    bond_name,
)
from se3set_mlip.errors import TopologyError
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.potential.candidate_cache import CandidateCache
from se3set_mlip.potential.chunked import check_memory
from se3set_mlip.potential.potential import Potential
from se3set_mlip.potential.potential_module import PotentialOutput
from se3set_mlip.topology.coordinates import bonded_pairs
from se3set_mlip.topology.geometry import as_positions, make_box, minimum_image
from se3set_mlip.topology.molecule import BROKEN_FACTOR, Topology


class BondWatch:
    """Evaluates one system from geometry to geometry, and watches its bonds.

    Parameters
    ----------
    policy
        What to do when bonds change.
    fragmentation
        Fragments to begin with.
    memory_gib
        What one evaluation may take; None: what makes it fast.
    """

    def __init__(
        self,
        policy: BondPolicy,
        fragmentation: Fragmentation,
        *,
        memory_gib: float | None = None,
    ) -> None:
        check_memory(memory_gib)
        self.policy = policy
        self.fragmentation = fragmentation
        self.n_evaluations = 0
        self.topology_changes: list[TopologyChange] = []
        self._known = {fragmentation.topology.bonds: fragmentation}
        self._warned = False
        self._memory_gib = memory_gib
        self._candidates = CandidateCache()

    def compute(
        self,
        potential: Potential,
        positions: NDArray[np.float64],
        *,
        cell: ArrayLike | None = None,
        pbc: ArrayLike | None = None,
        forces: bool = True,
        stress: bool = False,
    ) -> PotentialOutput:
        """Compute a geometry with the fragments that its bonds call for.

        Parameters
        ----------
        potential
            The potential, the same at each call.
        positions
            (n_atoms, 3), Å.
        cell, pbc
            Lattice vectors as rows, (3, 3), Å, and which are periodic.
        forces, stress
            What to compute besides the energy.

        Raises
        ------
        TopologyError
            For a broken bond, if the policy says so.
        InputError
            If the geometry cannot be right.
        """
        if not np.any(pbc):
            cell = pbc = None
        self.n_evaluations += 1
        output = self._evaluate(potential, positions, cell, pbc, forces=forces, stress=stress)
        if self.policy.on_bond_change == "reperceive":
            if self.n_evaluations % self.policy.check_interval:
                return output
            found = self._reperceive(potential, positions, cell, pbc)
            if found is not None:
                old, before = self.fragmentation, output
                self.fragmentation = found
                output = self._evaluate(
                    potential, positions, cell, pbc, forces=forces, stress=stress
                )
                self._record(old.topology, float(output.energy) - float(before.energy))
        self._watch(positions, cell, pbc)
        return output

    def _evaluate(
        self,
        potential: Potential,
        positions: NDArray[np.float64],
        cell: ArrayLike | None,
        pbc: ArrayLike | None,
        *,
        forces: bool,
        stress: bool,
    ) -> PotentialOutput:
        """Compute a geometry with the fragments in use."""
        numbers = self.fragmentation.topology.numbers
        system = potential.system(numbers, positions, self.fragmentation, cell=cell, pbc=pbc)
        return potential.compute(
            system,
            forces=forces,
            stress=stress,
            cache=self._candidates,
            memory_gib=self._memory_gib,
        )

    def _reperceive(
        self,
        potential: Potential,
        positions: NDArray[np.float64],
        cell: ArrayLike | None,
        pbc: ArrayLike | None,
    ) -> Fragmentation | None:
        """Return other fragments if the bonds are others; None also where bonds are unclear."""
        held = self.fragmentation.topology
        try:
            bonds = bonded_pairs(held.numbers, positions, cell=cell, pbc=pbc)
            if bonds == held.bonds or not self._given_up(bonds, positions, cell, pbc):
                return None
            if bonds not in self._known:
                topology = Topology.from_coordinates(
                    held.numbers, positions, held.charge, cell=cell, pbc=pbc
                )
                self._known[bonds] = potential.fragment(topology, positions, cell=cell, pbc=pbc)
        except TopologyError:  # between two molecules: asked again at the next check
            return None
        return self._known[bonds]

    def _given_up(
        self,
        bonds: tuple[Bond, ...],
        positions: NDArray[np.float64],
        cell: ArrayLike | None,
        pbc: ArrayLike | None,
    ) -> bool:
        """Tell whether the bonds that are found may replace those that are held."""
        held = self.fragmentation.topology
        lost = np.array([bond not in set(bonds) for bond in held.bonds], dtype=bool)
        _, stretches = _stretches(held, positions, cell, pbc)
        return not lost.any() or bool((stretches[lost] > GIVEN_UP_FACTOR).any())

    def _record(self, old: Topology, energy_jump: float) -> None:
        """Record that the fragments in use have replaced those of an old topology, and warn."""
        before, after = set(old.bonds), set(self.fragmentation.topology.bonds)
        change = TopologyChange(
            evaluation=self.n_evaluations,
            broken=tuple(sorted(before - after)),
            formed=tuple(sorted(after - before)),
            energy_jump=energy_jump,
            numbers=old.numbers,
        )
        self.topology_changes.append(change)
        self._warned = False
        warnings.warn(
            f"the topology changed, {change.describe()}", TopologyChangeWarning, stacklevel=4
        )

    def _watch(
        self, positions: NDArray[np.float64], cell: ArrayLike | None, pbc: ArrayLike | None
    ) -> None:
        """Warn, once, or raise when a bond of the topology in use is broken."""
        topology = self.fragmentation.topology
        raises = self.policy.on_bond_change == "error"
        if (self._warned and not raises) or topology.bonds_hold(positions, cell=cell, pbc=pbc):
            return
        lengths, stretches = _stretches(topology, positions, cell, pbc)
        worst = int(np.argmax(stretches))
        what = (
            f"bond {bond_name(topology.numbers, topology.bonds[worst])} is {lengths[worst]:.2f} Å "
            f"long, bonds hold up to {BROKEN_FACTOR * lengths[worst] / stretches[worst]:.2f} Å: "
            "the topology no longer describes these atoms, and the potential was not made for "
            "broken bonds"
        )
        if raises:
            raise TopologyError(
                f"{what}; relax the start or take a shorter time step, or choose on_bond_change = "
                "'reperceive' if the bond was meant to break ('keep' goes on with the old bonds)"
            )
        self._warned = True
        remedy = (
            "no other bonds could be found"
            if self.policy.on_bond_change == "reperceive"
            else "if the bond was meant to break, start anew, or choose 'reperceive'"
        )
        warnings.warn(f"{what}; {remedy}", stacklevel=4)


def _stretches(
    topology: Topology,
    positions: NDArray[np.float64],
    cell: ArrayLike | None,
    pbc: ArrayLike | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lengths of all bonds in Å, and those over the sums of radii; (n_bonds,) each."""
    points = as_positions(positions, topology.n_atoms)
    bonds = np.array(topology.bonds, dtype=np.int64).reshape(-1, 2)
    radii = np.array([COVALENT_RADII[number] for number in topology.numbers])
    vectors = minimum_image(points[bonds[:, 1]] - points[bonds[:, 0]], make_box(cell, pbc))
    lengths = np.linalg.norm(vectors, axis=1).astype(np.float64)
    return lengths, lengths / radii[bonds].sum(axis=1)
