"""Every shipped model, on the structure shipped with it: the same numbers from every engine."""

from pathlib import Path

import ase.io
import numpy as np
import openmm
import pytest

from se3set_mlip.engines.ase_calculator import SE3SetCalculator
from se3set_mlip.engines.openmm_force import create_force
from se3set_mlip.engines.openmm_torch import create_torch_force
from se3set_mlip.export.loading import load
from se3set_mlip.export.torchscript import bind, export_generic
from se3set_mlip.units import KJ_PER_MOL_PER_EV

FLOAT64 = 1e-9
MODELS = sorted((Path(__file__).parents[2] / "models").glob("*.safetensors"))


@pytest.fixture(scope="module", params=MODELS, ids=lambda path: path.stem)
def model(request):
    potential = load(request.param, dtype="float64")
    atoms = ase.io.read(request.param.with_suffix(".xyz"))
    atoms.rattle(0.03, seed=4)
    return potential, atoms, potential.evaluate(atoms)


def assert_same(energy, forces, expected):
    assert energy == pytest.approx(expected.energy, rel=FLOAT64)
    error = np.abs(forces - expected.forces).max()
    assert error < FLOAT64 * np.abs(expected.forces).max()


def openmm_results(atoms, force) -> tuple[float, np.ndarray]:
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    if atoms.pbc.all():
        system.setDefaultPeriodicBoxVectors(*(atoms.cell.array / 10))
    system.addForce(force)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.0005), platform)
    context.setPositions(atoms.positions / 10)
    state = context.getState(energy=True, forces=True)
    energy = state.getPotentialEnergy()._value / KJ_PER_MOL_PER_EV
    return energy, state.getForces(asNumpy=True)._value / (10 * KJ_PER_MOL_PER_EV)


def test_ase_and_an_exported_file_agree(model, tmp_path):
    potential, atoms, expected = model
    script = load(export_generic(potential, tmp_path / "model.pt"))
    for user in (potential, script):
        atoms.calc = SE3SetCalculator(user)
        assert_same(atoms.get_potential_energy(), atoms.get_forces(), expected)


def test_python_force_agrees(model):
    potential, atoms, expected = model
    fragmentation = SE3SetCalculator(potential).fragmentation(atoms)
    force = create_force(potential, fragmentation, periodic=bool(atoms.pbc.all()))
    assert_same(*openmm_results(atoms, force), expected)


@pytest.mark.torchforce
def test_torch_force_agrees(model):
    potential, atoms, expected = model
    fragmentation = SE3SetCalculator(potential).fragmentation(atoms)
    force = create_torch_force(bind(potential, fragmentation, periodic=bool(atoms.pbc.all())))
    assert_same(*openmm_results(atoms, force), expected)
