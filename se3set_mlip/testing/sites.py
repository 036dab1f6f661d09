"""Sites of high symmetry: a network that divides by what vanishes there is stiff without bound.

At the carbon of an ideal methane every feature of a network that is no scalar vanishes. A norm that
brings such a feature to unit length magnifies the smallest displacement, and forces there change by
any amount over a thousandth of an Å: no step on a path through it, and no dynamics near it.
"""

import numpy as np
from ase import Atoms

from se3set_mlip.testing.results import CheckResult
from se3set_mlip.testing.specimens import displaced
from se3set_mlip.testing.subject import Specimen, Subject
from se3set_mlip.topology.molecule import Topology

STIFFNESS_RATIO = 100.0
"""Rough surfaces differ by tens between places, what is divided by a vanishing length by 1e4."""

DISPLACEMENT_ANGSTROM = 1e-4
AWAY_ANGSTROM = 0.1
LEAST_STIFFNESS = 1.0
"""eV/Å^2; that of a bond is 30 and more."""

BOND_ANGSTROM = 1.09


def methane() -> Specimen:
    """Return an ideal tetrahedron of four hydrogens around a carbon."""
    corners = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])
    positions = np.vstack([np.zeros(3), BOND_ANGSTROM / np.sqrt(3.0) * corners])
    topology = Topology(
        numbers=(6, 1, 1, 1, 1),
        bonds=((0, 1), (0, 2), (0, 3), (0, 4)),
        orders=(1, 1, 1, 1),
        formal_charges=(0, 0, 0, 0, 0),
    )
    return Specimen(Atoms("CH4", positions), topology)


def check_symmetric_site(
    subject: Subject, specimen: Specimen, *, n_directions: int = 4, seed: int = 0
) -> list[CheckResult]:
    """Move the atoms of ideal methane a little and see how much the forces change.

    Parameters
    ----------
    subject
        To be checked.
    specimen
        Its elements are those that are known, if the subject tells none.
    n_directions
        Random directions; in each the atoms move by 1e-4 Å (root mean square of coordinates), from
        the site and from a place 0.1 Å away.
    seed
        Of the directions.

    Returns
    -------
    list of CheckResult
        The largest change of a force component at the site over that away from it.
    """
    name = "stiffness at a symmetric site"
    known = subject.numbers or tuple(int(number) for number in specimen.atoms.numbers)
    if not {1, 6} <= set(known):
        return [CheckResult.skip(name, "looked at in methane, which needs carbon and hydrogen")]
    site = methane()
    generator = np.random.default_rng(seed)
    shape = site.atoms.positions.shape
    away = displaced(site, AWAY_ANGSTROM * generator.normal(size=shape))
    steps = [DISPLACEMENT_ANGSTROM * generator.normal(size=shape) for _ in range(n_directions)]
    stiffness = {}
    for place, start in (("site", site), ("away", away)):
        here, *there = subject.values([start, *(displaced(start, step) for step in steps)])
        changes = [float(np.abs(value.forces - here.forces).max()) for value in there]
        stiffness[place] = max(changes) / DISPLACEMENT_ANGSTROM
    return [
        CheckResult(
            name,
            stiffness["site"] / max(stiffness["away"], LEAST_STIFFNESS),
            STIFFNESS_RATIO,
            "1",
            detail=f"methane: {stiffness['site']:.3g} eV/Å^2 at the site, "
            f"{stiffness['away']:.3g} away",
            data=stiffness,
        )
    ]
