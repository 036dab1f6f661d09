"""All checks on one structure: a potential or any calculator in, a report out.

Quick mode looks at less of everything and leaves the drift out, which over less than 20 ps says
nothing; for a molecule of 15 atoms and a potential of 8 ms it takes under a minute, and full mode
under half an hour.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm.auto import tqdm

from se3set_mlip.elements import formula
from se3set_mlip.errors import InputError, MissingDependencyError, Se3SetError
from se3set_mlip.testing.agreement import check_agreement
from se3set_mlip.testing.batching import check_batching
from se3set_mlip.testing.crossings import check_crossings
from se3set_mlip.testing.derivatives import check_forces, check_hessian, check_stress
from se3set_mlip.testing.hidden_steps import check_hidden_steps
from se3set_mlip.testing.integrators import relaxed
from se3set_mlip.testing.locality import check_extensivity, check_locality
from se3set_mlip.testing.memory import check_memory
from se3set_mlip.testing.nve import DRIFT_NAME, check_drift, check_order
from se3set_mlip.testing.periodic import check_periodic
from se3set_mlip.testing.report import Report
from se3set_mlip.testing.results import CheckResult
from se3set_mlip.testing.scans import check_bonds, check_diatomics
from se3set_mlip.testing.sites import check_symmetric_site
from se3set_mlip.testing.skin import check_skin
from se3set_mlip.testing.specimens import held
from se3set_mlip.testing.stability import check_stability
from se3set_mlip.testing.subject import Specimen, Subject
from se3set_mlip.testing.subjects import as_subject
from se3set_mlip.testing.symmetry import check_symmetry
from se3set_mlip.topology.molecule import Topology

Found = CheckResult | list[CheckResult]
N_DYNAMICS = 5
"""Checks that begin at a minimum."""


@dataclass(frozen=True)
class Extent:
    """How much is looked at.

    Parameters
    ----------
    n_random_paths, max_crossings
        Random paths on which crossings are sought, and crossings looked at on each path.
    n_hidden_paths
        Smooth paths along which the force is integrated.
    memory_steps
        Evaluations while the resident size is watched.
    diatomic_points, bond_points
        Distances of each scan.
    order_ps
        Length of the runs that give the order of the integrator.
    drift_ps
        Length of the run that gives the drift; 0 leaves it out.
    stability_ps
        Length of all thermostatted runs at one temperature together.
    """

    n_random_paths: int
    max_crossings: int
    n_hidden_paths: int
    memory_steps: int
    diatomic_points: int
    bond_points: int
    order_ps: float
    drift_ps: float
    stability_ps: float


QUICK = Extent(
    n_random_paths=1,
    max_crossings=6,
    n_hidden_paths=1,
    memory_steps=160,
    diatomic_points=100,
    bond_points=20,
    order_ps=0.04,
    drift_ps=0.0,
    stability_ps=0.1,
)
FULL = Extent(
    n_random_paths=6,
    max_crossings=20,
    n_hidden_paths=3,
    memory_steps=1000,
    diatomic_points=200,
    bond_points=40,
    order_ps=0.5,
    drift_ps=20.0,
    stability_ps=100.0,
)


def run_checks(
    thing: Any,
    atoms: Any,
    *,
    topology: Topology | None = None,
    quick: bool = True,
    progress: bool = True,
    seed: int = 0,
) -> list[CheckResult]:
    """Run all checks on one structure and return their results; see :func:`run_report`."""
    report = run_report(thing, atoms, topology=topology, quick=quick, progress=progress, seed=seed)
    return report.results


def run_report(
    thing: Any,
    atoms: Any,
    *,
    topology: Topology | None = None,
    quick: bool = True,
    stability_ps: float | None = None,
    progress: bool = True,
    seed: int = 0,
    name: str | None = None,
) -> Report:
    """Run all checks on one structure.

    Parameters
    ----------
    thing
        A potential, an ASE calculator or a subject; a potential in float64 for meaningful
        derivatives.
    atoms
        An ASE ``Atoms``, best near a minimum.
    topology
        Chemistry, if known; else it is perceived, and kept.
    quick
        Look at less, without the drift; else everything.
    stability_ps
        Length of the thermostatted runs at each temperature in ps, all copies together; None: 0.1
        quick, 100 full, which is the rule. Shorten it for slow potentials.
    progress
        Whether to show a progress bar.
    seed
        Of all random numbers.
    name
        Of the subject, for the report.

    Returns
    -------
    Report
        A check that ends in an error of this package is a line that failed, with the message; one
        that misses an optional package is skipped.

    Raises
    ------
    InputError
        For what cannot be checked, or if the structure cannot be computed at all.
    TopologyError
        If the potential needs bonds and none can be found.
    """
    if stability_ps is not None and not stability_ps > 0.0:
        raise InputError(f"stability_ps = {stability_ps} must be positive, or None")
    subject = as_subject(thing, name=name)
    specimen = held(Specimen(atoms.copy(), topology))
    subject.values([specimen])  # what cannot be computed at all is the caller's error
    extent = QUICK if quick else FULL
    results: list[CheckResult] = []
    seconds: dict[str, float] = {}
    checks = [
        *_symmetries(subject, specimen, extent, seed),
        *_computations(subject, specimen, extent, seed),
    ]
    with tqdm(
        total=len(checks) + N_DYNAMICS, disable=not progress, unit="check", leave=False
    ) as bar:

        def run(check_name: str, check: Callable[[], Found]) -> None:
            bar.set_description(check_name)
            start = time.perf_counter()
            results.extend(_guarded(check_name, check))
            seconds[check_name] = time.perf_counter() - start
            bar.update()

        for check_name, check in checks:
            run(check_name, check)
        bar.set_description("relaxation")
        still = _relaxed(subject, specimen)
        for check_name, check in _dynamics(subject, still, extent, seed, stability_ps):
            run(check_name, check)
    return Report(
        subject=subject.name,
        structure=formula(int(number) for number in atoms.numbers),
        mode="quick" if quick else "full",
        seed=seed,
        results=results,
        seconds=seconds,
    )


Checks = Sequence[tuple[str, Callable[[], Found]]]


def _symmetries(subject: Subject, specimen: Specimen, extent: Extent, seed: int) -> Checks:
    """Return the checks of the laws that the architecture keeps."""
    return [
        ("symmetry", lambda: check_symmetry(subject, specimen, seed=seed)),
        ("forces", lambda: check_forces(subject, specimen, seed=seed)),
        ("stress", lambda: check_stress(subject, specimen, seed=seed)),
        ("Hessian", lambda: check_hessian(subject, specimen, seed=seed)),
        (
            "membership crossings",
            lambda: check_crossings(
                subject,
                specimen,
                n_random=extent.n_random_paths,
                max_crossings_per_path=extent.max_crossings,
                seed=seed,
            ),
        ),
        (
            "hidden steps",
            lambda: check_hidden_steps(subject, specimen, n_paths=extent.n_hidden_paths, seed=seed),
        ),
        ("symmetric site", lambda: check_symmetric_site(subject, specimen, seed=seed)),
        ("skin", lambda: check_skin(subject, specimen)),
        ("extensivity", lambda: check_extensivity(subject, specimen, seed=seed)),
        ("locality", lambda: check_locality(subject, specimen, seed=seed)),
        ("periodic images", lambda: check_periodic(subject, specimen, seed=seed)),
    ]


def _computations(subject: Subject, specimen: Specimen, extent: Extent, seed: int) -> Checks:
    """Return the checks of how numbers are computed."""
    return [
        ("batching", lambda: check_batching(subject, specimen, seed=seed)),
        ("same numbers", lambda: check_agreement(subject, specimen, seed=seed)),
        (
            "memory",
            lambda: check_memory(subject, specimen, n_steps=extent.memory_steps, seed=seed),
        ),
    ]


def _dynamics(
    subject: Subject, still: Specimen, extent: Extent, seed: int, stability_ps: float | None
) -> Checks:
    """Return the checks of what was learned, and of dynamics, near a minimum."""

    def drift() -> Found:
        if extent.drift_ps <= 0.0:
            return CheckResult.skip(DRIFT_NAME, "takes a run of 20 ps; use the full mode")
        return check_drift(subject, still, duration_ps=extent.drift_ps, seed=seed)

    duration_ps = extent.stability_ps if stability_ps is None else stability_ps
    return [
        (
            "diatomics",
            lambda: check_diatomics(subject, still, n_points=extent.diatomic_points),
        ),
        ("bond scans", lambda: check_bonds(subject, still, n_points=extent.bond_points)),
        ("NVE drift", drift),
        (
            "NVE order",
            lambda: check_order(subject, still, duration_ps=extent.order_ps, seed=seed),
        ),
        (
            "stability",
            lambda: check_stability(subject, still, duration_ps=duration_ps, seed=seed),
        ),
    ]


def _guarded(name: str, check: Callable[[], Found]) -> list[CheckResult]:
    """Run a check; an error of ours becomes a line, any other passes through."""
    try:
        found = check()
    except MissingDependencyError as error:
        return [CheckResult.skip(name, str(error))]
    except Se3SetError as error:
        nothing = float("nan")
        return [CheckResult(name, nothing, nothing, "", detail=f"ended in an error: {error}")]
    return found if isinstance(found, list) else [found]


def _relaxed(subject: Subject, specimen: Specimen) -> Specimen:
    """Return the specimen near a minimum, or as it is if the way there ends in an error of ours.

    The checks that need a minimum relax it themselves; they then end in the same error, and say so.
    """
    try:
        return relaxed(subject, specimen)
    except Se3SetError:
        return specimen
