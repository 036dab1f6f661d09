"""What OpenMM does with the forces: minimiser, NVE, Langevin, barostat, boxes; kinds of force."""

import sys
import types

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit

from se3set_mlip.engines.openmm_computation import SE3SetTensorComputation
from se3set_mlip.engines.openmm_force import (
    MOLECULES,
    create_force,
    create_system,
    declare_molecules,
)
from se3set_mlip.engines.openmm_fragments import find_fragments
from se3set_mlip.errors import ConfigError, InputError, MissingDependencyError
from se3set_mlip.topology.molecule import Topology

PLATFORMS = ["Reference", "CPU"]


def start(case, integrator, platform="Reference", *forces) -> openmm.Context:
    topology = case.openmm_topology()
    system = create_system(
        topology, create_force(case.potential, case.fragmentation, periodic=case.periodic)
    )
    for force in forces:
        system.addForce(force)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform))
    context.setPositions(case.positions / 10)
    return context


def total_energy(context) -> float:
    state = context.getState(energy=True)
    energy = state.getPotentialEnergy() + state.getKineticEnergy()
    return energy.value_in_unit(unit.kilojoule_per_mole)


def bond_lengths(case, context) -> np.ndarray:
    """Lengths in nm of all bonds, of positions as the context holds them, not wrapped."""
    positions = context.getState(positions=True).getPositions(asNumpy=True)._value
    bonds = np.array(case.fragmentation.topology.bonds)
    return np.linalg.norm(positions[bonds[:, 0]] - positions[bonds[:, 1]], axis=1)


# OpenMM's minimiser begins with a step of 1 nm over all atoms, and takes it back; a proton of
# acetylacetone goes from one oxygen to the other.
LONG_BONDS = pytest.mark.filterwarnings("ignore:bond .* long")


@LONG_BONDS
@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_minimiser_comes_to_rest(trained, platform):
    context = start(trained, openmm.VerletIntegrator(0.001), platform)
    rng = np.random.default_rng(8)
    context.setPositions((trained.positions + rng.normal(scale=0.05, size=(15, 3))) / 10)
    sizes = []
    for _ in range(2):
        forces = context.getState(forces=True).getForces(asNumpy=True)._value
        sizes.append(np.sqrt(np.mean(forces**2)))  # kJ/mol/nm
        openmm.LocalEnergyMinimizer.minimize(context, 2.0)
    assert sizes[0] > 500.0
    assert sizes[1] < 3.0


def test_the_energy_is_constant_to_second_order(trained):
    """Halving the time step takes three quarters of the error of velocity Verlet."""
    errors = []
    for step in (0.0004, 0.0002):
        integrator = openmm.CustomIntegrator(step)
        integrator.addUpdateContextState()
        integrator.addComputePerDof("v", "v + 0.5 * dt * f / m")
        integrator.addComputePerDof("x", "x + dt * v")
        integrator.addComputePerDof("v", "v + 0.5 * dt * f / m")
        context = start(trained, integrator)
        context.setVelocitiesToTemperature(300.0, 7)
        energies = [total_energy(context)]
        for _ in range(20):
            integrator.step(round(0.0008 / step))
            energies.append(total_energy(context))
        errors.append(np.std(energies))
    assert errors[0] > 1e-4
    assert 3.0 < errors[0] / errors[1] < 5.0


@LONG_BONDS
def test_langevin_dynamics_reaches_its_temperature(trained):
    integrator = openmm.LangevinMiddleIntegrator(300.0, 50.0, 0.0005)
    integrator.setRandomNumberSeed(3)
    context = start(trained, integrator)
    found = []
    for _ in range(60):
        integrator.step(10)
        kinetic = context.getState(energy=True).getKineticEnergy()._value
        found.append(2 * kinetic / (3 * len(trained.numbers) * 0.0083144626))
    mean = np.mean(found[20:])  # 45 degrees of freedom, 40 samples: about 10 % of scatter
    assert 200.0 < mean < 400.0


def press(case, *, declared: bool) -> tuple[np.ndarray, np.ndarray, float]:
    """Bond lengths before and after trial moves of a barostat, and the change of the volume."""
    barostat = openmm.MonteCarloBarostat(200_000.0, 300.0, 1)
    barostat.setRandomNumberSeed(2)
    integrator = openmm.VerletIntegrator(1e-9)
    context = start(case, integrator, "Reference", barostat)
    if not declared:
        system = context.getSystem()
        names = [force.getName() for force in system.getForces()]
        system.removeForce(names.index(MOLECULES))
        context.reinitialize(preserveState=True)
    before = bond_lengths(case, context)
    volume = context.getState().getPeriodicBoxVolume()._value
    integrator.step(40)
    after = context.getState().getPeriodicBoxVolume()._value
    return before, bond_lengths(case, context), after / volume


