"""Members enter and leave without a step.

A crossing is a point on a path where the subject says that one of its boundaries is met: a member
or neighbour appears or vanishes, becomes full, a group joins, an own image comes into reach. Each
is bisected to 1e-7 Å and looked at under the :mod:`.microscope`. A subject that cannot tell is
searched: an interval [a, b] is halved into the side where the energy differs more from the
integral of the force,

    defect(a, b) = |E(b) - E(a) + integral_a^b F . dr|      (Gauss-Legendre, order 10),

or, once that is lost in rounding, where the force changes more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from se3set_mlip.testing.microscope import pictures, steps_at
from se3set_mlip.testing.paths import Path, parted, pulled_atom, random_straight, shrinking_cell
from se3set_mlip.testing.results import CheckResult
from se3set_mlip.testing.specimens import boxed, held, isolated
from se3set_mlip.testing.subject import Array, Specimen, Subject, Values
from se3set_mlip.testing.subjects import BOUNDARY_NAMES

CROSSING_ENERGY_EV = 1e-9
CROSSING_FORCE_EV_PER_ANGSTROM = 1e-6
CROSSING_WIDTH_ANGSTROM = 1e-7

SAMPLES_PER_ANGSTROM = 25.0
LEAST_SAMPLES = 60
SEARCH_INTERVALS_PER_ANGSTROM = 8.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)


@dataclass(frozen=True)
class Crossing:
    """A boundary that was met.

    Parameters
    ----------
    low, high
        Interval of t that holds it.
    kinds
        What happens there.
    """

    low: float
    high: float
    kinds: tuple[str, ...]


_Coarse = tuple[Crossing, tuple[float, ...] | None]
"""A crossing between two samples, and the signature before it."""


@dataclass
class _Looked:
    """What was seen on all paths so far."""

    steps: list[Array] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)
    where: list[tuple[Path, Crossing]] = field(default_factory=list)


def find_crossings(
    subject: Subject,
    path: Path,
    *,
    at_most: int | None = None,
    width_angstrom: float = CROSSING_WIDTH_ANGSTROM,
) -> list[Crossing]:
    """Find where the boundaries of a subject lie on a path.

    Parameters
    ----------
    subject
        One that knows its boundaries.
    path
        Sampled at 25 points for each Å of its length, at least at 60; of several boundaries between
        two of them one is found.
    at_most
        How many crossings are wanted: of each kind in turn.
    width_angstrom
        Width of the intervals to which crossings are bisected.
    """
    n_samples = max(LEAST_SAMPLES, int(np.ceil(SAMPLES_PER_ANGSTROM * path.length)))
    grid = np.linspace(0.0, path.length, n_samples + 1).tolist()
    seen = [subject.boundaries(path.at(t)) for t in grid]
    coarse = [
        (Crossing(grid[k], grid[k + 1], _kinds(seen[k], seen[k + 1])), seen[k])
        for k in range(n_samples)
        if seen[k] != seen[k + 1]
    ]
    found = []
    for crossing, before in _chosen(coarse, at_most or len(coarse)):
        low, high, after = crossing.low, crossing.high, None
        while high - low > width_angstrom or after is None:
            middle = 0.5 * (low + high)
            signature = subject.boundaries(path.at(middle))
            if signature == before:
                low = middle
            else:
                high, after = middle, signature
            if high - low < 1e-3 * width_angstrom:  # the boundary lies on the sampled end itself
                after = subject.boundaries(path.at(high))
        found.append(Crossing(low, high, _kinds(before, after)))
    return found


def _kinds(before: Sequence[float] | None, after: Sequence[float] | None) -> tuple[str, ...]:
    """Return the names of what changed between two signatures."""
    changed = [k for k, (a, b) in enumerate(zip(before or (), after or (), strict=True)) if a != b]
    if len(before or ()) != len(BOUNDARY_NAMES):
        return ("a neighbour appears or vanishes",)
    if 0 in changed or 2 in changed:  # the labelled counts follow the plain ones
        changed = [k for k in changed if k not in (1, 3)]
    return tuple(BOUNDARY_NAMES[k] for k in changed)


def _chosen(coarse: list[_Coarse], at_most: int) -> list[_Coarse]:
    """Return some of the crossings, kinds taken in turn so that each is there."""
    by_kind: dict[tuple[str, ...], list[_Coarse]] = {}
    for entry in coarse:
        by_kind.setdefault(entry[0].kinds, []).append(entry)
    chosen: list[_Coarse] = []
    while len(chosen) < min(at_most, len(coarse)):
        for waiting in by_kind.values():
            if waiting and len(chosen) < at_most:
                chosen.append(waiting.pop(0))
    return chosen


def search_steps(
    subject: Subject, path: Path, *, n_suspects: int, width_angstrom: float
) -> list[Crossing]:
    """Find where a step is most likely, from energies and forces alone.

    Parameters
    ----------
    subject
        Any.
    path
        One along which only atoms move.
    n_suspects
        How many of the intervals with the largest defect are looked into.
    width_angstrom
        Width of the intervals found.
    """
    n_intervals = max(8, int(np.ceil(SEARCH_INTERVALS_PER_ANGSTROM * path.length)))
    grid = np.linspace(0.0, path.length, n_intervals + 1)
    ends = subject.values([path.at(float(t)) for t in grid])
    rounding = 50.0 * float(np.finfo(float).eps) * max(1.0, *(abs(v.energy) for v in ends))
    defects = [
        _defect(subject, path, float(grid[k]), float(grid[k + 1]), ends[k], ends[k + 1])
        for k in range(n_intervals)
    ]
    found = []
    for k in np.argsort(defects)[::-1][:n_suspects].tolist():
        low, high = float(grid[k]), float(grid[k + 1])
        at_low, at_high = ends[k], ends[k + 1]
        by_energy = True
        while high - low > width_angstrom:
            middle = 0.5 * (low + high)
            (at_middle,) = subject.values([path.at(middle)])
            left = right = 0.0
            if by_energy:
                left = _defect(subject, path, low, middle, at_low, at_middle)
                right = _defect(subject, path, middle, high, at_middle, at_high)
                by_energy = max(left, right) > rounding
            if not by_energy:
                left = float(np.abs(at_middle.forces - at_low.forces).max())
                right = float(np.abs(at_high.forces - at_middle.forces).max())
            if left > right:
                high, at_high = middle, at_middle
            else:
                low, at_low = middle, at_middle
        found.append(Crossing(low, high, ("largest defect",)))
    return found


def _defect(
    subject: Subject, path: Path, low: float, high: float, at_low: Values, at_high: Values
) -> float:
    """Return by how much the energy differs from the integral of the force, eV."""
    half = 0.5 * (high - low)
    times = 0.5 * (low + high) + half * _NODES
    values = subject.values([path.at(float(t)) for t in times])
    slopes = np.array([path.slope(float(t), v) for t, v in zip(times, values, strict=True)])
    return abs(at_high.energy - at_low.energy - half * float(_WEIGHTS @ slopes))


def crossing_paths(
    subject: Subject, specimen: Specimen, *, n_random: int = 2, seed: int = 0
) -> list[Path]:
    """Return paths that cross every kind of boundary.

    Atoms jitter; molecules part, from contact to 8 Å; one atom leaves; and, for subjects that know
    their boundaries, a periodic cell shrinks around a structure until it meets its own images.
    """
    paths = [random_straight(specimen, length_angstrom=0.6, seed=seed + k) for k in range(n_random)]
    paths.append(parted(specimen, length_angstrom=6.5, seed=seed))
    if len(specimen.atoms) > 1:  # in open space: in a small cell its bonds would lose their image
        paths.append(pulled_atom(isolated(specimen), length_angstrom=5.0, seed=seed))
    in_box = boxed(specimen)
    if subject.boundaries(in_box) is not None:
        paths.append(shrinking_cell(in_box))
    return paths


def check_crossings(
    subject: Subject,
    specimen: Specimen,
    *,
    paths: Sequence[Path] | None = None,
    n_random: int = 2,
    max_crossings_per_path: int = 6,
    seed: int = 0,
) -> list[CheckResult]:
    """Cross boundaries and look for steps of energy and forces.

    Parameters
    ----------
    subject
        To be checked.
    specimen
        The structure.
    paths
        Where to look; None: see :func:`crossing_paths`.
    n_random
        How many random straight paths are among these.
    max_crossings_per_path
        How many crossings of a path are looked at, of every kind in turn; one suspect for each six
        where boundaries are unknown.
    seed
        Of the random paths.

    Returns
    -------
    list of CheckResult
        Largest steps of energy and of a force component; ``data`` has all steps, what was crossed
        how often, and the worst crossing at several zooms. Skipped if nothing was crossed.
    """
    names = ("energy step at crossings", "force step at crossings")
    if subject.single_precision:
        reason = "steps of 1e-9 eV need double precision"
        return [CheckResult.skip(name, reason) for name in names]
    specimen = held(specimen)
    known = subject.boundaries(specimen) is not None
    if paths is None:
        paths = crossing_paths(subject, specimen, n_random=n_random, seed=seed)
    looked = _Looked()
    for path in paths:
        if known:
            crossings = find_crossings(subject, path, at_most=max_crossings_per_path)
        else:
            crossings = search_steps(
                subject,
                path,
                n_suspects=max(1, max_crossings_per_path // 6),
                width_angstrom=CROSSING_WIDTH_ANGSTROM,
            )
        _look(looked, subject, path, crossings)
    if not looked.steps:
        reason = "no boundary was crossed; give a structure of more atoms, or longer paths"
        return [CheckResult.skip(name, reason) for name in names]
    return _results(names, subject, looked, n_paths=len(paths), known=known)


def _look(looked: _Looked, subject: Subject, path: Path, crossings: list[Crossing]) -> None:
    """Add the steps at the crossings of one path to what was seen."""
    if not crossings:
        return
    looked.steps += list(steps_at(subject, path, [(c.low, c.high) for c in crossings]))
    for crossing in crossings:
        looked.where.append((path, crossing))
        for kind in crossing.kinds:
            looked.kinds[kind] = looked.kinds.get(kind, 0) + 1


def _results(
    names: tuple[str, str], subject: Subject, looked: _Looked, *, n_paths: int, known: bool
) -> list[CheckResult]:
    """Return the lines of the report."""
    steps = np.array(looked.steps)  # (n_crossings, 2)
    allowed = (CROSSING_ENERGY_EV, CROSSING_FORCE_EV_PER_ANGSTROM)
    path, crossing = looked.where[int(np.argmax((steps / allowed).max(axis=1)))]
    data: dict[str, Any] = {
        "energy_steps_ev": steps[:, 0].tolist(),
        "force_steps_ev_per_angstrom": steps[:, 1].tolist(),
        "crossed": looked.kinds,
        "path": [place.name for place, _ in looked.where],
        "worst": {"path": path.name, "t_angstrom": crossing.low, "kinds": list(crossing.kinds)},
        "microscope": pictures(subject, path, (crossing.low, crossing.high)),
    }
    how = "crossings" if known else "suspects (boundaries unknown)"
    results = []
    for column, unit in enumerate(("eV", "eV/Å")):
        place, worst = looked.where[int(np.argmax(steps[:, column]))]
        detail = f"{len(steps)} {how} on {n_paths} paths, worst: {', '.join(worst.kinds)} as "
        results.append(
            CheckResult(
                names[column],
                float(steps[:, column].max()),
                allowed[column],
                unit,
                detail=detail + place.name,
                data=data if column == 0 else {},
            )
        )
    return results
