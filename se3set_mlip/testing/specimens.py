"""The same structure written down differently, and others made of it; bonds travel along.

Positions are rows, so a rotation acts as ``r @ R.T``. Lengths in Å. Nothing changes its argument.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from numpy.typing import ArrayLike

from se3set_mlip.errors import InputError, TopologyError
from se3set_mlip.potential.fragment_cache import total_charge
from se3set_mlip.testing.subject import Array, Specimen
from se3set_mlip.topology.molecule import Topology

BOX_MARGIN_ANGSTROM = 3.0
SMALLEST_BOX_ANGSTROM = 3.5


def held(specimen: Specimen) -> Specimen:
    """Return the specimen with its bonds found, so that no displacement changes them.

    Where no bonding pattern fits (a metal, a radical) it comes back as it is.
    """
    if specimen.topology is not None:
        return specimen
    atoms = specimen.atoms
    periodic = bool(np.any(atoms.pbc))
    try:
        topology = Topology.from_coordinates(
            atoms.numbers,
            atoms.positions,
            total_charge(atoms),
            cell=np.asarray(atoms.cell) if periodic else None,
            pbc=atoms.pbc if periodic else None,
        )
    except (TopologyError, InputError):  # what a calculator knows more of, it still can be asked
        return specimen
    return Specimen(atoms, topology)


def _with(specimen: Specimen, positions: ArrayLike, *, cell: ArrayLike | None = None) -> Specimen:
    """Return the specimen with other positions (n_atoms, 3) and, if given, cell (3, 3)."""
    atoms = specimen.atoms.copy()
    atoms.positions[:] = positions
    if cell is not None:
        atoms.set_cell(cell, scale_atoms=False)
    return Specimen(atoms, specimen.topology)


def turned(specimen: Specimen, matrix: Array) -> Specimen:
    """Return the specimen under an orthogonal matrix (3, 3): a rotation or a reflection."""
    atoms = specimen.atoms
    return _with(specimen, atoms.positions @ matrix.T, cell=np.asarray(atoms.cell) @ matrix.T)


def strained(specimen: Specimen, strain: Array) -> Specimen:
    """Return the specimen with positions and cell under ``1 + strain``, (3, 3) symmetric."""
    deform = np.eye(3) + strain
    atoms = specimen.atoms
    return _with(specimen, atoms.positions @ deform, cell=np.asarray(atoms.cell) @ deform)


def displaced(specimen: Specimen, displacement: ArrayLike) -> Specimen:
    """Return the specimen with atoms displaced by (n_atoms, 3), or all by (3,), in Å."""
    return _with(specimen, specimen.atoms.positions + np.asarray(displacement))


def permuted(specimen: Specimen, order: Sequence[int]) -> Specimen:
    """Return the specimen renumbered: new atom ``k`` is old ``order[k]``."""
    topology = specimen.topology
    return Specimen(
        specimen.atoms[np.asarray(order)], None if topology is None else topology.permuted(order)
    )


def wrapped(specimen: Specimen) -> Specimen:
    """Return the specimen with every atom wrapped into the cell by itself."""
    atoms = specimen.atoms.copy()
    atoms.wrap(eps=0.0)
    return Specimen(atoms, specimen.topology)


def joined(first: Specimen, second: Specimen) -> Specimen:
    """Return both specimens as one structure, in the cell of the first, as they lie.

    The bonds are known if those of both are; the charge is the sum of both.
    """
    atoms = first.atoms + second.atoms
    charge = total_charge(first.atoms) + total_charge(second.atoms)
    if charge != 0:
        atoms.info["charge"] = charge
    else:
        atoms.info.pop("charge", None)
    one, other = first.topology, second.topology
    if one is None or other is None:
        return Specimen(atoms)
    n = one.n_atoms
    topology = Topology(
        numbers=one.numbers + other.numbers,
        bonds=one.bonds + tuple((i + n, j + n) for i, j in other.bonds),
        orders=one.orders + other.orders,
        formal_charges=one.formal_charges + other.formal_charges,
    )
    return Specimen(atoms, topology)


def doubled(specimen: Specimen, axis: int) -> Specimen:
    """Return the specimen and its image along a lattice vector, in a cell twice as long.

    Raises
    ------
    InputError
        If the structure is not periodic along this vector.
    """
    atoms = specimen.atoms
    if not atoms.pbc[axis]:
        raise InputError(f"lattice vector {axis} is not periodic; double along one that is")
    cell = np.array(atoms.cell)
    both = joined(specimen, displaced(specimen, cell[axis]))
    cell[axis] *= 2.0
    return _with(both, both.atoms.positions, cell=cell)


def molecules(specimen: Specimen) -> tuple[tuple[int, ...], ...]:
    """Return the atoms of each molecule; a structure without known bonds is one."""
    if specimen.topology is None:
        return (tuple(range(len(specimen.atoms))),)
    return specimen.topology.components


def part(specimen: Specimen, chosen: Sequence[int]) -> Specimen:
    """Return one molecule of the specimen; ``chosen`` are its atoms, sorted."""
    topology = specimen.topology
    if topology is None:
        return Specimen(specimen.atoms[list(chosen)])
    new = {old: position for position, old in enumerate(chosen)}
    kept = [
        ((new[i], new[j]), order)
        for (i, j), order in zip(topology.bonds, topology.orders, strict=True)
        if i in new and j in new
    ]
    atoms: Any = specimen.atoms[list(chosen)]
    charges = tuple(topology.formal_charges[k] for k in chosen)
    atoms.info["charge"] = sum(charges)
    return Specimen(
        atoms,
        Topology(
            numbers=tuple(topology.numbers[k] for k in chosen),
            bonds=tuple(bond for bond, _ in kept),
            orders=tuple(order for _, order in kept),
            formal_charges=charges,
        ),
    )


def whole(specimen: Specimen) -> Specimen:
    """Return the specimen with every molecule in one piece, along its bonds, by nearest images."""
    topology = specimen.topology
    atoms = specimen.atoms
    if topology is None or not np.any(atoms.pbc):
        return specimen
    positions = np.array(atoms.positions)
    for molecule in topology.components:
        reached = [molecule[0]]
        seen = set(reached)
        for i in reached:  # grows while it is walked
            for j in topology.neighbors[i]:
                if j not in seen:
                    step, _ = find_mic(positions[j] - positions[i], atoms.cell, atoms.pbc)
                    positions[j] = positions[i] + step
                    seen.add(j)
                    reached.append(j)
    return _with(specimen, positions)


def isolated(specimen: Specimen) -> Specimen:
    """Return the specimen in open space, with its molecules in one piece."""
    alone = whole(specimen)
    atoms: Atoms = alone.atoms.copy()
    atoms.pbc = False
    atoms.set_cell(np.zeros((3, 3)), scale_atoms=False)
    return Specimen(atoms, alone.topology)


def boxed(specimen: Specimen, *, margin_angstrom: float = BOX_MARGIN_ANGSTROM) -> Specimen:
    """Return the specimen in a periodic, slightly triclinic cell; itself if it is periodic.

    Parameters
    ----------
    specimen
        A molecule, or several.
    margin_angstrom
        How much longer the cell is than the molecule, so that images come close.
    """
    if np.all(specimen.atoms.pbc):
        return specimen
    atoms = isolated(specimen).atoms
    extent = np.maximum(np.ptp(atoms.positions, axis=0) + margin_angstrom, SMALLEST_BOX_ANGSTROM)
    cell = np.diag(extent)
    cell[1, 0], cell[2, 0], cell[2, 1] = 0.07 * extent[0], -0.05 * extent[0], 0.06 * extent[1]
    atoms.set_cell(cell, scale_atoms=False)
    atoms.pbc = True
    atoms.positions += 0.5 * cell.sum(axis=0) - atoms.positions.mean(axis=0)
    return Specimen(atoms, specimen.topology)
