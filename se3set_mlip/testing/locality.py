"""What is far apart adds up, and does not feel what the other does.

    E(A + B) = E(A) + E(B);    F_A does not change when an atom of B moves: exactly

for B a turned copy of A, beyond the range. The range is the subject's own where it is known, else
B is 40 Å away.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from se3set_mlip.testing.paths import beside
from se3set_mlip.testing.results import CheckResult
from se3set_mlip.testing.specimens import displaced, held, isolated, part
from se3set_mlip.testing.subject import Specimen, Subject
from se3set_mlip.testing.subjects import CalculatorSubject, PotentialSubject

EXTENSIVITY_EV = 1e-10
LOCALITY_EV_PER_ANGSTROM = 0.0

FAR_ANGSTROM = 40.0


def reach_angstrom(subject: Subject) -> float | None:
    """Return the distance beyond which two molecules cannot meet in one member list or cutoff.

    None if the subject does not know it.
    """
    if isinstance(subject, CalculatorSubject):
        return subject.range_angstrom
    if not isinstance(subject, PotentialSubject):
        return None
    config = subject.potential.config
    if config.fragmentation.overlap == "implicit":
        return config.hypergraph.cutoff_angstrom
    # By the hard rule bond orders of an open system have no end.
    smooth = config.hypergraph.membership == "smooth"
    return config.hypergraph.bond_order_range_angstrom if smooth else None


def _pair(subject: Subject, specimen: Specimen, seed: int) -> tuple[Specimen, float]:
    """Return the structure with a turned copy beyond the range, and the gap in Å."""
    generator = np.random.default_rng(seed)
    reach = reach_angstrom(subject)
    gap = FAR_ANGSTROM if reach is None else reach + 0.01
    way, turn = generator.normal(size=3), Rotation.random(rng=generator)
    return beside(specimen, gap_angstrom=gap, way=way, turn=turn), gap


def check_extensivity(subject: Subject, specimen: Specimen, *, seed: int = 0) -> list[CheckResult]:
    """Compare the energy of two far apart molecules with the sum of theirs.

    Parameters
    ----------
    subject
        To be checked.
    specimen
        One of the two, taken out of its cell; the other is a turned copy.
    seed
        Of the rotation and the direction.

    Returns
    -------
    list of CheckResult
        ``|E(A + B) - E(A) - E(B)|`` in eV.
    """
    name = "extensivity"
    if subject.single_precision:
        return [CheckResult.skip(name, "1e-10 eV needs double precision")]
    both, gap = _pair(subject, isolated(held(specimen)), seed)
    n_atoms = len(specimen.atoms)
    first = part(both, range(n_atoms))
    second = part(both, range(n_atoms, 2 * n_atoms))
    together, a, b = (found.energy for found in subject.values([both, first, second]))
    return [
        CheckResult(
            name,
            abs(together - a - b),
            EXTENSIVITY_EV,
            "eV",
            detail=f"two copies {gap:.2f} Å apart",
            data={"gap_angstrom": gap, "energies_ev": [together, a, b]},
        )
    ]


def check_locality(
    subject: Subject, specimen: Specimen, *, n_moves: int = 3, seed: int = 0
) -> list[CheckResult]:
    """Move a far atom and look for any change of the forces here.

    Parameters
    ----------
    subject
        To be checked.
    specimen
        What is here, taken out of its cell; a turned copy of it is far away.
    n_moves
        How many random displacements, each of another atom.
    seed
        Of the displacements.

    Returns
    -------
    list of CheckResult
        The largest change of a force component here in eV/Å; exactly 0 is allowed. Skipped where
        even the forces over there do not change, as for a single atom.
    """
    name = "locality"
    both, gap = _pair(subject, isolated(held(specimen)), seed)
    n_atoms = len(specimen.atoms)
    generator = np.random.default_rng(seed)
    specimens = [both]
    # Away from the others, so that the gap only grows.
    centers = both.atoms.positions.reshape(2, n_atoms, 3).mean(axis=1)
    outward = centers[1] - centers[0]
    for atom in generator.choice(n_atoms, size=min(n_moves, n_atoms), replace=False).tolist():
        step = np.zeros((2 * n_atoms, 3))
        step[n_atoms + atom] = 0.3 * outward / np.linalg.norm(outward)
        specimens.append(displaced(both, step))
    # One by one: matrix products round a row by its place among the rows of a batch.
    before, *after = (subject.values([one])[0].forces for one in specimens)
    here = [float(np.abs(forces[:n_atoms] - before[:n_atoms]).max()) for forces in after]
    there = [float(np.abs(forces[n_atoms:] - before[n_atoms:]).max()) for forces in after]
    if max(there) == 0.0:
        return [CheckResult.skip(name, "moving an atom changes no force at all")]
    return [
        CheckResult(
            name,
            max(here),
            LOCALITY_EV_PER_ANGSTROM,
            "eV/Å",
            detail=f"{len(after)} moves of 0.3 Å, {gap:.2f} Å away; there forces change by "
            f"{max(there):.2g} eV/Å",
            data={"here": here, "there": there},
        )
    ]
