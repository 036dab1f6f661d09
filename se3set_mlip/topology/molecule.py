"""Topology: atoms, bonds with Kekulé orders, formal charges.

The one description of chemistry that the rest of the package sees. It holds no coordinates; it is
immutable, hashable and comparable, and numbers its atoms as the caller does. A system of several
molecules (a dimer, a water box) is one topology of several components.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from se3set_mlip.elements import COVALENT_RADII, check_elements
from se3set_mlip.errors import InputError, TopologyError
from se3set_mlip.topology.arrays import integer_array, real_number
from se3set_mlip.topology.coordinates import graph_from_coordinates
from se3set_mlip.topology.geometry import as_positions, make_box, minimum_image
from se3set_mlip.topology.graph import MolecularGraph, connected_components
from se3set_mlip.topology.openmm_topology import graph_from_openmm
from se3set_mlip.topology.perception import graph_from_rdkit, graph_from_smiles, graph_to_rdkit

if TYPE_CHECKING:
    from rdkit import Chem

BROKEN_FACTOR = 1.6
"""A bond is broken at this times the sum of covalent radii."""


@dataclass(frozen=True)
class Topology:
    """Who is bonded to whom, how strongly, and where the charges are.

    Attributes
    ----------
    numbers
        Atomic number of each atom.
    bonds
        Pairs ``(i, j)`` with ``i < j``, sorted.
    orders
        Kekulé order of each bond: 1, 2 or 3.
    formal_charges
        Formal charge of each atom, in units of the elementary charge.

    Raises
    ------
    InputError
        For fields that are no tuples of ints, or an element without a covalent radius.
    TopologyError
        For bonds that are out of order, repeated or out of range, or for lengths that differ.
    """

    numbers: tuple[int, ...]
    bonds: tuple[tuple[int, int], ...]
    orders: tuple[int, ...]
    formal_charges: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_types(self)
        check_elements(self.numbers)
        n_atoms = len(self.numbers)
        if n_atoms == 0:
            raise TopologyError("a topology without atoms; expected at least one atom")
        if len(self.formal_charges) != n_atoms:
            raise TopologyError(
                f"{len(self.formal_charges)} formal charges for {n_atoms} atoms; give one per atom"
            )
        if len(self.orders) != len(self.bonds):
            raise TopologyError(
                f"{len(self.orders)} bond orders for {len(self.bonds)} bonds; give one per bond"
            )
        for i, j in self.bonds:
            if not 0 <= i < j < n_atoms:
                raise TopologyError(
                    f"bond ({i}, {j}) in a topology of {n_atoms} atoms; "
                    f"expected 0 <= i < j < {n_atoms}"
                )
        for earlier, later in pairwise(self.bonds):
            if earlier >= later:
                raise TopologyError(
                    f"bond {later} follows {earlier}; sort the bonds and give each once"
                )
        for bond, order in zip(self.bonds, self.orders, strict=True):
            if order not in (1, 2, 3):
                raise TopologyError(
                    f"bond {bond} has order {order!r}; expected a Kekulé order 1, 2 or 3"
                )

    @classmethod
    def from_smiles(cls, smiles: str) -> "Topology":
        """Build from a SMILES string; hydrogens are added.

        Parameters
        ----------
        smiles
            One or several molecules (``"CCO.O"``). Atoms are numbered as RDKit numbers them:
            those of the string first, added hydrogens after. If every atom, hydrogens included,
            has a map number, atoms are in the order of their map numbers.

        Raises
        ------
        TopologyError
            If the string cannot be read, or only some atoms have map numbers.
        """
        return cls(*graph_from_smiles(smiles))

    @classmethod
    def from_rdkit(cls, mol: "Chem.Mol") -> "Topology":
        """Build from an RDKit molecule with explicit hydrogens; it is not changed.

        Raises
        ------
        TopologyError
            If hydrogens are implicit, or bonds have no Kekulé order.
        """
        return cls(*graph_from_rdkit(mol))

    @classmethod
    def from_coordinates(
        cls,
        numbers: ArrayLike,
        positions: ArrayLike,
        charge: int = 0,
        *,
        cell: ArrayLike | None = None,
        pbc: ArrayLike | None = None,
        time_limit_seconds: float = 10.0,
    ) -> "Topology":
        """Perceive bonds, orders and formal charges from coordinates alone.

        Prefer the other constructors when the chemistry is known. Only closed shells have an
        answer here: radicals, metals and bonds that are neither formed nor broken raise.

        Parameters
        ----------
        numbers
            Atomic numbers, (n_atoms,).
        positions
            Positions in Å, (n_atoms, 3).
        charge
            Total charge of all components together, in elementary charges.
        cell
            Lattice vectors as rows in Å, (3, 3); bonds then follow the nearest image.
        pbc
            Which lattice vectors are periodic, one or three bools; all, if a cell is given.
        time_limit_seconds
            Limit on the search for bond orders.

        Raises
        ------
        InputError
            For shapes that do not fit, values that are not finite, unknown elements, coincident
            atoms, or a cell that encloses no volume.
        TopologyError
            If no closed-shell bonding pattern fits the geometry and the charge, or none was found
            in time.
        """
        return cls(
            *graph_from_coordinates(
                numbers,
                positions,
                charge,
                cell=cell,
                pbc=pbc,
                time_limit_seconds=time_limit_seconds,
            )
        )

    @classmethod
    def from_openmm(cls, topology: Any) -> "Topology":
        """Build from an OpenMM ``Topology`` with all its hydrogens and bonds.

        Bond orders and formal charges that it states are followed where valences allow; others
        are filled in from the coordination of each atom. OpenMM is not imported.

        Raises
        ------
        InputError
            For an atom without an element (a virtual site) or of an unknown element.
        TopologyError
            If no closed-shell bonding pattern fits.
        """
        return cls(*graph_from_openmm(topology))

    def to_rdkit(self) -> "Chem.Mol":
        """Return an RDKit molecule with explicit atoms, Kekulé bonds and no conformer."""
        return graph_to_rdkit(self.graph)

    @property
    def graph(self) -> MolecularGraph:
        """The four tuples as they are, for functions that know no classes."""
        return MolecularGraph(self.numbers, self.bonds, self.orders, self.formal_charges)

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.numbers)

    @cached_property
    def charge(self) -> int:
        """Total charge: the sum of the formal charges."""
        return sum(self.formal_charges)

    @cached_property
    def components(self) -> tuple[tuple[int, ...], ...]:
        """Atoms of each molecule, sorted, molecules in the order of their first atoms."""
        return connected_components(self.n_atoms, self.bonds)

    @cached_property
    def neighbors(self) -> tuple[tuple[int, ...], ...]:
        """Bonded atoms of each atom, sorted."""
        found: list[list[int]] = [[] for _ in range(self.n_atoms)]
        for i, j in self.bonds:
            found[i].append(j)
            found[j].append(i)
        return tuple(tuple(sorted(atoms)) for atoms in found)

    @cached_property
    def _bond_arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Bonds, (n_bonds, 2), and sums of the two covalent radii, (n_bonds,), Å."""
        bonds = np.array(self.bonds, dtype=np.int64).reshape(-1, 2)
        radii = np.array([COVALENT_RADII[number] for number in self.numbers])
        return bonds, radii[bonds].sum(axis=1)

    def bonds_hold(
        self,
        positions: ArrayLike,
        *,
        cell: ArrayLike | None = None,
        pbc: ArrayLike | None = None,
        factor: float = BROKEN_FACTOR,
    ) -> bool:
        """Tell whether every bond is shorter than ``factor * (R_u + R_v)``.

        A cheap test, at any step of a simulation, that this topology still describes the system.

        Parameters
        ----------
        positions
            Positions in Å, (n_atoms, 3); atoms may be wrapped one by one.
        cell, pbc
            Lattice vectors (3, 3) in Å and which are periodic; distances to nearest images.
        factor
            Allowed stretch over the sum of covalent radii.

        Raises
        ------
        InputError
            For shapes that do not fit or values that are not finite.
        """
        points = as_positions(positions, self.n_atoms)
        factor = real_number(factor, what="factor", expected="give a number such as 1.6")
        bonds, radius_sums = self._bond_arrays
        vectors = minimum_image(points[bonds[:, 1]] - points[bonds[:, 0]], make_box(cell, pbc))
        lengths = np.linalg.norm(vectors, axis=1)  # (n_bonds,)
        return bool(np.all(lengths < factor * radius_sums))

    def permuted(self, order: Sequence[int]) -> "Topology":
        """Return the same chemistry with atoms renumbered: new atom ``k`` is old ``order[k]``.

        Raises
        ------
        InputError
            If ``order`` is not a permutation of all atoms.
        """
        atoms = integer_array(order, what="order", expected="give each atom once").tolist()
        if not isinstance(atoms, list) or sorted(atoms) != list(range(self.n_atoms)):
            raise InputError(
                f"order {atoms!r:.80} is no permutation of {self.n_atoms} atoms; give each atom "
                "once"
            )
        new = {old: position for position, old in enumerate(atoms)}
        entries = sorted(
            (min(new[i], new[j]), max(new[i], new[j]), bond_order)
            for (i, j), bond_order in zip(self.bonds, self.orders, strict=True)
        )
        return Topology(
            numbers=tuple(self.numbers[old] for old in atoms),
            bonds=tuple((i, j) for i, j, _ in entries),
            orders=tuple(bond_order for _, _, bond_order in entries),
            formal_charges=tuple(self.formal_charges[old] for old in atoms),
        )


def _check_types(topology: Topology) -> None:
    """Raise unless the fields are tuples of ints, and of pairs of ints."""
    for name in ("numbers", "orders", "formal_charges"):
        _check_ints(name, getattr(topology, name))
    if not isinstance(topology.bonds, tuple):
        raise InputError(f"bonds = {topology.bonds!r} are no tuple; give a tuple of pairs of ints")
    for bond in topology.bonds:
        _check_ints("a bond", bond, length=2)


def _check_ints(name: str, values: object, *, length: int | None = None) -> None:
    """Raise unless these are a tuple of ints (and no bools), of a length if one is given."""
    if (
        not isinstance(values, tuple)
        or not all(isinstance(value, int) and not isinstance(value, bool) for value in values)
        or length not in (None, len(values))
    ):
        count = "" if length is None else f"{length} "
        raise InputError(
            f"{name} = {values!r:.80} in a topology; expected a tuple of {count}ints: build it "
            "with Topology.from_smiles, from_rdkit, from_coordinates or from_openmm"
        )
