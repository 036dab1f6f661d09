"""Energies do not change under rotation, reflection, translation and relabelling; forces follow."""

import numpy as np
import pytest
import torch

from se3set_mlip.testing.subjects import PotentialSubject
from se3set_mlip.testing.symmetry import check_symmetry


def failures(potential, specimen, **settings):
    results = check_symmetry(PotentialSubject(potential), specimen, **settings)
    assert len(results) == 2
    return [result for result in results if not result.passed]


@pytest.mark.parametrize("preset", ["implicit_md22", "explicit_md17", "explicit_qm9"])
@pytest.mark.parametrize("lmax", [1, 2])
@pytest.mark.parametrize("molecule", ["aspirin", "ethanol_water"])
def test_energy_is_invariant_and_forces_turn_along(
    make_potential, specimen_of, preset, lmax, molecule
):
    potential = make_potential(preset, lmax=lmax)
    assert not failures(potential, specimen_of(molecule), n_repeats=1, seed=3)


def test_in_a_periodic_cell(make_potential, specimen_of):
    cell = np.diag([7.0, 8.0, 9.0]) + 0.3
    assert not failures(make_potential(), specimen_of("ethanol_water", cell=cell), n_repeats=1)


def test_in_single_precision(make_potential, specimen_of):
    # Weights of a natural size, forces of 1 eV/Å: positions are rounded to 5e-7 Å, and stiffer
    # bonds than real ones would turn that into more than the tolerance.
    subject = PotentialSubject(make_potential(scale=0.8, dtype=torch.float32))
    for result in check_symmetry(subject, specimen_of("aspirin")):
        assert result.allowed == 1e-5
        assert result.passed, result


def test_the_check_sees_a_small_asymmetry(make_potential, specimen_of, monkeypatch):
    """Negative control: 1e-7 eV/Å along x, next to reference energies of 17,000 eV."""
    potential = make_potential()
    compute = potential.compute

    def tilted(system, **settings):
        output = compute(system, **settings)
        tilt = torch.zeros_like(output.energy).index_add(
            0, system.structure, system.positions[:, 0]
        )
        return output._replace(energy=output.energy + 1e-7 * tilt)

    monkeypatch.setattr(potential, "compute", tilted)
    assert failures(potential, specimen_of("aspirin"))[0].name == "symmetry: energy"


def test_the_energy_depends_on_geometry_and_elements(make_potential, make_system, positions_of):
    potential = make_potential()
    positions = positions_of("ethanol")
    one = potential.compute(make_system(potential, "ethanol")).energy.item()
    other = potential.compute(
        make_system(potential, "ethanol", positions=positions * 1.02)
    ).energy.item()
    assert abs(one - other) > 1e-3
