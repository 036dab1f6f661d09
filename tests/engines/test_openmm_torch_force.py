"""OpenMM's TorchForce, from potentials bound to a system; the wheel wants torch 2.9."""

import subprocess
import sys

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from se3set_mlip.engines.openmm_torch import create_torch_force
from se3set_mlip.errors import InputError, MissingDependencyError
from se3set_mlip.export.loading import load_bound
from se3set_mlip.export.torchscript import bind, export_bound
from se3set_mlip.units import KJ_PER_MOL_PER_EV

FLOAT64 = 1e-9
FLOAT32 = 1e-5
PLATFORMS = ["Reference", "CPU"]
# TorchScript profiles the first call and compiles in the next two, which takes seconds; the code
# is the same on both platforms, so that once is enough.
N_GEOMETRIES = {"Reference": 4, "CPU": 1}


def context_of(n_particles, force, platform, cell=None) -> openmm.Context:
    system = openmm.System()
    for _ in range(n_particles):
        system.addParticle(12.0)
    if cell is not None:
        system.setDefaultPeriodicBoxVectors(*(cell / 10))
    system.addForce(force)
    platform = openmm.Platform.getPlatformByName(platform)
    return openmm.Context(system, openmm.VerletIntegrator(0.0005), platform)


def compute(context, positions) -> tuple[float, np.ndarray]:
    """Energy in eV and forces in eV/Å at positions in Å."""
    context.setPositions(positions / 10)
    state = context.getState(energy=True, forces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.angstrom)
    return energy / KJ_PER_MOL_PER_EV, forces / KJ_PER_MOL_PER_EV


def assert_same(found, expected, tolerance):
    energy, forces = found
    assert abs(energy - float(expected.energy)) < tolerance * abs(float(expected.energy))
    reference = expected.forces.numpy()
    assert np.abs(forces - reference).max() < tolerance * np.abs(reference).max()


@pytest.mark.torchforce
@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_torch_force_computes_the_potential(case, platform):
    force = create_torch_force(bind(case.potential, case.fragmentation, periodic=case.periodic))
    assert force.usesPeriodicBoundaryConditions() == case.periodic
    context = context_of(len(case.numbers), force, platform, case.cell)
    for positions in case.geometries(N_GEOMETRIES[platform]):
        assert_same(compute(context, positions), case.expected(positions), FLOAT64)


@pytest.mark.torchforce
@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_torch_force_computes_in_float32(molecule, platform):
    module = bind(molecule.potential, molecule.fragmentation, dtype="float32")
    context = context_of(len(molecule.numbers), create_torch_force(module), platform)
    for positions in molecule.geometries(N_GEOMETRIES[platform]):
        far_away = positions + np.array([500.0, -300.0, 800.0])
        assert_same(compute(context, far_away), molecule.expected(positions), FLOAT32)


@pytest.mark.torchforce
@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_subset_of_the_particles_feels_the_force_of_a_file(wet_cell, platform, tmp_path):
    n_atoms = len(wet_cell.numbers)
    particles = np.random.default_rng(5).permutation(n_atoms + 4)[:n_atoms].tolist()
    path = export_bound(
        wet_cell.potential,
        tmp_path / "bound.pt",
        wet_cell.fragmentation,
        particles=particles,
        periodic=True,
    )
    force = create_torch_force(load_bound(path))
    context = context_of(n_atoms + 4, force, platform, wet_cell.cell)
    positions = np.random.default_rng(6).uniform(0.0, 5.0, (n_atoms + 4, 3))
    positions[particles] = wet_cell.geometries(1)[0]
    energy, forces = compute(context, positions)
    assert_same((energy, forces[particles]), wet_cell.expected(positions[particles]), FLOAT64)
    others = np.setdiff1d(np.arange(n_atoms + 4), particles)
    assert not forces[others].any()


@pytest.mark.torchforce
def test_a_torch_force_moves_the_box_with_the_context(wet_cell):
    module = bind(wet_cell.potential, wet_cell.fragmentation, periodic=True)
    force = create_torch_force(module)
    context = context_of(len(wet_cell.numbers), force, "Reference", wet_cell.cell)
    cell = wet_cell.cell * 1.05
    context.setPeriodicBoxVectors(*(cell / 10))
    system = wet_cell.potential.system(
        wet_cell.numbers, wet_cell.positions, wet_cell.fragmentation, cell=cell, pbc=(True,) * 3
    )
    expected = wet_cell.potential.compute(system)
    assert_same(compute(context, wet_cell.positions), expected, FLOAT64)


@pytest.mark.torchforce
def test_the_energy_can_be_had_alone(molecule):
    force = create_torch_force(bind(molecule.potential, molecule.fragmentation))
    assert not force.getOutputsForces(), "OpenMM takes the gradient where it needs one"
    context = context_of(len(molecule.numbers), force, "Reference")
    context.setPositions(molecule.positions / 10)
    energy = context.getState(energy=True).getPotentialEnergy()._value / KJ_PER_MOL_PER_EV
    expected = float(molecule.expected(molecule.positions).energy)
    assert energy == pytest.approx(expected, rel=FLOAT64)


OPENMM_FIRST = """
import openmm
from se3set_mlip.engines.openmm_torch import create_torch_force
from se3set_mlip.export.loading import load_bound
import sys
system = openmm.System()
for _ in range(15):
    system.addParticle(12.0)
system.addForce(create_torch_force(load_bound(sys.argv[1])))
openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("CPU"))
"""


@pytest.mark.torchforce
def test_openmm_may_be_imported_before_torch(molecule, tmp_path):
    """OpenMM loads its plugins when imported, and openmm-torch's need torch's libraries."""
    path = export_bound(molecule.potential, tmp_path / "bound.pt", molecule.fragmentation)
    subprocess.run([sys.executable, "-c", OPENMM_FIRST, str(path)], check=True)


@pytest.mark.torchforce
def test_a_module_that_is_not_bound_is_an_error(molecule):
    for module in (molecule.potential.module, molecule.potential, torch.nn.Identity()):
        with pytest.raises(InputError, match="expected a potential bound to the system"):
            create_torch_force(module)


def test_without_openmmtorch_the_error_says_what_to_install(molecule, monkeypatch):
    monkeypatch.setitem(sys.modules, "openmmtorch", None)
    with pytest.raises(MissingDependencyError, match=r"se3set-mlip\[torchforce\]"):
        create_torch_force(bind(molecule.potential, molecule.fragmentation))
