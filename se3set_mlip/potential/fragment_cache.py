"""Topology and fragments of structures, found once for all structures of the same molecule.

Bond orders take a search, but who is bonded to whom is quickly seen. Structures with the same
atoms, charge, periodicity and bonds share one topology and its fragments, in whatever order they
come. A structure that is too distorted for its bonds to be found takes the fragments of one before
it, if all bonds of that are shorter than 1.6 times the sum of covalent radii.
"""

from functools import lru_cache
from numbers import Real
from typing import Any

import numpy as np

from se3set_mlip.errors import InputError, TopologyError
from se3set_mlip.fragments.fragmentation import Fragmentation, FragmentationConfig, fragment
from se3set_mlip.topology.arrays import three_flags
from se3set_mlip.topology.coordinates import as_numbers, bonded_pairs
from se3set_mlip.topology.geometry import as_positions
from se3set_mlip.topology.molecule import Topology


def total_charge(atoms: Any) -> int:
    """Return the charge of an ASE ``Atoms``: ``info["charge"]``, else the initial charges' sum.

    Raises
    ------
    InputError
        If it is no whole number.
    """
    value = atoms.info.get("charge")
    if value is None:
        value = float(np.sum(atoms.get_initial_charges()))
    try:
        # Text and bools are no charges, even where Python makes numbers of them.
        charge = float(value) if isinstance(value, Real) and not isinstance(value, bool) else 0.5
        whole = round(charge)
    except (ValueError, OverflowError):  # NaN, infinity, a huge int
        charge, whole = 0.5, 0
    if abs(charge - whole) > 1e-6:
        raise InputError(
            f"the charge of the structure is {value!r:.40}, not a whole number; set "
            "atoms.info['charge']"
        )
    return whole


def stated_topology(atoms: Any) -> Topology | None:
    """Return the chemistry that a structure states in ``info["mapped_smiles"]``, or None.

    A SMILES string in which every atom, hydrogens included, has a map number: its place among the
    atoms, from 1 on. So structures whose bonds cannot be perceived (radicals, broken bonds) have a
    topology nevertheless.

    Raises
    ------
    TopologyError
        If the string cannot be read or atoms lack map numbers.
    """
    smiles = atoms.info.get("mapped_smiles")
    if smiles is None:
        return None
    if not isinstance(smiles, str) or ":" not in smiles:
        raise TopologyError(
            f"atoms.info['mapped_smiles'] = {smiles!r} has no map numbers; write one for every "
            "atom, e.g. '[C:1]([H:2])([H:3])([H:4])[H:5]', or remove it"
        )
    return _topology_of(smiles)


@lru_cache(maxsize=1024)
def _topology_of(smiles: str) -> Topology:
    """Return the topology of a SMILES string, read once: many structures state the same."""
    return Topology.from_smiles(smiles)


def stated_charge(atoms: Any) -> int:
    """Return the charge that a structure states, as a number or by its SMILES; else 0.

    Raises
    ------
    InputError, TopologyError
        As :func:`total_charge` and :func:`stated_topology`.
    """
    topology = stated_topology(atoms) if atoms.info.get("charge") is None else None
    return total_charge(atoms) if topology is None else topology.charge


class FragmentCache:
    """Finds fragmentations and keeps them.

    Parameters
    ----------
    config
        Settings of the fragments.
    """

    def __init__(self, config: FragmentationConfig) -> None:
        self.config = config
        self._found: dict[tuple[bytes, int, tuple[bool, ...]], list[Fragmentation]] = {}
        self._given: dict[tuple[Topology, tuple[bool, ...]], Fragmentation] = {}

    def find(self, atoms: Any, *, topology: Topology | None = None) -> Fragmentation:
        """Return the fragmentation of a structure.

        Parameters
        ----------
        atoms
            An ASE ``Atoms`` (or alike: numbers, positions, cell, pbc, info). ``info["charge"]`` is
            used, else the sum of the initial charges.
        topology
            The chemistry, where the caller knows it; else what the structure states in
            ``info["mapped_smiles"]``; else it is perceived from coordinates.

        Raises
        ------
        TopologyError
            If no bonding pattern fits the coordinates and the charge.
        InputError
            If ``topology`` is of other atoms or of another charge than ``info["charge"]``, or the
            coordinates cannot be right.
        """
        numbers = as_numbers(atoms.numbers)
        positions = as_positions(atoms.positions, len(numbers))
        pbc = tuple(three_flags(atoms.pbc, what="pbc").tolist())
        cell = np.asarray(atoms.cell) if any(pbc) else None
        if topology is None:
            topology = stated_topology(atoms)
        if topology is not None:
            found = self._of_topology(topology, numbers, positions, cell, pbc)
            if atoms.info.get("charge") is not None:
                _check_charge(total_charge(atoms), topology)
            return found

        charge = total_charge(atoms)
        periodicity = pbc if any(pbc) else None
        kept = self._found.setdefault((numbers.tobytes(), charge, pbc), [])
        try:
            bonds = bonded_pairs(numbers, positions, cell=cell, pbc=periodicity)
            for known in kept:
                if known.topology.bonds == bonds:
                    return known
            perceived = Topology.from_coordinates(
                numbers, positions, charge, cell=cell, pbc=periodicity
            )
        except TopologyError:
            for known in reversed(kept):
                if known.topology.bonds_hold(positions, cell=cell, pbc=periodicity):
                    return known
            raise
        kept.append(self._fragment(perceived, positions, cell, pbc))
        return kept[-1]

    def _of_topology(
        self,
        topology: Topology,
        numbers: np.ndarray,
        positions: np.ndarray,
        cell: np.ndarray | None,
        pbc: tuple[bool, ...],
    ) -> Fragmentation:
        """Return the fragmentation of a topology that was given."""
        if not isinstance(topology, Topology):
            raise InputError(
                f"topology is {topology!r} of type {type(topology).__name__}; make one with "
                "Topology.from_smiles, from_rdkit, from_coordinates or from_openmm"
            )
        if topology.numbers != tuple(numbers.tolist()):
            raise InputError(
                f"the topology has {topology.n_atoms} atoms {topology.numbers[:8]}..., the "
                f"structure {len(numbers)} {tuple(numbers[:8].tolist())}...; give one in the "
                "order of the atoms"
            )
        key = (topology, pbc)
        if key not in self._given:
            self._given[key] = self._fragment(topology, positions, cell, pbc)
        return self._given[key]

    def _fragment(
        self,
        topology: Topology,
        positions: np.ndarray,
        cell: np.ndarray | None,
        pbc: tuple[bool, ...],
    ) -> Fragmentation:
        """Cut a topology into fragments at this geometry."""
        return fragment(
            topology,
            positions,
            config=self.config,
            cell=cell,
            pbc=pbc if any(pbc) else None,
        )


def _check_charge(charge: int, topology: Topology) -> None:
    """Raise ``InputError`` if a structure states another charge than its topology has."""
    if charge != topology.charge:
        raise InputError(
            f"atoms.info['charge'] = {charge}, the formal charges of the topology sum to "
            f"{topology.charge}; correct one of them, or leave the charge out"
        )
