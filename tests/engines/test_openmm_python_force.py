"""OpenMM's PythonForce: numbers, copies, subsets, and what it refuses."""

import copy
import pickle
import shutil
import subprocess
import sys

import numpy as np
import openmm
import pytest
from openmm import app, unit

from se3set_mlip.engines.openmm_force import create_force, create_system
from se3set_mlip.errors import ArtifactError, InputError, MissingDependencyError
from se3set_mlip.fragments.fragmentation import fragment
from se3set_mlip.topology.molecule import Topology
from se3set_mlip.units import KJ_PER_MOL_PER_EV

FLOAT64 = 1e-9
FLOAT32 = 1e-5
PLATFORMS = ["Reference", "CPU"]

FRESH_PROCESS = """
import sys
from pathlib import Path
import numpy as np
import openmm
folder = Path(sys.argv[1])
for name in ("embedded", "referenced"):
    system = openmm.XmlSerializer.deserialize((folder / f"{name}.xml").read_text())
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(np.load(folder / "positions.npy"))
    state = context.getState(energy=True, forces=True)
    energy, forces = state.getPotentialEnergy(), state.getForces(asNumpy=True)
    np.savez(folder / f"{name}.npz", energy=energy._value, forces=forces._value)
"""


def system_of(n_particles, force, cell=None) -> openmm.System:
    system = openmm.System()
    for _ in range(n_particles):
        system.addParticle(12.0)
    if cell is not None:
        system.setDefaultPeriodicBoxVectors(*(cell / 10))
    system.addForce(force)
    return system


def context_of(system, platform="Reference") -> openmm.Context:
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


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_python_force_computes_the_potential(case, platform):
    force = create_force(case.potential, case.fragmentation, periodic=case.periodic)
    assert force.usesPeriodicBoundaryConditions() == case.periodic
    context = context_of(system_of(len(case.numbers), force, case.cell), platform)
    for positions in case.geometries(4):
        assert_same(compute(context, positions), case.expected(positions), FLOAT64)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_python_force_computes_in_float32(molecule, platform):
    force = create_force(molecule.potential, molecule.fragmentation, dtype="float32")
    context = context_of(system_of(len(molecule.numbers), force), platform)
    for positions in molecule.geometries(2):
        assert_same(compute(context, positions), molecule.expected(positions), FLOAT32)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_box_vectors_are_those_of_the_context(wet_cell, platform):
    force = create_force(wet_cell.potential, wet_cell.fragmentation, periodic=True)
    context = context_of(system_of(len(wet_cell.numbers), force, wet_cell.cell), platform)
    cell = wet_cell.cell * 1.05
    context.setPeriodicBoxVectors(*(cell / 10))
    system = wet_cell.potential.system(
        wet_cell.numbers, wet_cell.positions, wet_cell.fragmentation, cell=cell, pbc=(True,) * 3
    )
    expected = wet_cell.potential.compute(system)
    assert_same(compute(context, wet_cell.positions), expected, FLOAT64)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_subset_of_the_particles_feels_the_force(case, platform):
    n_atoms = len(case.numbers)
    particles = np.random.default_rng(5).permutation(n_atoms + 4)[:n_atoms].tolist()
    force = create_force(
        case.potential, case.fragmentation, particles=particles, periodic=case.periodic
    )
    context = context_of(system_of(n_atoms + 4, force, case.cell), platform)
    positions = np.random.default_rng(6).uniform(0.0, 5.0, (n_atoms + 4, 3))
    positions[particles] = case.geometries(1)[0]
    energy, forces = compute(context, positions)
    assert_same((energy, forces[particles]), case.expected(positions[particles]), FLOAT64)
    others = np.setdiff1d(np.arange(n_atoms + 4), particles)
    assert not forces[others].any()


def test_a_copy_of_the_system_computes_the_same(case):
    force = create_force(case.potential, case.fragmentation, periodic=case.periodic)
    system = system_of(len(case.numbers), force, case.cell)
    duplicate = copy.deepcopy(system)
    expected = case.expected(case.positions)
    assert_same(compute(context_of(duplicate), case.positions), expected, FLOAT64)