def test_a_barostat_moves_molecules_as_wholes(wet_cell):
    before, after, change = press(wet_cell, declared=True)
    assert abs(change - 1.0) > 0.01
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)


def test_without_molecules_a_barostat_scales_bonds(wet_cell):
    before, after, change = press(wet_cell, declared=False)
    assert abs(change - 1.0) > 0.01
    assert np.abs(after / before - 1.0).max() > 1e-3


def test_molecules_cost_no_energy_and_are_those_of_the_topology(wet_cell):
    topology = wet_cell.openmm_topology()
    force = create_force(wet_cell.potential, wet_cell.fragmentation, periodic=True)
    system = create_system(topology, force)
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    found = sorted(tuple(sorted(molecule)) for molecule in context.getMolecules())
    assert found == sorted(tuple(part) for part in wet_cell.fragmentation.topology.components)
    system = openmm.System()
    declare_molecules(system, topology, particles=[0, 1])
    assert system.getForce(0).getNumBonds() == 1


def test_charged_molecules_are_found_from_bonds_alone(molecule):
    """Formate, hydronium, water: OpenMM's topology says nothing of orders and charges."""
    expected = Topology.from_smiles("C(=O)[O-].[OH3+].O")
    topology = app.Topology()
    residue = topology.addResidue("MIX", topology.addChain())
    atoms = [
        topology.addAtom(str(k), app.element.Element.getByAtomicNumber(number), residue)
        for k, number in enumerate(expected.numbers)
    ]
    for i, j in expected.bonds:
        topology.addBond(atoms[i], atoms[j])
    found = find_fragments(molecule.potential, topology)
    positions = np.random.default_rng(0).normal(scale=3.0, size=(expected.n_atoms, 3))
    assert found.fragments == molecule.potential.fragment(expected, positions).fragments
    assert found.topology.charge == expected.charge == 0
    assert sorted(found.topology.formal_charges) == sorted(expected.formal_charges)


def test_a_python_force_is_what_this_openmm_torch_leaves(molecule):
    force = create_force(molecule.potential, molecule.fragmentation)
    assert type(force).__name__ == "PythonForce"
    with pytest.raises(MissingDependencyError, match="needs an openmm-torch that has it"):
        create_force(molecule.potential, molecule.fragmentation, kind="PythonTorchForce")
    with pytest.raises(ConfigError, match="expected one of auto, PythonForce, PythonTorchForce"):
        create_force(molecule.potential, molecule.fragmentation, kind="TorchForce")
    with pytest.raises(InputError, match="topology is missing"):
        create_force(molecule.potential)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_go_in_and_come_out_where_openmm_torch_has_a_force_for_them(
    molecule, monkeypatch, dtype
):
    """The class is a stand-in that records what it is given: no wheel has the real one yet."""

    class PythonTorchForce(openmm.CustomExternalForce):
        def __init__(self, computation) -> None:
            super().__init__("0")
            self.called = computation

        def setUsesPeriodicBoundaryConditions(self, periodic) -> None:  # noqa: N802
            self.periodic = periodic

    module = types.ModuleType("openmmtorch")
    module.PythonTorchForce = PythonTorchForce
    monkeypatch.setitem(sys.modules, "openmmtorch", module)
    monkeypatch.setattr("se3set_mlip.engines.openmm_torch._register_torch_kernels", lambda: None)
    force = create_force(molecule.potential, molecule.fragmentation, dtype="float64")
    assert isinstance(force, PythonTorchForce)
    assert isinstance(force.called, SE3SetTensorComputation)
    positions = torch.tensor(molecule.positions / 10, dtype=dtype)
    energy, forces = force.called(None, positions)
    expected = molecule.expected(10 * positions.double().numpy())
    assert energy.dtype == torch.float64
    assert forces.dtype == dtype
    assert float(energy) == pytest.approx(float(expected.energy) * 96.48533212, rel=1e-8)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-8
    reference = expected.forces * 964.8533212
    assert float((forces - reference).abs().max()) < tolerance * float(reference.abs().max())
