"""What an engine does when bonds change on the way: a topology and a geometry become a decision.

The fragments of a topology are one smooth energy surface. They are kept while its bonds hold; what
comes then is the user's choice, ``on_bond_change``:

- ``"keep"``: the same surface for ever. A warning, once, when a bond is broken.
- ``"error"``: a :class:`~se3set_mlip.errors.TopologyError` when a bond is broken.
- ``"reperceive"``: at a check, every ``check_interval`` evaluations, bonds are found from the
  geometry. Where they are others, new fragments replace the old. The energy jumps there by

      jump = E(new fragments) - E(old fragments)    at the same geometry,

  which is warned of and recorded. Fragments are remembered: the way back leads to the old surface.

Two criteria, d the length of a bond and R the covalent radii:

- A bond is broken when d >= 1.6 (R_u + R_v): the topology is wrong beyond doubt. For O-H that is
  1.55 Å. A proton shared by two oxygen atoms 2.4 Å apart stays within, on either side, so that
  ``"keep"`` and ``"error"`` say nothing while it goes across.
- A bond is given up for others when it is no longer found, *and* d > 1.35 (R_u + R_v), 1.31 Å for
  O-H. A hydrogen atom belongs to the nearer of two atoms; without the second condition fragments
  would change each time that a proton passes the middle. Bonds that form while none is lost are
  taken at once: they are found below 1.25 (R_u + R_v).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from se3set_mlip.elements import SYMBOLS
from se3set_mlip.errors import ConfigError
from se3set_mlip.units import MEV_PER_EV

ON_BOND_CHANGE = ("keep", "error", "reperceive")
CHECK_INTERVAL = 100
GIVEN_UP_FACTOR = 1.35

Bond = tuple[int, int]


class TopologyChangeWarning(UserWarning):
    """New fragments have replaced the old, and the energy has jumped."""


@dataclass(frozen=True)
class BondPolicy:
    """What to do when bonds change.

    Parameters
    ----------
    on_bond_change
        ``"keep"``, ``"error"`` or ``"reperceive"``.
    check_interval
        Evaluations from one check of ``"reperceive"`` to the next; the others check at each.

    Raises
    ------
    ConfigError
        For another choice, or an interval that is no positive whole number.
    """

    on_bond_change: str = "keep"
    check_interval: int = CHECK_INTERVAL

    def __post_init__(self) -> None:
        """Validate the values."""
        if self.on_bond_change not in ON_BOND_CHANGE:
            raise ConfigError(
                f"on_bond_change = {self.on_bond_change!r}; expected one of "
                f"{', '.join(ON_BOND_CHANGE)}"
            )
        whole = isinstance(self.check_interval, int) and not isinstance(self.check_interval, bool)
        if not whole or self.check_interval < 1:
            raise ConfigError(
                f"check_interval = {self.check_interval!r}; give a whole number of evaluations, "
                "at least 1"
            )


@dataclass(frozen=True)
class TopologyChange:
    """New fragments in place of the old, at one geometry."""

    evaluation: int
    """Number of the evaluation, from 1."""
    broken: tuple[Bond, ...]
    """Bonds of the old topology alone, as pairs of atoms."""
    formed: tuple[Bond, ...]
    """Bonds of the new topology alone."""
    energy_jump: float
    """E(new) - E(old) at the same geometry, eV."""
    numbers: tuple[int, ...]
    """Atomic numbers, for names."""

    def describe(self) -> str:
        """Return one line, such as ``evaluation 200: O5-H11 broken, O3-H11 formed, ...``."""
        parts = [f"{bond_name(self.numbers, bond)} broken" for bond in self.broken]
        parts += [f"{bond_name(self.numbers, bond)} formed" for bond in self.formed]
        jump = f"energy jump {MEV_PER_EV * self.energy_jump:+.3f} meV"
        return f"evaluation {self.evaluation}: {', '.join([*parts, jump])}"


def bond_name(numbers: Sequence[int], bond: Sequence[int]) -> str:
    """Return a bond as people write it, such as ``O5-H11``."""
    i, j = bond
    return f"{SYMBOLS[numbers[i]]}{i}-{SYMBOLS[numbers[j]]}{j}"
