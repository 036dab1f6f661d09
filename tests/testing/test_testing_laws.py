"""Every check passes a sound toy and fails one with the fault that it is there to find."""

import numpy as np
import pytest

from se3set_mlip.testing.batching import check_batching
from se3set_mlip.testing.crossings import check_crossings
from se3set_mlip.testing.derivatives import check_forces, check_hessian, check_stress
from se3set_mlip.testing.hidden_steps import check_hidden_steps
from se3set_mlip.testing.locality import check_extensivity, check_locality
from se3set_mlip.testing.paths import parted
from se3set_mlip.testing.periodic import check_periodic
from se3set_mlip.testing.skin import check_skin
from se3set_mlip.testing.specimens import boxed
from se3set_mlip.testing.subjects import CalculatorSubject, PotentialSubject
from se3set_mlip.testing.symmetry import check_symmetry

CUT_ENERGY = 2 * np.exp(-1.5 * 2.7) - np.exp(-3.0 * 2.7)
"""What the toy's pair has at 4 Å, eV."""

LAWS = {
    "symmetry": check_symmetry,
    "forces": check_forces,
    "stress": check_stress,
    "Hessian": check_hessian,
    "crossings": check_crossings,
    "hidden steps": check_hidden_steps,
    "extensivity": check_extensivity,
    "locality": check_locality,
    "periodic": check_periodic,
}


def verdicts(law, subject, specimen):
    return [result.passed for result in LAWS[law](subject, specimen)]


@pytest.mark.parametrize("law", list(LAWS))
@pytest.mark.parametrize("place", ["open", "periodic"])
def test_a_sound_calculator_passes(toy, dimer, law, place):
    subject = CalculatorSubject(toy(), range_angstrom=4.0)
    assert all(verdicts(law, subject, boxed(dimer) if place == "periodic" else dimer))


@pytest.mark.parametrize("law", ["crossings", "extensivity", "locality", "periodic"])
def test_a_sound_calculator_of_unknown_range_passes(toy, dimer, law):
    assert all(verdicts(law, CalculatorSubject(toy()), dimer))


@pytest.mark.parametrize(
    ("fault", "law"),
    [
        ("tilt", "symmetry"),
        ("label", "symmetry"),
        ("force", "symmetry"),
        ("force", "forces"),
        ("stress", "stress"),
        ("curl", "Hessian"),
        ("curl", "forces"),
        ("hard", "crossings"),
        ("kink", "crossings"),
        ("kink", "hidden steps"),
        ("far", "extensivity"),
        ("far", "locality"),
        ("lab", "periodic"),
        ("tilt", "periodic"),
    ],
)
def test_a_fault_is_found(toy, dimer, fault, law):
    assert False in verdicts(law, CalculatorSubject(toy(fault), range_angstrom=4.0), dimer)


@pytest.mark.parametrize("fault", ["hard", "kink"])
def test_steps_are_found_where_boundaries_are_unknown(toy, dimer, fault):
    path = parted(dimer, length_angstrom=6.5, seed=0)
    energy, forces = check_crossings(CalculatorSubject(toy(fault)), dimer, paths=[path])
    assert forces.passed is False
    if fault == "hard":
        assert energy.measured == pytest.approx(CUT_ENERGY, rel=1e-3)
    else:  # the energy has no step, and a kink hardly shows within 1e-7 Å
        assert energy.measured < 1e-8


def test_a_step_hides_from_no_integral(toy, dimer):
    """Wide waves take pairs across 4 Å; the error then does not fall at all."""
    for fault in ("", "hard"):
        (result,) = check_hidden_steps(
            CalculatorSubject(toy(fault)), dimer, amplitude_angstrom=0.25, max_intervals=512
        )
        assert result.passed is (fault == "")
    assert result.measured < 3.0


def test_what_is_seen_of_a_step(toy, dimer):
    """The step stands in the pictures at every zoom, at t = 0."""
    subject = CalculatorSubject(toy("hard"), range_angstrom=4.0)
    path = parted(dimer, length_angstrom=6.5, seed=0)
    energy, _ = check_crossings(subject, dimer, paths=[path])
    views = energy.data["microscope"]
    assert [view["half_width_angstrom"] for view in views] == [1e-2, 1e-4, 1e-6]
    for view in views[1:]:
        t, seen = np.array(view["t_angstrom"]), np.array(view["energy_ev"])
        assert np.abs(seen[t < 0]).max() < 1e-3 * CUT_ENERGY
        assert np.abs(seen[t > 0]) == pytest.approx(CUT_ENERGY, rel=2e-2)
    assert sum(energy.data["crossed"].values()) == len(energy.data["energy_steps_ev"])


def test_nothing_crossed_is_no_pass(toy, water):
    subject = CalculatorSubject(toy(), range_angstrom=0.1)
    results = check_crossings(subject, water)
    assert [result.passed for result in results] == [None, None]
    assert "no boundary was crossed" in results[0].skipped


@pytest.mark.parametrize("check", [check_skin, check_batching])
def test_what_only_a_potential_can_do_is_skipped(toy, water, check):
    assert {result.passed for result in check(CalculatorSubject(toy()), water)} == {None}


def test_single_precision_has_its_own_tolerance(tiny_potential, water):
    subject = PotentialSubject(tiny_potential.to(dtype="float32"))
    assert {result.allowed for result in check_symmetry(subject, water)} == {1e-5}
    for check in (check_forces, check_hessian, check_crossings, check_hidden_steps, check_skin):
        assert {result.passed for result in check(subject, water)} == {None}


def test_an_uncoupled_constant_is_not_taken_for_smooth(toy, water):
    class Constant(type(toy())):
        def _spoil(self, energy, forces):
            return 0.0, np.zeros_like(forces)

    subject = CalculatorSubject(Constant())
    assert check_hidden_steps(subject, water)[0].passed is None
    assert check_locality(subject, water)[0].passed is None
