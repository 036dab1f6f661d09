"""Valence states: the closed-shell ways in which each element binds.

A state is a formal charge, the sum of bond orders that goes with it, and a cost. The costs order
what a chemist would write: a neutral octet is free, a hypervalent centre costs less than separated
charges (so a sulfoxide is S=O), ions of nitrogen and oxygen cost less than those of carbon.
"""

from typing import NamedTuple


class ValenceState(NamedTuple):
    """One closed-shell way in which an element binds."""

    charge: int
    """Formal charge."""
    valence: int
    """Sum of its bond orders."""
    cost: float
    """How unusual it is; 0 for the usual one, about 1 for an ordinary ion."""


def _states(*entries: tuple[int, int, float]) -> tuple[ValenceState, ...]:
    """Return valence states from plain tuples."""
    return tuple(ValenceState(*entry) for entry in entries)


_PNICTOGEN = _states((0, 3, 0.0), (0, 5, 0.5), (1, 4, 1.0), (-1, 6, 3.0), (-1, 2, 1.5))
_CHALCOGEN = _states((0, 2, 0.0), (0, 4, 0.4), (0, 6, 0.5), (-1, 1, 1.0), (1, 3, 1.2))
_HALOGEN = _states(
    (0, 1, 0.0), (-1, 0, 1.0), (0, 3, 0.8), (0, 5, 0.9), (0, 7, 1.0), (-1, 2, 1.2), (1, 2, 1.5)
)
VALENCE_STATES: dict[int, tuple[ValenceState, ...]] = {
    1: _states((0, 1, 0.0)),
    3: _states((0, 1, 0.0), (1, 0, 0.0)),
    5: _states((0, 3, 0.0), (-1, 4, 1.0)),
    6: _states((0, 4, 0.0), (-1, 3, 2.5), (1, 3, 2.5)),
    7: _states((0, 3, 0.0), (1, 4, 1.0), (-1, 2, 1.0), (0, 5, 4.0)),
    8: _states((0, 2, 0.0), (-1, 1, 1.0), (1, 3, 1.5)),
    9: _states((0, 1, 0.0), (-1, 0, 1.0)),
    14: _states((0, 4, 0.0), (-1, 5, 2.0), (-2, 6, 3.0)),
    15: _PNICTOGEN,
    16: _CHALCOGEN,
    17: _HALOGEN,
    33: _PNICTOGEN,
    34: _CHALCOGEN,
    35: _HALOGEN,
    52: _CHALCOGEN,
    53: _HALOGEN,
}
"""Closed-shell states of each element."""
