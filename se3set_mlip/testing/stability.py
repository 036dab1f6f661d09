"""Stability: Langevin dynamics must not tear the molecule apart.

Copies of the relaxed structure run at each temperature; their lengths add up to the time asked
for. A copy fails, and leaves, when

- a bond of the topology is off its relaxed length by more than 0.5 Å,
- its temperature, averaged over 0.1 ps, is above three times the thermostat's, or
- its energy is not finite.

A hydrogen that another oxygen or nitrogen holds has moved along a hydrogen bond: a proton transfer
is chemistry, not a failure. Its bond is then longer than the rule allows; it is counted apart, and
the copy goes on.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np
import torch

from se3set_mlip.potential.potential import PotentialModule
from se3set_mlip.simulate.velocities import draw_momenta, temperature_kelvin
from se3set_mlip.testing.bonds import Bonds
from se3set_mlip.testing.integrators import (
    State,
    initial_state,
    kinetic_energies,
    langevin_step,
    relaxed,
)
from se3set_mlip.testing.results import CheckResult
from se3set_mlip.testing.subject import Array, Specimen, Subject
from se3set_mlip.testing.subjects import PotentialSubject
from se3set_mlip.units import FEMTOSECONDS_PER_PICOSECOND

FAILURES = 0
TEMPERATURE_FACTOR = 3.0
TEMPERATURE_WINDOW_PS = 0.1
TEMPERATURES_KELVIN = (300.0, 500.0)
FRICTION_PER_PS = 2.0


class CopyWatch:
    """Follows one copy: whether it holds, and how many protons went over.

    Parameters
    ----------
    bonds
        Of the relaxed structure.
    kelvin
        Temperature of the thermostat in K.
    timestep_fs
        Between two looks, in fs.
    positions
        Where it begins, (n_atoms, 3) Å: protons that are away there do not count. None: none is.
    """

    def __init__(
        self, bonds: Bonds, kelvin: float, timestep_fs: float, *, positions: Array | None = None
    ) -> None:
        self.transfers = 0
        self._bonds = bonds
        self._hottest = TEMPERATURE_FACTOR * kelvin
        window = max(1, round(TEMPERATURE_WINDOW_PS * FEMTOSECONDS_PER_PICOSECOND / timestep_fs))
        self._recent: deque[float] = deque(maxlen=window)
        self._away = set() if positions is None else set(bonds.off(positions)[1])

    def failure(self, temperature: float, positions: Array, *, energy: float = 0.0) -> str:
        """Return why the copy fails after a step, or nothing.

        Parameters
        ----------
        temperature
            At this step, in K.
        positions
            (n_atoms, 3) Å.
        energy
            In eV.
        """
        if not (np.isfinite(energy) and np.isfinite(positions).all()):
            return "energy or positions not finite"
        self._recent.append(temperature)
        mean = float(np.mean(self._recent))
        if len(self._recent) == self._recent.maxlen and mean > self._hottest:
            return f"{mean:.0f} K"
        broken, away = self._bonds.off(positions)
        self.transfers += len(set(away) - self._away)
        self._away = set(away)
        if not broken:
            return ""
        length = self._bonds.lengths(positions)[broken[0]]
        return f"{self._bonds.name(broken[0])} {length:.2f} Å long"


class _Watch:
    """Follows all copies, and keeps account of what happened to each.

    Parameters
    ----------
    still
        The relaxed structure.
    kelvin
        Temperature of the thermostat of each copy in K, (n_copies,).
    timestep_fs
        Time step in fs.
    """

    def __init__(self, still: Specimen, kelvin: Array, timestep_fs: float) -> None:
        self.active = np.arange(len(kelvin))
        self._still = still
        self._kelvin = kelvin
        self._bonds = Bonds(still)
        self._step_ps = timestep_fs / FEMTOSECONDS_PER_PICOSECOND
        self._steps = np.zeros(len(kelvin), dtype=int)
        self._reasons: list[tuple[float, str]] = []  # temperature, why a copy failed
        self._each = [CopyWatch(self._bonds, float(target), timestep_fs) for target in kelvin]

    def survivors(self, state: State) -> State:
        """Look at the active copies after a step and return those that hold."""
        measured = _temperatures(self._still, state)
        self._steps[self.active] += 1
        holds = np.ones(len(self.active), dtype=bool)
        for place, copy in enumerate(self.active):
            reason = self._each[copy].failure(
                float(measured[place]), state[0][place], energy=state.energies[place]
            )
            if reason:
                text = f"{reason} after {self._steps[copy] * self._step_ps:.3g} ps"
                self._reasons.append((float(self._kelvin[copy]), text))
                holds[place] = False
        self.active = self.active[holds]
        return state.chosen(holds)

    def result(self, target: float) -> CheckResult:
        """Return the result at one temperature."""
        here = self._kelvin == target
        reasons = [reason for kelvin, reason in self._reasons if kelvin == target]
        done = float(self._steps[here].sum()) * self._step_ps
        transfers = sum(self._each[copy].transfers for copy in np.flatnonzero(here))
        detail = f"{done:.3g} ps in {here.sum()} copies, {len(self._bonds.pairs)} bonds watched"
        if transfers:
            detail += f"; proton transfers, which are no failures: {transfers}"
        if reasons:
            detail += f"; first failure: {reasons[0]}"
        return CheckResult(
            f"failures in NVT at {target:g} K",
            float(len(reasons)),
            FAILURES,
            "1",
            detail=detail,
            data={"duration_ps": done, "failures": reasons, "transfers": transfers},
        )


def _temperatures(still: Specimen, state: State) -> Array:
    """Return the temperature of each copy in K, (n_copies,), overall motion included."""
    kinetic = kinetic_energies(still, state)
    freedom = 3 * len(still.atoms)
    return np.array([temperature_kelvin(float(value), freedom) for value in kinetic])


def _faster(subject: Subject) -> Subject:
    """Return a potential in single precision: a molecule that holds does not hang on digits."""
    if not isinstance(subject, PotentialSubject) or subject.single_precision:
        return subject
    if not isinstance(subject.potential.module, PotentialModule):
        return subject
    return PotentialSubject(subject.potential.to(dtype=torch.float32), name=subject.name)


def check_stability(
    subject: Subject,
    specimen: Specimen,
    *,
    duration_ps: float = 10.0,
    n_replicas: int = 8,
    temperatures: Sequence[float] = TEMPERATURES_KELVIN,
    timestep_fs: float = 1.0,
    seed: int = 0,
) -> list[CheckResult]:
    """Run Langevin dynamics at each temperature and count the copies that break.

    A potential of this package runs in single precision.

    Parameters
    ----------
    subject
        To be checked.
    specimen
        A structure; it is relaxed first. Without a topology its bonds are those by distance.
    duration_ps
        Length of all copies at one temperature together, in ps. The rule is none in 100 ps.
    n_replicas
        Copies at each temperature, computed in one batch.
    temperatures
        Of the thermostats in K.
    timestep_fs
        Time step in fs.
    seed
        Of velocities and thermostats.

    Returns
    -------
    list of CheckResult
        One for each temperature.
    """
    still = relaxed(subject, specimen)
    subject = _faster(subject)
    kelvin = np.repeat(np.asarray(temperatures, dtype=np.float64), n_replicas)  # of each copy
    masses = still.atoms.get_masses()[:, None]
    momenta = [
        draw_momenta(still.atoms, 2.0 * target, seed=seed + copy, overall_motion=True)
        for copy, target in enumerate(kelvin)
    ]
    positions = np.repeat(still.atoms.positions[None], len(kelvin), axis=0)
    state = initial_state(
        subject, still, positions=positions, velocities=np.array(momenta) / masses
    )
    watch = _Watch(still, kelvin, timestep_fs)
    generator = np.random.default_rng(seed + 1)
    n_steps = max(1, round(duration_ps * FEMTOSECONDS_PER_PICOSECOND / timestep_fs / n_replicas))
    for _ in range(n_steps):
        state = langevin_step(
            subject,
            still,
            state,
            timestep_fs=timestep_fs,
            temperatures_kelvin=kelvin[watch.active],
            friction_per_ps=FRICTION_PER_PS,
            generator=generator,
        )
        state = watch.survivors(state)
        if not len(watch.active):
            break
    return [watch.result(target) for target in temperatures]
