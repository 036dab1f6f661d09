"""Random weights, scaled up, pass every law of the architecture, open and periodic."""

import pytest

from se3set_mlip.testing.batching import check_batching
from se3set_mlip.testing.crossings import check_crossings
from se3set_mlip.testing.derivatives import check_forces, check_hessian, check_stress
from se3set_mlip.testing.hidden_steps import check_hidden_steps
from se3set_mlip.testing.locality import check_extensivity, check_locality
from se3set_mlip.testing.periodic import check_periodic
from se3set_mlip.testing.skin import check_skin
from se3set_mlip.testing.specimens import boxed
from se3set_mlip.testing.subjects import PotentialSubject
from se3set_mlip.testing.symmetry import check_symmetry

LAWS = (
    check_symmetry,
    check_forces,
    check_stress,
    check_hessian,
    check_crossings,
    check_hidden_steps,
    check_skin,
    check_extensivity,
    check_locality,
    check_periodic,
    check_batching,
)

SCALES = {"attention": 1.3, "density": 1.1}
"""Of the weights; products of third order grow faster."""

CASES = [
    # A diagonal of the table in the daily tests, the rest of it among the heavy ones.
    pytest.param(interaction, preset, seed, lmax, marks=[] if seed == lmax else [pytest.mark.heavy])
    for interaction in ("attention", "density")
    for preset in ("implicit_md22", "explicit_md17")
    for seed in (0, 1, 2)
    for lmax in (0, 1, 2)
]


@pytest.mark.parametrize(("interaction", "preset", "seed", "lmax"), CASES)
@pytest.mark.parametrize("place", ["open", "periodic"])
def test_every_law_holds(make_potential, specimen_of, interaction, preset, seed, lmax, place):
    potential = make_potential(
        preset, seed=seed, lmax=lmax, interaction=interaction, scale=SCALES[interaction]
    )
    subject = PotentialSubject(potential)
    specimen = specimen_of("water")
    if place == "periodic":
        specimen = boxed(specimen)
    for law in LAWS:
        for result in law(subject, specimen):
            assert result.passed, result


@pytest.mark.heavy
@pytest.mark.parametrize("interaction", ["attention", "density"])
@pytest.mark.parametrize("preset", ["implicit_md22", "explicit_md17", "explicit_qm9"])
@pytest.mark.parametrize("place", ["open", "periodic"])
def test_every_law_holds_for_two_molecules(make_potential, specimen_of, interaction, preset, place):
    potential = make_potential(preset, seed=1, interaction=interaction, scale=SCALES[interaction])
    subject = PotentialSubject(potential)
    specimen = specimen_of("ethanol_water")
    if place == "periodic":
        specimen = boxed(specimen)
    for law in LAWS:
        for result in law(subject, specimen):
            assert result.passed, result
