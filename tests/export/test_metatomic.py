"""metatomic: files that its checker accepts and ASE runs, and systems that the model refuses."""

import importlib

import ase
import numpy as np
import pytest
import torch
from ase import units
from ase.md.verlet import VelocityVerlet

from se3set_mlip.engines.ase_calculator import SE3SetCalculator
from se3set_mlip.errors import ArtifactError
from se3set_mlip.units import KJ_PER_MOL_PER_EV

metatomic = pytest.importorskip("metatomic.torch", reason="needs metatomic-torch")
metatensor = pytest.importorskip("metatensor.torch", reason="needs metatensor-torch")
metatomic_ase = pytest.importorskip("metatomic_ase", reason="needs metatomic-torch")
export = importlib.import_module("se3set_mlip.export.metatomic")

FLOAT64 = 1e-9
FLOAT32 = 1e-5


@pytest.fixture(autouse=True)
def _interpreter(request):
    """The interpreter of TorchScript, which is quick from the first call; see ``interpreter.py``.

    Engines outside of Python run the optimising executor: so does one test below.
    """
    with torch.jit.optimized_execution("optimising" in request.node.name):
        yield


@pytest.fixture(scope="session")
def exported(example, tmp_path_factory):
    path = tmp_path_factory.mktemp("metatomic") / "model.pt"
    return export.export_metatomic(
        example.potential, path, example.fragmentation, periodic=example.periodic
    )


@pytest.fixture(scope="session")
def calculator(exported):
    return metatomic_ase.MetatomicCalculator(exported, check_consistency=True, device="cpu")


@pytest.fixture(scope="session")
def isolated_model(isolated):
    return export.metatomic_model(isolated.potential, isolated.fragmentation)


def atoms_of(example, system) -> ase.Atoms:
    return ase.Atoms(
        example.numbers, system.positions.numpy(), cell=example.cell, pbc=example.periodic
    )


def run(model, systems, *, sample_kind="system", selected=None, length="angstrom", unit="eV"):
    """The values of the energy, with metatomic's checks of what goes in and comes out."""
    options = metatomic.ModelEvaluationOptions(
        length_unit=length,
        outputs={"energy": metatomic.ModelOutput(unit=unit, sample_kind=sample_kind)},
        selected_atoms=selected,
    )
    return model(systems, options, check_consistency=True)["energy"].block()


def system_of(numbers, positions, *, cell=None, dtype=torch.float64):
    return metatomic.System(
        types=torch.tensor(numbers, dtype=torch.int32),
        positions=torch.as_tensor(positions).to(dtype),
        cell=torch.zeros(3, 3, dtype=dtype) if cell is None else torch.as_tensor(cell).to(dtype),
        pbc=torch.full((3,), cell is not None),
    )


def test_metatomics_checker_accepts_the_file_and_reads_what_it_says(exported, example):
    metatomic.check_atomistic_model(str(exported))
    capabilities = metatomic.load_atomistic_model(exported).capabilities()
    assert capabilities.atomic_types == [1, 6, 8]
    assert capabilities.dtype == "float64"
    assert capabilities.interaction_range == np.inf
    assert capabilities.outputs["energy"].unit == "eV"
    metadata = metatomic.read_model_metadata(str(exported))
    assert metadata.name == "SE3Set"
    assert metadata.extra["level_of_theory"] == "random weights"
    assert metadata.extra["bound_system"] == example.fragmentation.describe()


def test_ase_gets_the_numbers_of_the_potential(example, calculator):
    for system in example.systems(5):
        atoms = atoms_of(example, system)
        atoms.calc = calculator
        expected = example.potential.compute(system, stress=example.periodic)
        energy = float(expected.energy)
        assert abs(atoms.get_potential_energy() - energy) < FLOAT64 * abs(energy)
        forces = expected.forces.numpy()
        assert np.abs(atoms.get_forces() - forces).max() < FLOAT64 * np.abs(forces).max()
        atomic = expected.atomic_energies.numpy()
        assert np.abs(atoms.get_potential_energies() - atomic).max() < FLOAT64 * abs(energy)
        if example.periodic:
            stress = expected.stress.squeeze(0).numpy()
            found = atoms.get_stress(voigt=False)
            assert np.abs(found - stress).max() < FLOAT64 * np.abs(stress).max()


def test_dynamics_through_metatomic_follow_those_of_the_potential(example, calculator):
    ends = []
    own = SE3SetCalculator(example.potential, topology=example.fragmentation.topology)
    for calc in (calculator, own):
        atoms = atoms_of(example, example.systems(1)[0])
        rng = np.random.default_rng(2)
        atoms.set_momenta(rng.normal(scale=0.1, size=(len(atoms), 3)))
        start = atoms.positions.copy()
        atoms.calc = calc
        VelocityVerlet(atoms, timestep=0.5 * units.fs).run(10)
        ends.append((atoms.positions, atoms.get_total_energy()))
        assert np.abs(atoms.positions - start).max() > 0.01
    assert np.abs(ends[0][0] - ends[1][0]).max() < FLOAT64
    assert ends[0][1] == pytest.approx(ends[1][1], rel=FLOAT64)


