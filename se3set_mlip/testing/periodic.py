"""The same crystal has the same energy however its atoms and cell are written down.

Wrapped atom by atom, moved across the boundary, displaced by lattice vectors, in a doubled cell,
in a box smaller than twice the range: energies agree, and forces and stress with them.
"""

from typing import NamedTuple

import numpy as np

from se3set_mlip.testing.locality import reach_angstrom
from se3set_mlip.testing.results import CheckResult
from se3set_mlip.testing.specimens import boxed, displaced, doubled, held, whole, wrapped
from se3set_mlip.testing.subject import Specimen, Subject
from se3set_mlip.testing.subjects import energy_scale

PERIODIC_RELATIVE = 1e-10
PERIODIC_RELATIVE_FLOAT32 = 1e-5
"""As for symmetries: both are limited by how positions are rounded."""

SMALL_MARGIN_ANGSTROM = 1.5


class _Variant(NamedTuple):
    """The same crystal written down differently."""

    name: str
    specimen: Specimen
    copies: int


def _variants(crystal: Specimen, generator: np.random.Generator) -> list[_Variant]:
    """Return other ways to write down a crystal."""
    cell = np.asarray(crystal.atoms.cell)
    n_atoms = len(crystal.atoms)
    across = 0.5 * cell.sum(axis=0)
    hops = generator.integers(-2, 3, size=(n_atoms, 3)) @ cell
    found = [
        _Variant("wrapped", wrapped(crystal), 1),
        _Variant("translated", displaced(crystal, 3.0 * generator.normal(size=3)), 1),
        _Variant("split across the boundary", wrapped(displaced(crystal, across)), 1),
        _Variant("atoms hop by lattice vectors", displaced(crystal, hops), 1),
    ]
    found += [_Variant(f"doubled along {axis}", doubled(crystal, axis), 2) for axis in range(3)]
    return found


def check_periodic(subject: Subject, specimen: Specimen, *, seed: int = 0) -> list[CheckResult]:
    """Write a crystal down differently and compare.

    Parameters
    ----------
    subject
        To be checked.
    specimen
        The structure. One that is not periodic is put into a box around it, and into a tighter
        one that is smaller than twice most ranges.
    seed
        Of translations and lattice shifts.

    Returns
    -------
    list of CheckResult
        The largest errors of energy and forces, relative as for symmetries; of stress relative to
        its largest component, at least 1 eV over the volume.
    """
    specimen = held(specimen)
    generator = np.random.default_rng(seed)
    crystals = [boxed(specimen)]
    if not specimen.atoms.pbc.all():
        crystals.append(boxed(specimen, margin_angstrom=SMALL_MARGIN_ANGSTROM))
    errors: dict[str, list[float]] = {"energy": [], "forces": [], "stress": []}
    names: list[str] = []
    for crystal in map(whole, crystals):
        variants = _variants(crystal, generator)
        names += [variant.name for variant in variants]
        (here,) = subject.values([crystal], stress=True)
        there = [subject.values([variant.specimen], stress=True)[0] for variant in variants]
        energy_unit = energy_scale(subject, crystal)
        force_unit = max(1.0, float(np.abs(here.forces).max()))
        for found, variant in zip(there, variants, strict=True):
            copies = variant.copies
            errors["energy"].append(
                abs(found.energy - copies * here.energy) / (copies * energy_unit)
            )
            difference = found.forces - np.tile(here.forces, (copies, 1))
            errors["forces"].append(float(np.abs(difference).max()) / force_unit)
            if here.stress is not None and found.stress is not None:
                volume = float(crystal.atoms.get_volume())
                stress_unit = max(1.0 / volume, float(np.abs(here.stress).max()))
                change = float(np.abs(found.stress - here.stress).max())
                errors["stress"].append(change / stress_unit)

    heights = [1.0 / np.linalg.norm(np.linalg.inv(c.atoms.cell), axis=0).max() for c in crystals]
    reach = reach_angstrom(subject)
    known = "" if reach is None else f", range {reach:g} Å"
    allowed = PERIODIC_RELATIVE_FLOAT32 if subject.single_precision else PERIODIC_RELATIVE
    results = []
    for what, values in errors.items():
        if not values:
            reason = f"{subject.name} has no stress"
            results.append(CheckResult.skip(f"periodic images: {what}", reason))
            continue
        worst = names[int(np.argmax(values))]
        results.append(
            CheckResult(
                f"periodic images: {what}",
                max(values),
                allowed,
                "relative",
                detail=f"{len(values)} variants, smallest height {min(heights):.2f} Å{known}; "
                f"worst: {worst}",
                data={"variant": names, "error": values},
            )
        )
    return results
