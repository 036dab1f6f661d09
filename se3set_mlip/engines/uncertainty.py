"""What an engine does when a committee disagrees: a spread and thresholds become a decision.

The measure is the largest ``forces_std_norm`` of any atom in eV/Å (see
:mod:`se3set_mlip.potential.spread`): one atom in a place that no training structure has shown is
enough, whatever the size of the system.

- Above ``warn_above`` there is a warning, each time that the measure rises anew: it must have been
  below 0.8 of the threshold before, so that vibrations about the threshold warn once.
- Above ``stop_above``, or where it is not a number, there is an :class:`UncertaintyError` with the
  geometry.

An energy without forces is not watched: relaxations and dynamics always ask for forces.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from se3set_mlip.elements import SYMBOLS
from se3set_mlip.errors import ConfigError, Se3SetError
from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.potential.committee import Committee
from se3set_mlip.potential.potential import Potential
from se3set_mlip.potential.potential_module import PotentialOutput
from se3set_mlip.potential.spread import Spread, spread_of

REARM_FRACTION = 0.8


@dataclass(frozen=True)
class UncertaintyPolicy:
    """Above which spread to warn, and to stop.

    Parameters
    ----------
    warn_above, stop_above
        Thresholds of the largest ``forces_std_norm`` in eV/Å; None: never.

    Raises
    ------
    ConfigError
        For a threshold that is no positive number, or a warning that would come too late.
    """

    warn_above: float | None = None
    stop_above: float | None = None

    def __post_init__(self) -> None:
        """Validate the values."""
        for name in ("warn_above", "stop_above"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise ConfigError(
                    f"{name} = {value}; give a positive standard deviation of forces in eV/Å"
                )
        if (
            self.warn_above is not None
            and self.stop_above is not None
            and self.warn_above >= self.stop_above
        ):
            raise ConfigError(
                f"warn_above = {self.warn_above} is not below stop_above = {self.stop_above}: the "
                "warning would never come; lower it, or leave it out"
            )


@dataclass(frozen=True)
class UncertainGeometry:
    """Where the members of a committee disagree, and what they say there."""

    numbers: NDArray[np.int64]
    """(n_atoms,)."""
    positions: NDArray[np.float64]
    """(n_atoms, 3) Å, in the precision of the networks."""
    cell: NDArray[np.float64]
    """Lattice vectors as rows, (3, 3) Å; of no meaning along directions without a period."""
    pbc: NDArray[np.bool_]
    """Which of them are periodic, (3,)."""
    energy: float
    """Mean, eV."""
    forces: NDArray[np.float64]
    """Mean, (n_atoms, 3) eV/Å."""
    energy_std: float
    """eV."""
    forces_std: NDArray[np.float64]
    """(n_atoms, 3) eV/Å."""


class UncertaintyWarning(UserWarning):
    """The members of a committee differ by more than the user wants to be told of."""


class UncertaintyError(Se3SetError, RuntimeError):
    """The members of a committee differ by more than the user trusts.

    Attributes
    ----------
    geometry
        Where they do; None if the error was made by hand.
    """

    def __init__(self, message: str, geometry: UncertainGeometry | None = None) -> None:
        super().__init__(message)
        self.geometry = geometry


class WatchedCommittee(Committee):
    """A committee for engines: it keeps the spread of the last evaluation, and minds thresholds.

    Parameters
    ----------
    potentials
        The members, see :class:`~se3set_mlip.potential.committee.Committee`.
    policy
        The thresholds; None: there are none.

    Attributes
    ----------
    spread
        Of the last evaluation, whether or not it was above a threshold; None before the first.

    Raises
    ------
    ConfigError
        For fewer than two potentials, or for potentials that do not go together.
    UncertaintyError
        From ``compute``, if forces are asked for and the spread is above ``stop_above``.
    """

    def __init__(
        self, potentials: Sequence[Potential], policy: UncertaintyPolicy | None = None
    ) -> None:
        super().__init__(potentials)
        self.policy = policy or UncertaintyPolicy()
        self.spread: Spread | None = None
        self._above = False

    def _of(self, members: Sequence[Potential]) -> "WatchedCommittee":
        """Return a committee with other members and the same thresholds, which has seen nothing."""
        return WatchedCommittee(members, self.policy)

    def _look_at(
        self, system: System, members: Sequence[PotentialOutput], output: PotentialOutput
    ) -> None:
        """Keep the spread; warn or raise if forces were asked for and it is above a threshold."""
        self.spread = spread_of(members)
        if output.forces.shape[0]:
            self._watch(system, output, self.spread)

    def _watch(self, system: System, output: PotentialOutput, spread: Spread) -> None:
        """Warn or raise if the spread is above a threshold."""
        norms = spread.forces_std_norm.cpu().numpy()
        worst = int(np.argmax(norms))  # the first that is not a number, if there is one
        largest, warn, stop = float(norms[worst]), self.policy.warn_above, self.policy.stop_above
        if stop is not None and not largest <= stop:
            raise _error(system, output, spread, worst, stop)
        if warn is None:
            return
        if self._above:
            self._above = not largest < REARM_FRACTION * warn
        elif not largest <= warn:
            self._above = True
            warnings.warn(
                f"{_describe(system, largest, worst)}, above warn_above = {warn:g} eV/Å: no "
                "training structure may have been like this one",
                UncertaintyWarning,
                stacklevel=5,
            )


def _describe(system: System, largest: float, worst: int) -> str:
    """Return the spread, and the atom of its structure that it is at."""
    structure = system.structure.cpu()
    atom = int((structure[:worst] == structure[worst]).sum())
    symbol = SYMBOLS[int(system.numbers[worst])]
    return f"the committee's forces on {symbol}{atom} have a spread of {largest:.3g} eV/Å"


def _error(
    system: System, output: PotentialOutput, spread: Spread, worst: int, stop: float
) -> UncertaintyError:
    """Return the error with the structure that the worst atom belongs to."""
    structure = int(system.structure[worst])
    rows = (system.structure == structure).cpu().numpy()
    geometry = UncertainGeometry(
        numbers=system.numbers.cpu().numpy()[rows],
        positions=system.positions.detach().cpu().numpy().astype(np.float64)[rows],
        cell=system.cell[structure].detach().cpu().numpy().astype(np.float64),
        pbc=system.pbc[structure].cpu().numpy(),
        energy=float(output.energy[structure]),
        forces=output.forces.cpu().numpy().astype(np.float64)[rows],
        energy_std=float(spread.energy_std[structure]),
        forces_std=spread.forces_std.cpu().numpy()[rows],
    )
    largest = float(spread.forces_std_norm[worst])
    return UncertaintyError(
        f"{_describe(system, largest, worst)}, above stop_above = {stop:g} eV/Å: the prediction is "
        "not to be trusted there; label this geometry with the reference method and train on it, "
        "or raise the threshold",
        geometry,
    )