def test_serialised_systems_compute_the_same_in_a_fresh_process(
    tiny_potential, tiny_model, tmp_path
):
    topology = Topology.from_smiles("CO")
    positions = np.random.default_rng(2).normal(scale=1.2, size=(topology.n_atoms, 3))
    fragmentation = tiny_potential.fragment(topology, positions)
    forces = {
        "embedded": create_force(tiny_potential, fragmentation),
        "referenced": create_force(tiny_model, fragmentation, embed=False),
    }
    for name, force in forces.items():
        system = system_of(topology.n_atoms, force)
        (tmp_path / f"{name}.xml").write_text(openmm.XmlSerializer.serialize(system))
    np.save(tmp_path / "positions.npy", positions / 10)
    subprocess.run([sys.executable, "-c", FRESH_PROCESS, str(tmp_path)], check=True)
    expected = tiny_potential.compute(
        tiny_potential.system(topology.numbers, positions, fragmentation)
    )
    for name in forces:
        with np.load(tmp_path / f"{name}.npz") as found:
            energy = found["energy"] / KJ_PER_MOL_PER_EV
            assert_same((energy, found["forces"] / (10 * KJ_PER_MOL_PER_EV)), expected, FLOAT64)


def test_a_force_without_its_checkpoint_says_which(molecule, tiny_model, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(tiny_model.read_bytes())
    force = create_force(path, molecule.fragmentation, embed=False)
    system = system_of(len(molecule.numbers), force)
    path.unlink()
    with pytest.raises(openmm.OpenMMException, match=r"model\.safetensors, which cannot be read"):
        compute(context_of(copy.deepcopy(system)), molecule.positions)
    path.write_bytes(tiny_model.read_bytes()[:-1])
    with pytest.raises(openmm.OpenMMException, match="not the checkpoint that this force was made"):
        compute(context_of(copy.deepcopy(system)), molecule.positions)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_potential_stays_compiled_in_copies(molecule):
    force = create_force(molecule.potential.compiled(), molecule.fragmentation)
    loaded = pickle.loads(pickle.dumps(force.computation))
    assert loaded._load().is_compiled


def test_a_force_that_an_earlier_version_wrote_is_not_compiled(molecule):
    plain = create_force(molecule.potential, molecule.fragmentation).computation
    del plain.__dict__["compiled"]  # which earlier versions did not write
    assert not pickle.loads(pickle.dumps(plain))._load().is_compiled


def test_a_potential_in_memory_has_no_path_to_store(molecule):
    with pytest.raises(InputError, match="embed = False stores the path"):
        create_force(molecule.potential, molecule.fragmentation, embed=False)


def test_a_missing_checkpoint_is_an_error(molecule, tmp_path):
    with pytest.raises(ArtifactError, match=r"none\.safetensors"):
        create_force(tmp_path / "none.safetensors", molecule.fragmentation)


def test_errors_in_a_run_arrive_with_their_text(molecule):
    force = create_force(molecule.potential, molecule.fragmentation)
    context = context_of(system_of(len(molecule.numbers), force))
    positions = molecule.positions.copy()
    positions[1] = positions[0]
    with pytest.raises(openmm.OpenMMException, match="atoms 0 and 1 are less than"):
        compute(context, positions)


def test_fragments_of_other_settings_are_an_error(molecule):
    topology = molecule.fragmentation.topology
    other = fragment(topology, molecule.positions, preset="explicit_qm9")
    with pytest.raises(InputError, match=r"make it with potential.fragment"):
        create_force(molecule.potential, other)


def test_an_openmm_topology_is_enough_with_positions(case):
    topology = case.openmm_topology()
    force = create_force(case.potential, topology, positions=case.positions / 10 * unit.nanometer)
    assert force.usesPeriodicBoundaryConditions() == case.periodic
    system = create_system(topology, force)
    masses = [system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(3)]
    assert masses == pytest.approx([12.011, 15.999, 12.011], abs=1e-3)
    assert_same(compute(context_of(system), case.positions), case.expected(case.positions), FLOAT64)


def test_particles_are_picked_out_of_an_openmm_topology(molecule):
    topology = molecule.openmm_topology(before=[["He"]] * 3)
    positions = np.concatenate([np.full((3, 3), 20.0) + np.eye(3), molecule.positions])
    particles = range(3, 3 + len(molecule.numbers))
    force = create_force(
        molecule.potential, topology, positions=positions * unit.angstrom, particles=particles
    )
    context = context_of(create_system(topology, force))
    energy, forces = compute(context, positions)
    assert_same((energy, forces[3:]), molecule.expected(molecule.positions), FLOAT64)


def test_a_topology_of_ours_is_enough_with_positions(molecule):
    topology = molecule.fragmentation.topology
    force = create_force(molecule.potential, topology, positions=molecule.positions / 10)
    context = context_of(system_of(len(molecule.numbers), force))
    expected = molecule.expected(molecule.positions)
    assert_same(compute(context, molecule.positions), expected, FLOAT64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"positions": np.zeros((2, 3))}, r"shape \(2, 3\) for an OpenMM topology of 18 atoms"),
        ({"particles": [3, 4, 99]}, r"particles \[99\] do not fit a topology of 18 atoms"),
        ({"particles": [3, 3]}, "each once"),
        ({"particles": range(3, 8)}, r"bond between atoms 3 and \d+ leads out"),
        ({"particles": None}, "helium|He"),
    ],
)
def test_particles_that_do_not_fit_are_an_error(molecule, arguments, message):
    positions = np.concatenate([np.full((3, 3), 2.0) + np.eye(3), molecule.positions / 10])
    topology = molecule.openmm_topology(before=[["He"]] * 3)
    defaults = {"positions": positions, "particles": range(3, 18)}
    with pytest.raises(InputError, match=message):
        create_force(molecule.potential, topology, **(defaults | arguments))


