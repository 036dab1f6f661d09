"""Forces and stress are derivatives of the energy; second derivatives are symmetric."""

import numpy as np
import pytest
import torch

from se3set_mlip.hypergraph.hypergraph import moved
from se3set_mlip.testing.derivatives import check_forces, check_hessian, check_stress
from se3set_mlip.testing.subjects import PotentialSubject

CELL = np.array([[6.5, 0.0, 0.0], [1.0, 7.0, 0.0], [-0.5, 0.8, 6.0]])


@pytest.mark.parametrize("preset", ["implicit_md22", "explicit_md17", "explicit_qm9"])
@pytest.mark.parametrize("basis", ["exponential_normal", "gaussian", "bessel"])
@pytest.mark.parametrize("molecule", ["ethanol_water", "nma"])
def test_forces_are_central_differences(make_potential, specimen_of, preset, basis, molecule):
    subject = PotentialSubject(make_potential(preset, basis=basis, seed=1))
    (result,) = check_forces(subject, specimen_of(molecule), n_directions=2)
    assert result.allowed == 1e-7
    assert result.passed, result


@pytest.mark.parametrize("preset", ["implicit_md22", "explicit_qm9"])
def test_stress_and_forces_in_a_small_triclinic_cell(make_potential, specimen_of, preset):
    subject = PotentialSubject(make_potential(preset, seed=2))
    specimen = specimen_of("ethanol_water", cell=CELL)
    (values,) = subject.values([specimen], stress=True)
    assert np.abs(values.stress).max() > 1e-5
    for check, n in ((check_stress, {"n_strains": 2}), (check_forces, {"n_directions": 2})):
        (result,) = check(subject, specimen, **n)
        assert result.allowed == 1e-7
        assert result.passed, result


def test_stress_is_symmetric(make_potential, make_system):
    potential = make_potential()
    stress = potential.compute(
        make_system(potential, "ethanol_water", cell=CELL), forces=False, stress=True
    ).stress[0]
    assert torch.allclose(stress, stress.T, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("preset", ["implicit_md22", "explicit_qm9"])
def test_hessian_is_symmetric_and_the_derivative_of_forces(make_potential, make_system, preset):
    potential = make_potential(preset)
    system = make_system(potential, "ethanol_water")
    shape = system.positions.shape

    def energy(flat: torch.Tensor) -> torch.Tensor:
        return potential.module.energies(moved(system, flat.view(shape), system.cell))[0].sum()

    flat = system.positions.reshape(-1)
    hessian = torch.autograd.functional.hessian(energy, flat)
    assert float(hessian.abs().max()) > 1e-2
    assert torch.allclose(hessian, hessian.T, rtol=0, atol=1e-8 * float(hessian.abs().max()))
    step = 1e-5
    for k in (0, 7):
        shifted = []
        for sign in (1.0, -1.0):
            other = flat.clone()
            other[k] += sign * step
            shifted.append(
                potential.compute(moved(system, other.view(shape), system.cell)).forces.reshape(-1)
            )
        difference = -(shifted[0] - shifted[1]) / (2 * step)
        assert torch.allclose(difference, hessian[k], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("preset", ["implicit_md22", "explicit_md17"])
def test_differences_of_forces_are_symmetric(make_potential, specimen_of, preset):
    (result,) = check_hessian(
        PotentialSubject(make_potential(preset)), specimen_of("ethanol_water"), n_directions=3
    )
    assert result.allowed == 1e-8
    assert np.abs(result.data["hessian"]).max() > 1e-2
    assert result.passed, result


def test_no_force_on_the_whole(make_potential, make_system):
    potential = make_potential()
    system = make_system(potential, "aspirin")
    forces = potential.compute(system).forces
    assert float(forces.abs().max()) > 0.1
    assert float(forces.sum(dim=0).abs().max()) < 1e-10
    torque = torch.linalg.cross(system.positions, forces).sum(dim=0)
    assert float(torque.abs().max()) < 1e-9
