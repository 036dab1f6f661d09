"""Energies do not change under rotation, reflection, translation and relabelling; forces follow."""

import numpy as np
import pytest
import torch

from se3set_mlip.testing import check_symmetry


@pytest.mark.parametrize("preset", ["implicit_md22", "explicit_md17", "explicit_qm9"])
@pytest.mark.parametrize("lmax", [1, 2])
@pytest.mark.parametrize("molecule", ["aspirin", "ethanol_water"])
def test_energy_is_invariant_and_forces_turn_along(
    make_potential, make_system, preset, lmax, molecule
):
    potential = make_potential(preset, lmax=lmax)
    system = make_system(potential, molecule)
    result = check_symmetry(potential, system, seed=3)
    assert result.allowed == 1e-10
    assert result.passed, result


def test_in_a_periodic_cell(make_potential, make_system):
    potential = make_potential()
    system = make_system(potential, "ethanol_water", cell=np.diag([7.0, 8.0, 9.0]) + 0.3)
    assert check_symmetry(potential, system).passed


def test_in_single_precision(make_potential, make_system):
    # Weights of a natural size, forces of 1 eV/Å: positions are rounded to 5e-7 Å, and stiffer
    # bonds than real ones would turn that into more than the tolerance.
    potential = make_potential(scale=0.8, dtype=torch.float32)
    result = check_symmetry(potential, make_system(potential, "aspirin"))
    assert result.allowed == 1e-5
    assert result.passed, result


def test_the_check_sees_a_small_asymmetry(make_potential, make_system, monkeypatch):
    """Negative control: 1e-7 eV/Å along x, next to reference energies of 17,000 eV."""
    potential = make_potential()
    compute = potential.compute

    def tilted(system, **settings):
        output = compute(system, **settings)
        return output._replace(energy=output.energy + 1e-7 * system.positions[:, 0].sum())

    monkeypatch.setattr(potential, "compute", tilted)
    assert not check_symmetry(potential, make_system(potential, "aspirin")).passed


def test_the_energy_depends_on_geometry_and_elements(make_potential, make_system, positions_of):
    potential = make_potential()
    positions = positions_of("ethanol")
    one = potential.compute(make_system(potential, "ethanol")).energy.item()
    other = potential.compute(
        make_system(potential, "ethanol", positions=positions * 1.02)
    ).energy.item()
    assert abs(one - other) > 1e-3