def test_positions_are_missing_only_where_fragments_depend_on_them(case):
    topology = case.fragmentation.topology
    if case.potential.config.fragmentation.needs_geometry:
        with pytest.raises(InputError, match="positions are missing"):
            create_force(case.potential, topology)
        return
    force = create_force(case.potential, topology, periodic=case.periodic)
    context = context_of(system_of(len(case.numbers), force, case.cell))
    assert_same(compute(context, case.positions), case.expected(case.positions), FLOAT64)


@pytest.mark.parametrize("kind", ["fragmentation", "topology"])
def test_a_wrong_number_of_particles_is_an_error(molecule, kind):
    topology = (
        molecule.fragmentation if kind == "fragmentation" else molecule.fragmentation.topology
    )
    with pytest.raises(InputError, match=f"2 particles for a {kind} of 15 atoms"):
        create_force(
            molecule.potential, topology, positions=molecule.positions / 10, particles=[0, 1]
        )


def test_virtual_sites_are_an_error(molecule):
    topology = app.Topology()
    topology.addAtom("M", None, topology.addResidue("HOH", topology.addChain()))
    with pytest.raises(InputError, match=r"element|virtual"):
        create_force(molecule.potential, topology, positions=np.zeros((1, 3)))
    force = create_force(molecule.potential, molecule.fragmentation)
    with pytest.raises(InputError, match=r"atom 0 \(M\) has no element"):
        create_system(topology, force)


def test_an_openmm_without_subsets_says_so(molecule, monkeypatch):
    monkeypatch.delattr(openmm.PythonForce, "setParticles")
    with pytest.raises(MissingDependencyError, match=r"upgrade to OpenMM 8\.6"):
        create_force(molecule.potential, molecule.fragmentation, particles=range(1, 16))


def test_a_memory_ceiling_changes_no_number(wet_cell):
    force = create_force(
        wet_cell.potential, wet_cell.fragmentation, periodic=True, memory_gib=0.001
    )
    computation = force.computation
    context = context_of(system_of(len(wet_cell.numbers), force, wet_cell.cell))
    for positions in wet_cell.geometries(3):
        assert_same(compute(context, positions), wet_cell.expected(positions), FLOAT64)
    assert computation._potential._chunked.n_parts > 1
    with pytest.raises(InputError, match="give a positive number of GiB"):
        create_force(wet_cell.potential, wet_cell.fragmentation, memory_gib=-1.0)
