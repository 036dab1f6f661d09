"""The integer program of :mod:`se3set_mlip.topology.valence`: states, regions, solution."""

import time
from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from se3set_mlip.elements import SYMBOLS
from se3set_mlip.errors import TopologyError
from se3set_mlip.topology.graph import connected_components, environment_codes
from se3set_mlip.topology.valence_states import VALENCE_STATES

HYDROGEN = 1
MOST_EXTRA_ORDERS = 2
INNER_ANION_COST = 0.01  # a neighbour: the end of an azide is the anion, not its middle
MOST_HYDROGENS = 4  # on both ends of a bond that can be more than single
SURROUNDINGS_WEIGHT = 1e-3
SHORTNESS_WEIGHT = 1e-5
COST_SCALE = 1e4  # lifts differences of shortness above the solver's absolute gap of 1e-6
TIME_LIMIT_STATUS = 1  # of scipy.optimize.milp


class ValenceProgram:
    """States that fit each atom, and the solution as far as it is known."""

    def __init__(
        self,
        numbers: Sequence[int],
        bonds: Sequence[tuple[int, int]],
        shortness: NDArray[np.float64] | None,
        stated_orders: Sequence[int | None] | None,
        stated_charges: Sequence[int | None] | None,
    ) -> None:
        self.numbers = numbers
        self.bonds = bonds
        self.preference = np.zeros(len(bonds))  # for a higher order, where all else is equal
        if shortness is not None:
            self.preference += SHORTNESS_WEIGHT * shortness
        stated = [None] * len(bonds) if stated_orders is None else list(stated_orders)
        self.orders = [1 if order is None else order for order in stated]
        self.charges = [0] * len(numbers)
        self.open_bonds: list[list[int]] = [[] for _ in numbers]
        self.used = [0] * len(numbers)  # valence taken by stated and single bonds
        n_neighbors = [0] * len(numbers)
        for bond, (i, j) in enumerate(bonds):
            for atom in (i, j):
                n_neighbors[atom] += 1
                self.used[atom] += self.orders[bond]
                if stated[bond] is None:
                    self.open_bonds[atom].append(bond)
        self.states = [
            [
                state._replace(cost=state.cost + INNER_ANION_COST * n_neighbors[atom])
                if state.charge < 0
                else state
                for state in VALENCE_STATES[number]
                if state.valence >= self.used[atom]
                and (stated_charges is None or stated_charges[atom] in (None, state.charge))
            ]
            for atom, number in enumerate(numbers)
        ]
        self._prune()

    def _other(self, bond: int, atom: int) -> int:
        """Return the atom at the other end of a bond."""
        i, j = self.bonds[bond]
        return j if atom == i else i

    def _need(self, atom: int) -> int:
        """Return the most extra order that an atom can take in any state left to it."""
        return max(state.valence for state in self.states[atom]) - self.used[atom]

    def _prune(self) -> None:
        """Drop states whose valence the neighbours cannot fill, until nothing changes."""
        for atom, states in enumerate(self.states):
            if not states:
                raise self._misfit(atom)
        waiting = set(range(len(self.states)))
        while waiting:
            atom = waiting.pop()
            room = sum(
                min(MOST_EXTRA_ORDERS, self._need(self._other(bond, atom)))
                for bond in self.open_bonds[atom]
            )
            fitting = [s for s in self.states[atom] if s.valence - self.used[atom] <= room]
            if not fitting:
                raise self._misfit(atom)
            if len(fitting) < len(self.states[atom]):
                self.states[atom] = fitting
                waiting.update(self._other(bond, atom) for bond in self.open_bonds[atom])

    def _misfit(self, atom: int) -> TopologyError:
        """Return the error for an atom that no state fits."""
        neighbors = sorted(
            SYMBOLS[self.numbers[j if atom == i else i]] for i, j in self.bonds if atom in (i, j)
        )
        return TopologyError(
            f"atom {atom} ({SYMBOLS[self.numbers[atom]]}) has {len(neighbors)} neighbour(s) "
            f"({' '.join(neighbors) or 'none'}) and bonds of total order {self.used[atom]}, which "
            "fits no closed-shell valence; check its position, missing hydrogens and bonds, or "
            "build the topology from SMILES (radicals and metals are not perceived)"
        )

    def regions(self) -> list[tuple[int, ...]]:
        """Return sets of atoms whose states and orders depend on one another."""
        edges = [
            (i, j)
            for bond, (i, j) in enumerate(self.bonds)
            if self._need(i) > 0 and self._need(j) > 0 and bond in self.open_bonds[i]
        ]
        return list(connected_components(len(self.numbers), edges))

    def prefer_by_surroundings(self) -> None:
        """Give bonds between different surroundings different preferences for a higher order."""
        codes = environment_codes(self.numbers, self.bonds)
        n_hydrogens = [0] * len(self.numbers)
        for i, j in self.bonds:
            n_hydrogens[i] += self.numbers[j] == HYDROGEN
            n_hydrogens[j] += self.numbers[i] == HYDROGEN
        for bond, (i, j) in enumerate(self.bonds):
            level = crc32(repr(sorted((codes[i], codes[j]))).encode("ascii")) / 2**32
            level += min(n_hydrogens[i] + n_hydrogens[j], MOST_HYDROGENS)
            self.preference[bond] += SURROUNDINGS_WEIGHT * level / (MOST_HYDROGENS + 1)

    def settle(self, atom: int) -> None:
        """Give an atom whose bonds are all single its most usual charge."""
        self.charges[atom] = min(self.states[atom], key=lambda state: state.cost).charge

    def solve(self, atoms: Sequence[int], charge: int | None, deadline: float) -> bool:
        """Find the best states and orders of some atoms, and keep them.

        Returns
        -------
        bool
            Whether there is a solution.

        Raises
        ------
        TopologyError
            If none was found in time.
        """
        rank = {atom: row for row, atom in enumerate(atoms)}
        bonds = sorted(
            {
                bond
                for atom in atoms
                for bond in self.open_bonds[atom]
                if all(end in rank and self._need(end) > 0 for end in self.bonds[bond])
            }
        )
        choices = [(atom, state) for atom in atoms for state in self.states[atom]]
        rows, columns, values = [], [], []  # entries of the constraint matrix
        for column, bond in enumerate(bonds):
            for end in self.bonds[bond]:
                rows.append(rank[end])
                columns.append(column)
                values.append(1.0)
        for column, (atom, state) in enumerate(choices, start=len(bonds)):
            rows += [rank[atom], len(atoms) + rank[atom], 2 * len(atoms)]
            columns += [column] * 3
            values += [float(self.used[atom] - state.valence), 1.0, float(state.charge)]
        matrix = coo_array((values, (rows, columns)), shape=(2 * len(atoms) + 1, columns[-1] + 1))
        target = np.concatenate([np.zeros(len(atoms)), np.ones(len(atoms)), [charge or 0]])
        slack = np.zeros(len(target))
        slack[-1] = np.inf if charge is None else 0.0
        upper = [min(MOST_EXTRA_ORDERS, *map(self._need, self.bonds[bond])) for bond in bonds]
        costs = np.concatenate([-self.preference[bonds], [state.cost for _, state in choices]])
        solution = _optimum(
            costs,
            LinearConstraint(matrix.tocsr(), target - slack, target + slack),
            upper=np.array(upper + [1] * len(choices)),
            deadline=deadline,
        )
        if solution is None:
            return False
        for bond, extra in zip(bonds, solution, strict=False):
            self.orders[bond] = 1 + int(extra)
        for (atom, state), chosen in zip(choices, solution[len(bonds) :], strict=True):
            if chosen:
                self.charges[atom] = state.charge
        return True


def _optimum(
    costs: NDArray[np.float64],
    constraint: LinearConstraint,
    *,
    upper: NDArray[np.int64],
    deadline: float,
) -> NDArray[np.int64] | None:
    """Return the integers from 0 to ``upper`` of least cost, or ``None`` if none are allowed."""
    remaining = deadline - time.monotonic()
    if remaining > 0.0:
        result = milp(
            COST_SCALE * costs,
            constraints=constraint,
            integrality=np.ones(len(costs)),
            bounds=Bounds(0, upper),
            options={"time_limit": remaining, "mip_rel_gap": 0.0},
        )
        if result.status != TIME_LIMIT_STATUS:
            return None if result.x is None else np.rint(result.x).astype(np.int64)
    raise TopologyError(
        f"no bond orders found in time for a program of {len(costs)} unknowns; raise "
        "time_limit_seconds, or build the topology from SMILES"
    )
