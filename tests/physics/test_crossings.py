"""Atoms enter and leave hyperedges without a step; by the hard rule energies and forces jump."""

import pytest

from se3set_mlip.testing.crossings import check_crossings
from se3set_mlip.testing.hidden_steps import check_hidden_steps
from se3set_mlip.testing.paths import parted, random_straight, shrinking_cell
from se3set_mlip.testing.specimens import boxed
from se3set_mlip.testing.subjects import PotentialSubject


def look(potential, specimen, path, n=8):
    return check_crossings(
        PotentialSubject(potential), specimen, paths=[path], max_crossings_per_path=n
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("lmax", [1, 2])
def test_implicit_overlap_is_smooth_inside_a_molecule(make_potential, specimen_of, seed, lmax):
    specimen = specimen_of("aspirin")
    path = random_straight(specimen, length_angstrom=0.6, seed=seed)
    results = look(make_potential("implicit_md22", seed=seed, lmax=lmax), specimen, path)
    assert len(results[0].data["energy_steps_ev"]) >= 5
    assert [result.allowed for result in results] == [1e-9, 1e-6]
    for result in results:
        assert result.passed, result


@pytest.mark.parametrize("preset", ["implicit_md22", "explicit_md17", "explicit_qm9"])
@pytest.mark.parametrize("seed", [0, 1])
def test_molecules_meet_smoothly(make_potential, specimen_of, preset, seed):
    """Every kind of boundary: members appear, become full, groups join, bond orders begin."""
    specimen = specimen_of("ethanol_water")
    path = parted(specimen, length_angstrom=6.0, seed=0)
    results = look(make_potential(preset, seed=seed), specimen, path)
    crossed = results[0].data["crossed"]
    assert crossed["a member appears or vanishes"] >= 1
    assert crossed["a membership becomes full"] >= 1
    assert ("a bond order appears or vanishes" in crossed) is preset.startswith("explicit")
    for result in results:
        assert result.passed, result


@pytest.mark.parametrize(
    ("preset", "boundary"),
    [
        ("implicit_md22", "an atom meets its own image"),
        ("explicit_md17", "a bond order appears or vanishes"),
    ],
)
def test_own_image_appears_smoothly(make_potential, specimen_of, preset, boundary):
    """The cell shrinks until atoms meet their own fragments' images."""
    specimen = boxed(specimen_of("ethanol"), margin_angstrom=2.0)
    results = look(make_potential(preset, seed=1), specimen, shrinking_cell(specimen))
    assert results[0].data["crossed"][boundary] >= 1
    for result in results:
        assert result.passed, result


@pytest.mark.parametrize("preset", ["implicit_md22", "explicit_qm9"])
def test_the_hard_rule_jumps_and_the_check_sees_it(make_potential, specimen_of, preset):
    """Negative control: the published steps must fail by orders of magnitude."""
    specimen = specimen_of("ethanol_water")
    path = parted(specimen, length_angstrom=6.0, seed=0)
    energy, force = look(make_potential(preset, membership="hard"), specimen, path)
    assert energy.measured > 1e-3
    assert force.measured > 1e-2


@pytest.mark.parametrize("membership", ["smooth", "hard"])
def test_energy_along_a_path_is_the_integral_of_the_force(make_potential, specimen_of, membership):
    """Halving the step divides the error of a fourth-order rule by 16, not so by the hard rule."""
    potential = make_potential("implicit_md22", seed=1, scale=1.0, membership=membership)
    (result,) = check_hidden_steps(
        PotentialSubject(potential),
        specimen_of("ethanol_water"),
        amplitude_angstrom=0.15,
        max_intervals=128,
    )
    assert (result.at_least, result.allowed) == (14.0, 18.0)
    assert result.passed is (membership == "smooth"), result
    assert min(result.data["paths"][0]["error_ev"]) > 1e-9