def test_the_optimising_executor_computes_the_same(isolated, isolated_model):
    calculator = metatomic_ase.MetatomicCalculator(isolated_model, device="cpu")
    for state in isolated.systems(4):  # it profiles the first calls and compiles for the later
        atoms = atoms_of(isolated, state)
        atoms.calc = calculator
        expected = isolated.potential.compute(state)
        assert np.abs(atoms.get_forces() - expected.forces.numpy()).max() < FLOAT64


def test_atoms_can_be_selected(isolated, isolated_model):
    states = isolated.systems(2)
    systems = [system_of(isolated.numbers, state.positions) for state in states]
    atomic = torch.stack([isolated.potential.compute(s).atomic_energies for s in states])
    rows = [(1, 4), (0, 2), (1, 0), (0, 5)]
    selected = metatensor.Labels(["system", "atom"], torch.tensor(rows, dtype=torch.int32))
    block = run(isolated_model, systems, sample_kind="atom", selected=selected)
    expected = torch.stack([atomic[row] for row in rows])
    assert block.samples == selected
    assert (block.values.squeeze(1) - expected).abs().max() < FLOAT64 * expected.abs().max()
    block = run(isolated_model, systems, selected=selected)
    expected = torch.stack([atomic[0, [2, 5]].sum(), atomic[1, [4, 0]].sum()])
    assert (block.values.squeeze(1) - expected).abs().max() < FLOAT64 * expected.abs().max()


def test_engines_in_other_units_get_theirs(isolated, isolated_model):
    state = isolated.systems(1)[0]
    system = system_of(isolated.numbers, state.positions / 10.0)
    block = run(isolated_model, [system], length="nm", unit="kJ/mol")
    expected = KJ_PER_MOL_PER_EV * float(isolated.potential.compute(state).energy)
    # Both programs take their constants from CODATA, of different years.
    assert float(block.values.detach().squeeze()) == pytest.approx(expected, rel=1e-7)


def test_float32_is_the_network_in_float32(isolated):
    model = export.metatomic_model(isolated.potential, isolated.fragmentation, dtype="float32")
    assert model.capabilities().dtype == "float32"
    state = isolated.systems(1)[0]
    system = system_of(isolated.numbers, state.positions, dtype=torch.float32)
    expected = float(isolated.potential.compute(state).energy)
    found = float(run(model, [system]).values.detach().squeeze())
    assert found == pytest.approx(expected, rel=FLOAT32)


def test_other_atoms_and_another_order_are_refused(isolated, isolated_model):
    numbers = np.array(isolated.numbers)
    positions = isolated.systems(1)[0].positions
    with pytest.raises(ValueError, match="bound to a system of 12 atoms and was given 11"):
        run(isolated_model, [system_of(numbers[:-1], positions[:-1])])
    order = np.roll(np.arange(12), 1)
    with pytest.raises(ValueError, match="atom 0 has type 1, at the export it had 6"):
        run(isolated_model, [system_of(numbers[order], positions[order])])
    with pytest.raises(ValueError, match="exported with periodic = False"):
        run(isolated_model, [system_of(numbers, positions, cell=20.0 * np.eye(3))])


def test_an_order_that_elements_do_not_tell_is_refused_by_its_bonds(isolated, isolated_model):
    positions = isolated.systems(1)[0].positions
    oxygens = [k for k, number in enumerate(isolated.numbers) if number == 8]
    order = np.arange(12)
    order[oxygens[1:]] = oxygens[:0:-1]  # the oxygen atoms of two waters
    with pytest.raises(ValueError, match="another order than at the export"):
        run(isolated_model, [system_of(isolated.numbers, positions[order])])
    blown_up = positions.clone()
    blown_up[3, 0] = torch.nan
    with pytest.raises(ValueError, match="are nan Å apart"):
        run(isolated_model, [system_of(isolated.numbers, blown_up)])


@pytest.mark.parametrize("example", [True], ids=["periodic"], indirect=True)
def test_a_cell_too_small_for_the_bonds_is_refused(example, calculator):
    system = example.systems(1)[0]
    atoms = ase.Atoms(example.numbers, system.positions.numpy(), cell=1.7 * np.eye(3), pbc=True)
    atoms.calc = calculator
    with pytest.raises(Exception, match="half of the cell's smallest height"):
        atoms.get_potential_energy()


def test_a_folder_that_is_not_there_is_named(isolated, tmp_path):
    with pytest.raises(ArtifactError, match="there is no folder"):
        export.export_metatomic(
            isolated.potential, tmp_path / "no" / "model.pt", isolated.fragmentation
        )
