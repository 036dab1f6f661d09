"""Energies do not change under rotation, reflection, translation and relabelling; forces follow.

For an orthogonal matrix R and a relabelling P, ``E(P(r R^T + t)) = E(r)`` and
``F(P(r R^T + t)) = P(F(r) R^T)``. The cell turns with the atoms.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from se3set_mlip.testing.results import CheckResult
from se3set_mlip.testing.specimens import displaced, held, permuted, turned
from se3set_mlip.testing.subject import Specimen, Subject
from se3set_mlip.testing.subjects import energy_scale

SYMMETRY_RELATIVE = 1e-10
SYMMETRY_RELATIVE_FLOAT32 = 1e-5

MOTIONS = ("rotation", "reflection", "translation", "permutation", "all of them")


def check_symmetry(
    subject: Subject, specimen: Specimen, *, n_repeats: int = 2, seed: int = 0
) -> list[CheckResult]:
    """Rotate, reflect, translate and relabel a structure, one by one and all together.

    Parameters
    ----------
    subject
        To be checked.
    specimen
        The structure; open or periodic.
    n_repeats
        How often, each time with other random motions.
    seed
        Of the random motions.

    Returns
    -------
    list of CheckResult
        The largest change of the energy relative to its scale (see
        :func:`~se3set_mlip.testing.subjects.energy_scale`), and the largest error of a force
        component relative to the largest, at least 1 eV/Å.
    """
    specimen = held(specimen)
    generator = np.random.default_rng(seed)
    n_atoms = len(specimen.atoms)
    names: list[str] = []
    specimens = [specimen]
    matrices, orders = [np.eye(3)], [np.arange(n_atoms)]
    for _ in range(n_repeats):
        for motion in MOTIONS:
            both = motion == MOTIONS[-1]
            matrix, order, shift = np.eye(3), np.arange(n_atoms), np.zeros(3)
            if motion in ("rotation", "reflection") or both:
                matrix = Rotation.random(rng=generator).as_matrix()
            if motion == "reflection" or both:
                matrix = -matrix
            if motion == "translation" or both:
                shift = 3.0 * generator.normal(size=3)
            if motion == "permutation" or both:
                order = generator.permutation(n_atoms)
            names.append(motion)
            matrices.append(matrix)
            orders.append(order)
            specimens.append(permuted(displaced(turned(specimen, matrix), shift), order.tolist()))

    values = subject.values(specimens)
    energy, forces = values[0].energy, values[0].forces
    scales = energy_scale(subject, specimen), max(1.0, float(np.abs(forces).max()))
    energy_errors, force_errors = [], []
    for found, matrix, order in zip(values[1:], matrices[1:], orders[1:], strict=True):
        energy_errors.append(abs(found.energy - energy) / scales[0])
        expected = (forces @ matrix.T)[order]
        force_errors.append(float(np.abs(found.forces - expected).max()) / scales[1])

    allowed = SYMMETRY_RELATIVE_FLOAT32 if subject.single_precision else SYMMETRY_RELATIVE
    results = []
    for what, errors, scale, unit in (
        ("energy", energy_errors, scales[0], "eV"),
        ("forces", force_errors, scales[1], "eV/Å"),
    ):
        worst = int(np.argmax(errors))
        results.append(
            CheckResult(
                f"symmetry: {what}",
                max(errors),
                allowed,
                "relative",
                detail=f"{len(errors)} motions, worst: {names[worst]}; relative to "
                f"{scale:.3g} {unit}",
                data={"motion": names, "error": errors},
            )
        )
    return results
