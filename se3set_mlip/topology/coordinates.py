"""From coordinates alone to the molecular graph: bonds by distance, orders by valence.

See :mod:`se3set_mlip.topology.distance_bonds` for the first and
:mod:`se3set_mlip.topology.valence` for the second. What has no clear answer is an error.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from se3set_mlip.elements import check_elements, format_charge
from se3set_mlip.errors import InputError, TopologyError
from se3set_mlip.topology.arrays import integer_array, real_number, whole_number
from se3set_mlip.topology.distance_bonds import find_bonds
from se3set_mlip.topology.geometry import as_positions, make_box
from se3set_mlip.topology.graph import MolecularGraph
from se3set_mlip.topology.valence import assign_orders

CARBON = 6


def graph_from_coordinates(
    numbers: ArrayLike,
    positions: ArrayLike,
    charge: int = 0,
    *,
    cell: ArrayLike | None = None,
    pbc: ArrayLike | None = None,
    time_limit_seconds: float = 10.0,
) -> MolecularGraph:
    """Perceive a molecular graph from coordinates; see ``Topology.from_coordinates``."""
    elements = as_numbers(numbers)
    points = as_positions(positions, len(elements))
    total_charge = whole_number(charge, what="charge", expected="give the total charge as an int")
    limit = real_number(time_limit_seconds, what="time_limit_seconds", expected="give seconds")
    if not limit > 0.0:
        raise InputError(f"time_limit_seconds = {time_limit_seconds}; expected above 0")
    box = make_box(cell, pbc)
    bonds, shortness = find_bonds(elements, points, box)
    pairs = tuple((int(i), int(j)) for i, j in bonds)
    atoms = tuple(elements.tolist())
    found = assign_orders(
        atoms,
        pairs,
        charge=total_charge,
        shortness=shortness,
        time_limit_seconds=limit,
    )
    graph = MolecularGraph(atoms, pairs, found.orders, found.formal_charges)
    _check_carbon_ions(graph)
    return graph


def bonded_pairs(
    numbers: ArrayLike,
    positions: ArrayLike,
    *,
    cell: ArrayLike | None = None,
    pbc: ArrayLike | None = None,
) -> tuple[tuple[int, int], ...]:
    """Return who is bonded to whom, sorted, without orders; arguments and errors as above."""
    elements = as_numbers(numbers)
    points = as_positions(positions, len(elements))
    bonds, _ = find_bonds(elements, points, make_box(cell, pbc))
    return tuple((int(i), int(j)) for i, j in bonds)


def as_numbers(numbers: ArrayLike) -> NDArray[np.int64]:
    """Return atomic numbers as int64 after checking them.

    Parameters
    ----------
    numbers
        Atomic numbers, (n_atoms,), integers.

    Raises
    ------
    InputError
        For another shape or type, no atoms, or an unknown element.
    """
    values = integer_array(numbers, what="numbers", expected="expected integers, such as [8, 1, 1]")
    if values.ndim != 1 or len(values) == 0:
        raise InputError(
            f"numbers have shape {values.shape}; expected (n_atoms,) with at least one atom"
        )
    check_elements(values.tolist())
    return values.astype(np.int64)


def _check_carbon_ions(graph: MolecularGraph) -> None:
    """Raise for a saturated carbon ion that another ion compensates: a bond has come apart."""
    total = sum(graph.formal_charges)
    saturated = [True] * len(graph.numbers)
    for (i, j), order in zip(graph.bonds, graph.orders, strict=True):
        if order > 1:
            saturated[i] = saturated[j] = False
    for atom, (number, charge) in enumerate(zip(graph.numbers, graph.formal_charges, strict=True)):
        if number == CARBON and saturated[atom] and charge * total <= 0 and charge != 0:
            raise TopologyError(
                f"atom {atom} (C) would be an ion of charge {format_charge(charge)} in a system of "
                f"charge {format_charge(total)}: a bond is broken or a hydrogen is missing; check "
                "the geometry, or build the topology from SMILES"
            )
