"""openmm-ml: a potential by name, alone and in a classical environment."""

import subprocess
import sys

import numpy as np
import openmm
import pytest
from openmm import unit
from openmmml import MLPotential

from se3set_mlip.errors import ConfigError, InputError
from se3set_mlip.potential.checkpoint import save_checkpoint
from se3set_mlip.units import KJ_PER_MOL_PER_EV

FLOAT64 = 1e-9
PLATFORMS = ["Reference", "CPU"]
BOX_NM = 2.6

BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "e3nn", "rdkit", "ase", "scipy"}:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
from openmmml import MLPotential
assert "se3set" in MLPotential._implFactories
MLPotential("se3set", modelPath="anything")
"""


def model_of(case, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, case.potential)
    return MLPotential("se3set", modelPath=path)


def compute(system, positions, platform="Reference", parameters=None):
    """Energy in eV and forces in eV/Å at positions in Å."""
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.0005), openmm.Platform.getPlatformByName(platform)
    )
    context.setPositions(positions / 10)
    for name, value in (parameters or {}).items():
        context.setParameter(name, value)
    state = context.getState(energy=True, forces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.angstrom)
    return energy / KJ_PER_MOL_PER_EV, forces / KJ_PER_MOL_PER_EV


def assert_same(found, expected):
    energy, forces = found
    assert abs(energy - float(expected.energy)) < FLOAT64 * abs(float(expected.energy))
    reference = expected.forces.numpy()
    assert np.abs(forces - reference).max() < FLOAT64 * np.abs(reference).max()


def test_openmm_ml_is_imported_without_what_a_potential_needs():
    subprocess.run([sys.executable, "-c", BLOCKED], check=True)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_system_computes_the_potential(case, tmp_path, platform):
    topology = case.openmm_topology()
    positions = case.positions / 10 * unit.nanometer
    system = model_of(case, tmp_path).createSystem(topology, positions=positions, device="cpu")
    assert system.usesPeriodicBoundaryConditions() == case.periodic
    for geometry in case.geometries(3):
        assert_same(compute(system, geometry, platform), case.expected(geometry))


def test_positions_are_not_needed_where_fragments_do_not_depend_on_them(molecule, tmp_path):
    system = model_of(molecule, tmp_path).createSystem(molecule.openmm_topology(), device="cpu")
    assert_same(compute(system, molecule.positions), molecule.expected(molecule.positions))


class Mixture:
    """A molecule among waters: the topology, the classical system, positions in Å."""

    def __init__(self, case, *, n_waters: int = 6, periodic: bool = False) -> None:
        self.topology = case.openmm_topology(before=[("O", "H", "H")] * n_waters)
        self.n_mm = 3 * n_waters
        self.ml = list(range(self.n_mm, self.n_mm + len(case.numbers)))
        places = np.array([[x, y, 7.0] for x in (-6.0, 0.0, 6.0) for y in (-4.0, 4.0)])
        water = np.array([[0.0, 0.0, 0.0], [0.957, 0.0, 0.0], [-0.24, 0.927, 0.0]])
        waters = (places[:n_waters, None] + water).reshape(-1, 3)
        self.positions = np.concatenate([waters, case.positions])
        if periodic:
            self.topology.setPeriodicBoxVectors(np.eye(3) * BOX_NM * unit.nanometer)
        self.system = classical_system(self.topology)


def classical_system(topology) -> openmm.System:
    """Charges, Lennard-Jones, springs for bonds, constraints in waters: a force field of sorts."""
    system = openmm.System()
    bonds, nonbonded = openmm.HarmonicBondForce(), openmm.NonbondedForce()
    for atom in topology.atoms():
        system.addParticle(atom.element.mass)
        nonbonded.addParticle({"O": -0.6, "H": 0.3, "C": 0.1}[atom.element.symbol], 0.25, 0.4)
    pairs = [(bond[0].index, bond[1].index) for bond in topology.bonds()]
    for i, j in pairs:
        bonds.addBond(i, j, 0.11, 2.0e5)
    nonbonded.createExceptionsFromBonds(pairs, 0.8, 0.5)
    box = topology.getPeriodicBoxVectors()
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*box)
        nonbonded.setNonbondedMethod(openmm.NonbondedForce.PME)
        nonbonded.setCutoffDistance(1.1)
        nonbonded.setUseDispersionCorrection(False)
        nonbonded.setEwaldErrorTolerance(1e-6)
    system.addForce(bonds)
    system.addForce(nonbonded)
    return system


@pytest.mark.parametrize("periodic", [False, True], ids=["isolated", "periodic"])
def test_a_classical_environment_keeps_its_part(molecule, tmp_path, periodic):
    """Mixed = ML of the molecules + classical of all - classical of the molecules alone."""
    mixture = Mixture(molecule, periodic=periodic)
    mixed = model_of(molecule, tmp_path).createMixedSystem(
        mixture.topology, mixture.system, mixture.ml, device="cpu"
    )
    alone = classical_system(molecule.openmm_topology())
    expected = molecule.expected(molecule.positions)
    energy, forces = compute(mixed, mixture.positions)
    all_energy, all_forces = compute(mixture.system, mixture.positions)
    alone_energy, alone_forces = compute(alone, molecule.positions)
    all_forces[mixture.n_mm :] += expected.forces.numpy() - alone_forces
    classical = all_energy - alone_energy
    assert abs(classical) > 0.01
    tolerance = 1e-4 if periodic else 1e-9  # the mesh of the classical charges
    assert energy == pytest.approx(float(expected.energy) + classical, abs=tolerance)
    np.testing.assert_allclose(forces, all_forces, rtol=0, atol=10 * tolerance)


@pytest.mark.parametrize("periodic", [False, True], ids=["isolated", "periodic"])
def test_interpolation_leads_from_the_force_field_to_the_mixed_system(molecule, tmp_path, periodic):
    mixture = Mixture(molecule, periodic=periodic)
    potential = model_of(molecule, tmp_path)
    arguments = (mixture.topology, mixture.system, mixture.ml)
    mixed = potential.createMixedSystem(*arguments, device="cpu")
    system = potential.createMixedSystem(*arguments, device="cpu", interpolate=True)
    first = compute(mixture.system, mixture.positions)
    last = compute(mixed, mixture.positions)
    scale = abs(last[0] - first[0])
    assert scale > 0.1
    for fraction in (0.0, 0.3, 1.0):
        found = compute(system, mixture.positions, parameters={"lambda_interpolate": fraction})
        for got, start, end in zip(found, first, last, strict=True):
            expected = (1.0 - fraction) * np.asarray(start) + fraction * np.asarray(end)
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * scale)


def test_a_mixed_system_survives_serialisation(molecule, tmp_path):
    mixture = Mixture(molecule)
    system = model_of(molecule, tmp_path).createMixedSystem(
        mixture.topology, mixture.system, mixture.ml, device="cpu"
    )
    again = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    expected = compute(system, mixture.positions)
    np.testing.assert_array_equal(compute(again, mixture.positions)[1], expected[1])
    assert np.abs(expected[1]).max() > 0.1


def test_a_bond_that_leads_out_of_the_molecules_is_an_error(molecule, tmp_path):
    mixture = Mixture(molecule)
    with pytest.raises(InputError, match="choose whole molecules"):
        model_of(molecule, tmp_path).createMixedSystem(
            mixture.topology, mixture.system, mixture.ml[:5], device="cpu"
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "half"}, "precision = 'half', expected 'single' or 'double'"),
        ({"position": 1}, "does not know 'position'; did you mean 'positions'"),
        ({"charge": 1}, "does not know 'charge'"),
    ],
)
def test_wrong_keywords_are_errors(molecule, tmp_path, arguments, message):
    with pytest.raises(ConfigError, match=message):
        model_of(molecule, tmp_path).createSystem(molecule.openmm_topology(), **arguments)


@pytest.mark.parametrize("arguments", [{}, {"modelPath": "a", "modelpath": "b"}])
def test_a_potential_without_its_model_says_how(arguments):
    with pytest.raises(ConfigError, match=r"write MLPotential\('se3set', modelPath="):
        MLPotential("se3set", **arguments)


def test_precision_is_chosen(molecule, tmp_path):
    system = model_of(molecule, tmp_path).createSystem(
        molecule.openmm_topology(), device="cpu", precision="single"
    )
    energy, _ = compute(system, molecule.positions)
    error = abs(energy / float(molecule.expected(molecule.positions).energy) - 1.0)
    assert 1e-12 < error < 1e-5
