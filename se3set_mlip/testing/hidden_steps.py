"""The energy along a path is the integral of the force: no step hides on the way.

Composite Simpson on n intervals of width h = 1/n, with the slope E' = -F . dr/dt::

    error(n) = sum_i |E(t_i + h) - E(t_i) - h/6 [E'(t_i) + 4 E'(t_i + h/2) + E'(t_i + h)]|

is of order h^4, so halving h divides it by 16. A step of the energy stays (ratio 1), a kink of it
divides by 4. The finest n whose error stands clear of rounding shows the smallest steps.
"""

from itertools import pairwise

import numpy as np

from se3set_mlip.testing.paths import Path, random_wave
from se3set_mlip.testing.results import CheckResult
from se3set_mlip.testing.specimens import held
from se3set_mlip.testing.subject import Array, Specimen, Subject

HIDDEN_STEP_RATIO = (14.0, 18.0)
"""16 +- 2."""

COARSEST = 4
ABOVE_ROUNDING = 20.0
"""How far the smaller error of a ratio must stand above rounding: it is then right within 1."""


def _rounding(subject: Subject, path: Path) -> float:
    """Return the scatter of energies (eV) around a line at points far closer than any feature."""
    t = 0.37 + 1e-10 * np.arange(12)
    energies = np.array([found.energy for found in subject.values([path.at(x) for x in t])])
    x = np.arange(len(t)) - 5.5
    line = np.polyval(np.polyfit(x, energies - energies[0], 1), x)
    scatter = float(np.std(energies - energies[0] - line))
    return max(scatter, float(np.finfo(float).eps * max(1.0, *np.abs(energies))))


class _Samples:
    """Energies and slopes along a path, on nested grids."""

    def __init__(self, subject: Subject, path: Path) -> None:
        self.subject = subject
        self.path = path
        self.known: dict[float, tuple[float, float]] = {}

    def at(self, times: Array) -> tuple[Array, Array]:
        """Return energies and slopes at times, computing those that are new."""
        new = [float(t) for t in times if float(t) not in self.known]
        found = self.subject.values([self.path.at(t) for t in new])
        for t, values in zip(new, found, strict=True):
            self.known[t] = values.energy, self.path.slope(t, values)
        table = np.array([self.known[float(t)] for t in times])
        return table[:, 0], table[:, 1]

    def error(self, n: int) -> float:
        """Return the summed error of Simpson's rule on n intervals, eV."""
        times = np.arange(2 * n + 1) / (2.0 * n)  # exact on every level: n is a power of two
        energies, slopes = self.at(times)
        integral = (slopes[:-2:2] + 4.0 * slopes[1:-1:2] + slopes[2::2]) / (6.0 * n)
        return float(np.abs(np.diff(energies[::2]) - integral).sum())


def _in_order(ratio: float) -> bool:
    """Tell whether an error fell as it does where the rule has its order."""
    return HIDDEN_STEP_RATIO[0] <= ratio <= HIDDEN_STEP_RATIO[1]


def _stays(errors: list[float]) -> bool:
    """Tell whether an error was not even halved in three halvings: that of a step."""
    return len(errors) > 3 and all(before < 2.0 * after for before, after in pairwise(errors[-4:]))


def check_hidden_steps(
    subject: Subject,
    specimen: Specimen,
    *,
    n_paths: int = 1,
    amplitude_angstrom: float = 0.15,
    min_intervals: int = 256,
    max_intervals: int = 8192,
    seed: int = 0,
) -> list[CheckResult]:
    """Integrate the force along random smooth paths at two step sizes.

    Parameters
    ----------
    subject
        To be checked.
    specimen
        The structure.
    n_paths
        How many paths; the ratio that is furthest from 16 is reported.
    amplitude_angstrom
        Standard deviation of a coordinate's slowest wave; large enough to cross boundaries.
    min_intervals, max_intervals
        Halving stops where rounding is met; else at the first of these two powers of two if the
        rule has its order there or the error stays as it is, and at the second if the energy is
        too steep for either.
    seed
        Of the first path.

    Returns
    -------
    list of CheckResult
        By how much the error falls when the step is halved.
    """
    name = "hidden steps: error ratio"
    if subject.single_precision:
        return [CheckResult.skip(name, "errors of 1e-8 eV need double precision")]
    specimen = held(specimen)
    ratios, details, paths = [], [], []
    for k in range(n_paths):
        path = random_wave(specimen, amplitude_angstrom=amplitude_angstrom, seed=seed + k)
        samples = _Samples(subject, path)
        rounding = _rounding(subject, path)
        n, errors = COARSEST, [samples.error(COARSEST)]
        while 2 * n <= max_intervals:
            if n >= min_intervals and (_in_order(errors[-2] / errors[-1]) or _stays(errors)):
                break
            error = samples.error(2 * n)
            if error < ABOVE_ROUNDING * 2 * n * rounding:
                break
            errors.append(error)
            n *= 2
        if len(errors) < 2 or errors[-2] < ABOVE_ROUNDING * n * rounding:
            return [CheckResult.skip(name, "the energy hardly changes along the path")]
        ratios.append(errors[-2] / errors[-1])
        details.append(f"n = {n // 2} and {n}: {errors[-2]:.1e} and {errors[-1]:.1e} eV")
        times = sorted(samples.known)
        paths.append(
            {
                "t": times,
                "energy_ev": [samples.known[t][0] for t in times],
                "slope_ev": [samples.known[t][1] for t in times],
                "intervals": [COARSEST * 2**level for level in range(len(errors))],
                "error_ev": errors,
                "rounding_ev": rounding,
            }
        )
    worst = int(np.argmax(np.abs(np.array(ratios) - 16.0)))
    return [
        CheckResult(
            name,
            ratios[worst],
            HIDDEN_STEP_RATIO[1],
            "1",
            at_least=HIDDEN_STEP_RATIO[0],
            detail=f"{n_paths} paths; {details[worst]}",
            data={"ratio": ratios, "paths": paths},
        )
    ]
