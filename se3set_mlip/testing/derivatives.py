"""Forces and stress are derivatives of the energy; second derivatives are symmetric.

Central differences with one step of Richardson's extrapolation, at a ladder of steps h::

    D(h) = (8 [f(h) - f(-h)] - [f(2h) - f(-2h)]) / (12 h) = f' + O(h^4)

Long steps err by truncation, short ones by rounding. Taken is the D(h) that differs least from the
next, which does not look at the derivative that is being checked.
"""

from collections.abc import Callable

import numpy as np

from se3set_mlip.testing.results import CheckResult
from se3set_mlip.testing.specimens import boxed, displaced, held, strained
from se3set_mlip.testing.subject import Array, Specimen, Subject, Values

DERIVATIVE_RELATIVE = 1e-7
HESSIAN_RELATIVE = 1e-8

STEPS = (2.5e-5, 5e-5, 1e-4, 2e-4, 4e-4, 8e-4)
"""Å, or strain."""

NEEDS_DOUBLE = "differences need double precision"


def _differences(subject: Subject, at: Callable[[float], Specimen]) -> list[list[Values]]:
    """Return values at [-h, h] for every step h of the ladder."""
    offsets = [sign * step for step in STEPS for sign in (-1.0, 1.0)]
    values = subject.values([at(offset) for offset in offsets])
    return [values[2 * k : 2 * k + 2] for k in range(len(STEPS))]


def _derivative(values: list[list[Values]], of: Callable[[Values], Array]) -> Array:
    """Return the derivative of a quantity from the ladder of differences."""
    central = [of(after) - of(before) for before, after in values]
    estimates = [
        (8.0 * central[k] - central[k + 1]) / (12.0 * STEPS[k]) for k in range(len(STEPS) - 1)
    ]
    changes = [
        float(np.abs(estimates[k] - estimates[k + 1]).max()) for k in range(len(estimates) - 1)
    ]
    best: Array = estimates[int(np.argmin(changes))]
    return best


def _energy(values: Values) -> Array:
    """Return the energy as an array."""
    return np.array(values.energy)


def _moving(specimen: Specimen, direction: Array) -> Callable[[float], Specimen]:
    """Return the specimen as a function of how far it moved along a direction (n_atoms, 3)."""
    return lambda step: displaced(specimen, step * direction)


def _straining(specimen: Specimen, strain: Array) -> Callable[[float], Specimen]:
    """Return the specimen as a function of how far it is strained, (3, 3)."""
    return lambda step: strained(specimen, step * strain)


def _directions(n_atoms: int, n_directions: int, seed: int) -> list[Array]:
    """Return random directions (n_atoms, 3) of unit length."""
    generator = np.random.default_rng(seed)
    found = [generator.normal(size=(n_atoms, 3)) for _ in range(n_directions)]
    return [direction / np.linalg.norm(direction) for direction in found]


def check_forces(
    subject: Subject, specimen: Specimen, *, n_directions: int = 4, seed: int = 0
) -> list[CheckResult]:
    """Compare forces with differences of the energy along random directions.

    Parameters
    ----------
    subject
        To be checked.
    specimen
        The structure.
    n_directions
        How many directions, each of unit length in the space of all coordinates.
    seed
        Of the directions.

    Returns
    -------
    list of CheckResult
        The largest error relative to the length of the force vector, at least 1 eV/Å.
    """
    name = "forces"
    if subject.single_precision:
        return [CheckResult.skip(name, NEEDS_DOUBLE)]
    specimen = held(specimen)
    (here,) = subject.values([specimen])
    scale = max(1.0, float(np.linalg.norm(here.forces)))
    errors = []
    for direction in _directions(len(specimen.atoms), n_directions, seed):
        values = _differences(subject, _moving(specimen, direction))
        expected = -float(_derivative(values, _energy))
        errors.append(abs(float((here.forces * direction).sum()) - expected) / scale)
    return [
        CheckResult(
            name,
            max(errors),
            DERIVATIVE_RELATIVE,
            "relative",
            detail=f"{n_directions} directions, relative to |F| = {scale:.3g} eV/Å",
            data={"error": errors},
        )
    ]


def check_stress(
    subject: Subject, specimen: Specimen, *, n_strains: int = 3, seed: int = 0
) -> list[CheckResult]:
    """Compare the stress with differences of the energy under random strains.

    Parameters
    ----------
    subject
        To be checked; skipped if it has no stress.
    specimen
        The structure; one that is not periodic is put into a box.
    n_strains
        How many symmetric strains of unit norm.
    seed
        Of the strains.

    Returns
    -------
    list of CheckResult
        The largest error of ``dE/d(strain)`` relative to its norm, at least 1 eV.
    """
    name = "stress"
    if subject.single_precision:
        return [CheckResult.skip(name, NEEDS_DOUBLE)]
    specimen = boxed(held(specimen))
    (here,) = subject.values([specimen], stress=True)
    if here.stress is None:
        return [CheckResult.skip(name, f"{subject.name} has no stress")]
    virial = here.stress * float(specimen.atoms.get_volume())
    scale = max(1.0, float(np.linalg.norm(virial)))
    generator = np.random.default_rng(seed)
    errors = []
    for _ in range(n_strains):
        strain = generator.normal(size=(3, 3))
        strain = (strain + strain.T) / np.linalg.norm(strain + strain.T)
        values = _differences(subject, _straining(specimen, strain))
        expected = float(_derivative(values, _energy))
        errors.append(abs(float((virial * strain).sum()) - expected) / scale)
    return [
        CheckResult(
            name,
            max(errors),
            DERIVATIVE_RELATIVE,
            "relative",
            detail=f"{n_strains} strains, relative to |dE/d(strain)| = {scale:.3g} eV",
            data={"error": errors},
        )
    ]


def check_hessian(
    subject: Subject, specimen: Specimen, *, n_directions: int = 6, seed: int = 0
) -> list[CheckResult]:
    """Check that ``u H v = v H u`` for random directions, with H from differences of forces.

    Forces that are no gradient of any energy fail this.

    Parameters
    ----------
    subject
        To be checked.
    specimen
        The structure.
    n_directions
        How many directions, each of unit length in the space of all coordinates.
    seed
        Of the directions.

    Returns
    -------
    list of CheckResult
        The largest asymmetry relative to the largest element, at least 1 eV/Å^2.
    """
    name = "symmetry of the Hessian"
    if subject.single_precision:
        return [CheckResult.skip(name, NEEDS_DOUBLE)]
    specimen = held(specimen)
    directions = _directions(len(specimen.atoms), n_directions, seed)
    rows = []
    for direction in directions:
        values = _differences(subject, _moving(specimen, direction))
        change = -_derivative(values, lambda found: found.forces)  # (n_atoms, 3)
        rows.append([float((change * other).sum()) for other in directions])
    hessian = np.array(rows)
    scale = max(1.0, float(np.abs(hessian).max()))
    return [
        CheckResult(
            name,
            float(np.abs(hessian - hessian.T).max()) / scale,
            HESSIAN_RELATIVE,
            "relative",
            detail=f"{n_directions} directions, relative to {scale:.3g} eV/Å^2",
            data={"hessian": hessian.tolist()},
        )
    ]
