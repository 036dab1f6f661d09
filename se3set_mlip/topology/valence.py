r"""Bond orders and formal charges from connectivity: an exact optimum, with a time limit.

Each atom takes one of a few closed-shell states of its element: a formal charge q, a valence n, and
a cost c that says how unusual the state is. The states and the extra orders x of the bonds (0, 1
or 2 above a single bond) solve the integer program

.. math::
    \min \sum_v c_{s(v)} - \sum_e (\epsilon_1 k_e + \epsilon_2 \sigma_e) x_e \quad\text{with}\quad
    \sum_{e \ni v} x_e = n_{s(v)} - b_v, \qquad \sum_v q_{s(v)} = Q,

b being the number of bonds of an atom and Q the total charge, if it is known. The two small terms
choose between Kekulé forms of one cost: first k, a number in [0, 1] from the graph around the two
atoms (many hydrogens first, as in C=[NH2+]), so that all geometries of a molecule get one form;
then, between bonds that symmetry makes equivalent, the relative shortness sigma. Neither depends on
the order of the atoms.
Electron pairs are whole in every state, so radicals have no solution: an error, not a guess.

Almost always most atoms have only one state that fits; they are set aside first, and what remains
falls apart into small regions, which are independent unless the total charge couples them. The
solver takes regions in batches, which is only faster.
"""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from se3set_mlip.elements import SYMBOLS, format_charge
from se3set_mlip.errors import TopologyError
from se3set_mlip.topology.valence_program import ValenceProgram

BATCH_ATOMS = 500


class Assignment(NamedTuple):
    """Orders and charges that fit."""

    orders: tuple[int, ...]
    """Kekulé order of each bond."""
    formal_charges: tuple[int, ...]
    """Formal charge of each atom."""


def assign_orders(
    numbers: Sequence[int],
    bonds: Sequence[tuple[int, int]],
    *,
    charge: int | None,
    shortness: NDArray[np.float64] | None = None,
    stated_orders: Sequence[int | None] | None = None,
    stated_charges: Sequence[int | None] | None = None,
    time_limit_seconds: float = 10.0,
) -> Assignment:
    """Find bond orders and formal charges for atoms with known neighbours.

    Parameters
    ----------
    numbers
        Atomic numbers.
    bonds
        Pairs of atoms; one or several molecules.
    charge
        Total charge, or ``None`` to let each molecule have its most usual one.
    shortness
        Relative shortness of each bond, (n_bonds,): (R_u + R_v - d) / (R_u + R_v).
    stated_orders, stated_charges
        What the caller knows, ``None`` where unknown; it is kept.
    time_limit_seconds
        Limit on the search.

    Raises
    ------
    TopologyError
        If no closed-shell pattern fits, or none was found in time.
    """
    problem = ValenceProgram(numbers, bonds, shortness, stated_orders, stated_charges)
    deadline = time.monotonic() + time_limit_seconds
    regions = problem.regions()
    for region in regions:
        if len(region) == 1:
            problem.settle(region[0])
    if any(len(region) > 1 for region in regions):
        problem.prefer_by_surroundings()
    for batch in _batches(regions):
        if not problem.solve(batch, None, deadline):
            raise _no_pattern(problem, regions, deadline)
    natural = sum(problem.charges)
    if charge is not None and natural != charge:
        free = [
            atom
            for region in regions
            for atom in region
            if len({state.charge for state in problem.states[atom]}) > 1 or len(region) > 1
        ]
        rest = natural - sum(problem.charges[atom] for atom in free)
        if not free or not problem.solve(free, charge - rest, deadline):
            raise TopologyError(
                f"no closed-shell bonding pattern fits a total charge of {format_charge(charge)}; "
                f"the geometry suggests {format_charge(natural)}: give the right charge, add "
                "missing hydrogens, or build the topology from SMILES (radicals and metals are not "
                "perceived)"
            )
    return Assignment(tuple(problem.orders), tuple(problem.charges))


def _batches(regions: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the atoms of several regions together; regions of one atom are left out."""
    batch: list[int] = []
    for region in regions:
        if len(region) > 1:
            batch.extend(region)
        if len(batch) >= BATCH_ATOMS:
            yield batch
            batch = []
    if batch:
        yield batch


def _no_pattern(
    problem: ValenceProgram, regions: Sequence[Sequence[int]], deadline: float
) -> TopologyError:
    """Return the error that names the first region without a solution."""
    region = next(
        region
        for region in regions
        if len(region) > 1 and not problem.solve(region, None, deadline)
    )
    names = " ".join(f"{SYMBOLS[problem.numbers[atom]]}{atom}" for atom in region[:12])
    return TopologyError(
        f"no closed-shell bonding pattern fits the unsaturated atoms {names}"
        f"{' ...' if len(region) > 12 else ''}, whatever their charge; add missing hydrogens, or "
        "build the topology from SMILES (radicals and metals are not perceived)"
    )
