"""Candidates beyond the range change nothing: energies do not depend on the candidate skin.

A neighbour list with a skin may be reused while atoms move by less than half of it; it hands the
model members of weight zero, which must add exactly nothing.
"""

from dataclasses import replace

import numpy as np

from se3set_mlip.potential.potential import Potential, PotentialModule
from se3set_mlip.testing.results import CheckResult
from se3set_mlip.testing.specimens import boxed, held
from se3set_mlip.testing.subject import Specimen, Subject
from se3set_mlip.testing.subjects import PotentialSubject

SKIN_ABSOLUTE = 1e-12

SKINS_ANGSTROM = (0.0, 0.5, 2.0)


def with_skin(potential: Potential, skin_angstrom: float) -> Potential:
    """Return an eager potential with the same weights and another candidate skin."""
    config = replace(
        potential.config,
        hypergraph=replace(potential.config.hypergraph, skin_angstrom=skin_angstrom),
    )
    module = PotentialModule(config, dtype=potential.dtype)
    module.load_state_dict(potential.module.state_dict())
    return Potential(module.to(potential.device).eval(), config, potential.metadata)


def check_skin(subject: Subject, specimen: Specimen) -> list[CheckResult]:
    """Evaluate a structure, open and in a box, with candidate skins of 0, 0.5 and 2 Å.

    Compared are the atoms' energies without reference energies, which would hide a difference in
    their rounding, and forces.

    Parameters
    ----------
    subject
        To be checked; skipped unless it is an eager potential of this package.
    specimen
        The structure.

    Returns
    -------
    list of CheckResult
        The largest differences of an atom's energy (eV) and a force component (eV/Å), absolute.
    """
    names = ("skin: energies", "skin: forces")
    if not isinstance(subject, PotentialSubject) or not isinstance(
        subject.potential.module, PotentialModule
    ):
        reason = "only an eager potential of this package lets its candidate skin be set"
        return [CheckResult.skip(name, reason) for name in names]
    if subject.single_precision:
        return [CheckResult.skip(name, "1e-12 needs double precision") for name in names]
    specimen = held(specimen)
    worst = np.zeros(2)
    others = [PotentialSubject(with_skin(subject.potential, skin)) for skin in SKINS_ANGSTROM]
    for place in (specimen, boxed(specimen)):
        energies = [other.atomic_energies(place) for other in others]
        forces = [other.values([place])[0].forces for other in others]
        for column, found in enumerate((energies, forces)):
            differences = [float(np.abs(values - found[0]).max()) for values in found[1:]]
            worst[column] = max(worst[column], *differences)
    detail = f"skins of {', '.join(f'{skin:g}' for skin in SKINS_ANGSTROM)} Å, open and periodic"
    return [
        CheckResult(name, float(value), SKIN_ABSOLUTE, unit, detail=detail)
        for name, value, unit in zip(names, worst, ("eV", "eV/Å"), strict=True)
    ]
