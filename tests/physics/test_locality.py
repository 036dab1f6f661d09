"""Far apart molecules do not feel each other; candidates of weight zero change nothing."""

import pytest
import torch

from se3set_mlip.testing.locality import check_extensivity, check_locality
from se3set_mlip.testing.skin import check_skin
from se3set_mlip.testing.subjects import PotentialSubject

PRESETS = ["implicit_md22", "explicit_md17", "explicit_qm9"]


@pytest.mark.parametrize("preset", PRESETS)
def test_energies_of_molecules_beyond_the_range_add_up(make_potential, specimen_of, preset):
    (result,) = check_extensivity(PotentialSubject(make_potential(preset)), specimen_of("nma"))
    assert result.allowed == 1e-10
    assert result.data["gap_angstrom"] < 6.1
    assert result.passed, result


def test_within_the_range_they_do_not(make_potential, specimen_of, monkeypatch):
    """Negative control."""
    monkeypatch.setattr("se3set_mlip.testing.locality.reach_angstrom", lambda subject: 1.5)
    subject = PotentialSubject(make_potential())
    (energies,) = check_extensivity(subject, specimen_of("nma"))
    (forces,) = check_locality(subject, specimen_of("nma"))
    assert energies.measured > 1e-4
    assert forces.passed is False


@pytest.mark.parametrize("preset", PRESETS)
def test_a_far_atom_moves_unnoticed(make_potential, specimen_of, preset):
    (result,) = check_locality(PotentialSubject(make_potential(preset)), specimen_of("nma"))
    assert result.measured == 0.0
    assert result.passed, result


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("molecule", ["ethanol_water", "aspirin"])
def test_the_skin_changes_nothing(make_potential, specimen_of, preset, molecule):
    for result in check_skin(PotentialSubject(make_potential(preset)), specimen_of(molecule)):
        assert result.allowed == 1e-12
        assert result.passed, result


def test_single_precision_agrees(make_potential, make_system):
    double = make_potential(scale=1.0)
    single = double.to(dtype="float32")
    assert single.dtype == torch.float32
    a = double.compute(make_system(double, "aspirin"))
    b = single.compute(make_system(single, "aspirin"))
    assert b.energy.dtype == torch.float64
    assert b.forces.dtype == torch.float32
    assert torch.allclose(a.energy, b.energy, rtol=0, atol=1e-5 * 21)
    scale = float(a.forces.abs().max())
    assert float((a.forces - b.forces).abs().max()) < 1e-5 * scale
