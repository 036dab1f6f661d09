"""torch-sim: its own checker, the potential's numbers, and fragments that follow their systems."""

import importlib
import warnings
from dataclasses import replace

import ase
import ase.io
import numpy as np
import pytest
import torch
from ase.build import molecule as build_molecule

from se3set_mlip.errors import ConfigError, InputError, TopologyError
from se3set_mlip.potential.potential import Potential, PotentialModule
from se3set_mlip.shipped import shipped_model, shipped_structure
from se3set_mlip.units import BOLTZMANN_EV_PER_KELVIN

ts = pytest.importorskip(
    "torch_sim", minversion="0.6", reason="needs torch-sim 0.6, and with it Python 3.12"
)
engine = importlib.import_module("se3set_mlip.engines.torch_sim_model")

FLOAT64 = 1e-9
FLOAT32 = 1e-5
SAME = 1e-12
CPU = torch.device("cpu")
NAMES = ["CH3CH2OH", "H2O", "CH3COOH", "CH3OH", "C6H6"]


def some_molecules(names=NAMES, *, cell=None, scale=0.03) -> list[ase.Atoms]:
    """Molecules a little out of shape, the same at each call; those in a cell wrapped into it."""
    found = []
    for name in names:
        rng = np.random.default_rng(len(name))
        atoms = build_molecule(name)
        atoms.positions += rng.normal(scale=scale, size=atoms.positions.shape)
        atoms.set_initial_magnetic_moments(None)
        if cell is not None:
            atoms.set_cell(cell)
            atoms.pbc = True
            atoms.positions += rng.uniform(-8.0, 8.0, 3)
            atoms.wrap()
        found.append(atoms)
    return found


def atoms_of(case, positions) -> ase.Atoms:
    return ase.Atoms(case.numbers, positions, cell=case.cell, pbc=case.periodic)


def assert_same(output, expected, tolerance=FLOAT64):
    energies = np.array([one.energy for one in expected])
    forces = np.concatenate([one.forces for one in expected])
    assert np.abs(output["energy"].numpy() - energies).max() < tolerance * np.abs(energies).max()
    assert np.abs(output["forces"].numpy() - forces).max() < tolerance * np.abs(forces).max()


@pytest.fixture
def model(molecule) -> object:
    return engine.SE3SetTorchSimModel(molecule.potential)


@pytest.fixture(scope="module")
def with_fluorine(tiny_potential) -> Potential:
    config = tiny_potential.config
    config = replace(config, model=replace(config.model, elements=(1, 6, 8, 9)))
    with torch.random.fork_rng():
        torch.manual_seed(5)
        module = PotentialModule(config, dtype=torch.float64)
    return Potential(module.eval(), config)


def in_molecules(state):
    """A state of torch-sim's checker with molecules of as many atoms in place of the metals."""
    if not state.pbc.any():
        return state
    names = {8: "C2H6", 12: "C6H6", 1: "F"}
    sizes = state.n_atoms_per_system.tolist()
    atoms = some_molecules([names[size] for size in sizes], cell=np.diag([8.0, 9.0, 10.0]))
    out = ts.io.atoms_to_state(atoms, state.device, state.dtype)
    out.store_model_extras({"charge": torch.tensor([-1.0 * (size == 1) for size in sizes])})
    return out


def test_torch_sims_own_checker_accepts_the_model(with_fluorine):
    model = engine.SE3SetTorchSimModel(with_fluorine)
    ts.models.interface.validate_model_outputs(
        model, CPU, torch.float64, state_modifier=in_molecules
    )
    assert model.compute_stress


def test_a_batch_of_molecules_has_the_numbers_of_the_potential(model, molecule):
    atoms = some_molecules()
    state = ts.initialize_state(atoms, CPU, torch.float64)
    output = model(state)
    assert_same(output, molecule.potential.evaluate(atoms))
    assert set(output) == {"energy", "forces", engine.FRAGMENTS}


def test_every_case_agrees_with_the_potential_and_its_stress(case):
    model = engine.SE3SetTorchSimModel(case.potential, compute_stress=True)
    geometries = case.geometries(4)
    # The fragments are those of the first geometry for all, as in the case itself.
    state = model.initialize_state(
        [atoms_of(case, positions) for positions in geometries],
        topology=case.fragmentation.topology,
    )
    output = model(state)
    expected = [case.expected(positions, stress=case.periodic) for positions in geometries]
    energies = torch.cat([one.energy for one in expected])
    forces = torch.cat([one.forces for one in expected])
    assert (output["energy"] - energies).abs().max() < FLOAT64 * energies.abs().max()
    assert (output["forces"] - forces).abs().max() < FLOAT64 * forces.abs().max()
    assert ("stress" in output) == case.periodic
    if case.periodic:
        stress = torch.cat([one.stress for one in expected])
        assert (output["stress"] - stress).abs().max() < FLOAT64 * stress.abs().max()


def test_float32_rounds_forces_but_not_energies(molecule, molecule_float32):
    atoms = some_molecules()
    for one in atoms:
        one.positions += 100.0
    model = engine.SE3SetTorchSimModel(molecule_float32.potential, dtype="float32")
    output = model(model.initialize_state(atoms))
    assert output["forces"].dtype == torch.float32
    assert output["energy"].dtype == torch.float64
    # Positions 100 Å away from the origin are rounded by torch-sim's state before any model.
    rounded = [one.copy() for one in atoms]
    for one in rounded:
        one.positions = one.positions.astype(np.float32)
    assert_same(output, molecule.potential.evaluate(rounded), FLOAT32)


def test_fragments_follow_systems_that_are_reordered_copied_and_joined(model, monkeypatch):
    state = ts.initialize_state(some_molecules(), CPU, torch.float64)
    first = model(state)
    state.store_model_extras(first)
    searched = []
    monkeypatch.setattr(model._library, "add", searched.append)
    pieces = state.split()
    for order, again in (
        ([3, 0, 4], state[[3, 0, 4]]),
        ([2, 0, 2, 1], ts.concatenate_states([pieces[k] for k in (2, 0, 2, 1)])),
    ):
        output = model(again)
        energies = first["energy"][order]
        assert (output["energy"] - energies).abs().max() < SAME * energies.abs().max()
        for index, system in enumerate(order):
            old = first["forces"][state.system_idx == system]
            new = output["forces"][again.system_idx == index]
            assert (old - new).abs().max() < FLOAT64
    assert not searched


def proton_between(distance) -> ase.Atoms:
    """Methanol and a water 2.4 Å away, with the proton of methanol so far from its oxygen."""
    methanol, water = build_molecule("CH3OH"), build_molecule("H2O")
    oxygen = list(methanol.numbers).index(8)
    proton = min((k for k in range(6) if methanol.numbers[k] == 1),
                 key=lambda k: methanol.get_distance(oxygen, k))  # fmt: skip
    along = methanol.get_distance(oxygen, proton, vector=True)
    along /= np.linalg.norm(along)
    water.rotate((0.0, 0.0, -1.0), along, center=water.positions[0])
    water.positions += methanol.positions[oxygen] + 2.4 * along - water.positions[0]
    methanol.positions[proton] = methanol.positions[oxygen] + distance * along
    both = methanol + water
    both.set_initial_magnetic_moments(None)
    return both


def test_fragments_stay_with_a_system_while_a_proton_leaves(model, molecule):
    start, end, other = proton_between(0.98), proton_between(1.25), build_molecule("C6H6")
    state = model.initialize_state([other, start])
    fragmentations = model.fragmentations(state)
    state.positions = torch.tensor(np.concatenate([other.positions, end.positions]))
    output = model(state)
    system = molecule.potential.system(end.numbers, end.positions, fragmentations[1])
    expected = molecule.potential.compute(system)
    assert abs(float(output["energy"][1] - expected.energy)) < FLOAT64 * abs(float(expected.energy))
    assert (output["forces"][len(other) :] - expected.forces).abs().max() < FLOAT64
    assert model.fragmentations(state) == fragmentations
    anew = model(ts.initialize_state([other, end], CPU, torch.float64))
    assert_same(anew, molecule.potential.evaluate([other, end]))
    assert abs(float(output["energy"][1] - anew["energy"][1])) > 1e-5
    assert output[engine.FRAGMENTS][-1] != anew[engine.FRAGMENTS][-1]


def nve_energies(model, atoms, timestep_fs, n_steps) -> np.ndarray:
    """Total energy of each system at each step, (n_steps, n_systems), eV."""
    state = ts.initialize_state(atoms, CPU, torch.float64)
    state.rng = 1
    kT = torch.tensor(300.0 * BOLTZMANN_EV_PER_KELVIN, dtype=torch.float64)
    dt = torch.tensor(timestep_fs * 1e-3 * ts.units.MetalUnits.time, dtype=torch.float64)
    state = ts.nve_init(state, model, kT=kT)
    out = []
    for _ in range(n_steps):
        state = ts.nve_step(state, model, dt=dt)
        kinetic = ts.calc_kinetic_energy(
            masses=state.masses, momenta=state.momenta, system_idx=state.system_idx
        )
        out.append((state.energy + kinetic).numpy())
    return np.array(out)


def test_the_error_of_constant_energy_dynamics_falls_with_the_square_of_the_time_step(model):
    atoms = some_molecules(["CH3OH", "H2O", "CH3CH2OH"])
    wide, narrow = (
        np.ptp(nve_energies(model, atoms, step, n), axis=0) for step, n in ((0.5, 20), (0.25, 40))
    )
    assert (wide < 0.05).all()
    assert 3.0 < wide.sum() / narrow.sum() < 5.0
    assert model._candidates.n_searches < 20


def test_langevin_dynamics_in_bins_brings_every_system_back_in_its_place(model, molecule):
    atoms = some_molecules()
    state = model.initialize_state(atoms)
    state.rng = 3
    batcher = ts.BinningAutoBatcher(model, memory_scales_with="n_atoms", max_memory_scaler=14)
    final = ts.integrate(
        state,
        model,
        integrator=ts.Integrator.nvt_langevin,
        n_steps=10,
        temperature=300.0,
        timestep=0.0005,
        autobatcher=batcher,
    )
    assert len(batcher.index_bins) > 1
    assert final.atomic_numbers.tolist() == state.atomic_numbers.tolist()
    assert torch.equal(final.atom_extras[engine.FRAGMENTS], state.atom_extras[engine.FRAGMENTS])
    assert (final.positions - state.positions).abs().max() > 0.01
    assert_same({"energy": final.energy, "forces": final.forces}, expected_of(model, final))


def expected_of(model, state):
    """What the potential computes of a state with the fragments that it carries."""
    found = []
    fragmentations = model.fragmentations(state)
    for atoms, fragmentation in zip(state.to_atoms(), fragmentations, strict=True):
        found.append(model.potential.evaluate(atoms, topology=fragmentation.topology))
    return found


def test_fire_with_systems_swapped_in_and_out_ends_at_minima_of_a_shipped_model():
    model = engine.SE3SetTorchSimModel(shipped_model("acetylacetone"), on_bond_change="error")
    atoms = [ase.io.read(shipped_structure("acetylacetone")) for _ in range(3)]
    for seed, one in enumerate(atoms):
        one.rattle(0.02 + 0.01 * seed, seed=seed)
    before = np.array([one.energy for one in model.potential.evaluate(atoms)])
    tolerance = 0.2
    final = ts.optimize(
        atoms,
        model,
        optimizer=ts.Optimizer.fire,
        convergence_fn=ts.generate_force_convergence_fn(force_tol=tolerance),
        max_steps=300,
        autobatcher=ts.InFlightAutoBatcher(
            model, memory_scales_with="n_atoms", max_memory_scaler=31
        ),
    )
    after = expected_of(model, final)
    assert (np.array([one.energy for one in after]) < before).all()
    assert max(np.linalg.norm(one.forces, axis=1).max() for one in after) < tolerance
    assert_same({"energy": final.energy, "forces": final.forces}, after)


@pytest.mark.parametrize("optimizer", ["fire", "bfgs", "lbfgs", "gradient_descent"])
def test_optimizers_take_float32_forces_with_float64_energies(optimizer):
    model = engine.SE3SetTorchSimModel(shipped_model("acetylacetone"), dtype="float32")
    atoms = [ase.io.read(shipped_structure("acetylacetone")) for _ in range(2)]
    for seed, one in enumerate(atoms):
        one.rattle(0.03, seed=seed)
    start, step = ts.OPTIM_REGISTRY[ts.Optimizer(optimizer)]
    state = start(model.initialize_state(atoms), model)
    before = state.energy.clone()
    for _ in range(4):
        state = step(state, model)
    assert state.energy.dtype == torch.float64
    assert state.positions.dtype == torch.float32
    assert (state.energy < before).all()


def test_a_cell_is_relaxed_by_the_stress(wet_cell):
    model = engine.SE3SetTorchSimModel(wet_cell.potential, compute_stress=True)
    state = model.initialize_state(
        atoms_of(wet_cell, wet_cell.positions), topology=wet_cell.fragmentation.topology
    )
    state = ts.fire_init(state, model, cell_filter=ts.CellFilter.frechet)
    start = state.clone()
    for _ in range(12):
        state = ts.fire_step(state, model)
    assert float(state.energy - start.energy) < 0.0
    assert (state.cell - start.cell).abs().max() > 1e-3
    expected = expected_of(model, state)[0]
    assert float(state.energy) == pytest.approx(expected.energy, rel=FLOAT64)


def test_a_charge_is_honoured_wherever_it_is_stated(with_fluorine):
    formate = ase.Atoms(
        "COOH", [[0.0, 0.0, 0.0], [1.12, 0.57, 0.0], [-1.12, 0.57, 0.1], [0.0, -1.1, 0.0]]
    )
    model = engine.SE3SetTorchSimModel(with_fluorine)
    state = ts.initialize_state([formate, formate], CPU, torch.float64)
    with pytest.raises(TopologyError, match="a charge"):
        model(state)
    charge = torch.tensor([-1.0, -1.0])
    state.store_model_extras({"charge": charge})
    formate.info["charge"] = -1
    expected = model.potential.evaluate([formate, formate])
    assert_same(model(state), expected)
    assert_same(model(model.initialize_state([formate, formate])), expected)
    state.store_model_extras(model(state) | {"charge": charge + 1.0})
    with pytest.raises(InputError, match="it has charge 0"):
        model(state)
    state.store_model_extras({"total_charge": charge})
    with pytest.raises(InputError, match="give one of them"):
        model(state)


def test_known_chemistry_goes_with_the_structures(molecule):
    model = engine.SE3SetTorchSimModel(molecule.potential)
    atoms = atoms_of(molecule, molecule.positions)
    state = model.initialize_state(atoms, topology=molecule.fragmentation.topology)
    assert model.fragmentations(state)[0].fragments == molecule.fragmentation.fragments


def test_a_key_means_the_same_to_another_model_unless_bonds_have_changed(molecule):
    start, end = proton_between(0.98), proton_between(1.25)
    state = engine.SE3SetTorchSimModel(molecule.potential).initialize_state(start)
    assert_same(
        engine.SE3SetTorchSimModel(molecule.potential)(state), molecule.potential.evaluate([start])
    )
    state.positions = torch.tensor(end.positions)
    with pytest.raises(TopologyError, match="does not know"):
        engine.SE3SetTorchSimModel(molecule.potential)(state)


def test_systems_that_were_altered_under_their_key_are_refused(model):
    state = model.initialize_state(some_molecules(["CH3OH", "H2O"]))
    numbers = state.clone()
    numbers.atomic_numbers = state.atomic_numbers.flip(0)
    with pytest.raises(InputError, match="system 0 of the state: it has atomic numbers"):
        model(numbers)
    periodic = state.clone()
    periodic.pbc = True
    periodic.cell = 20.0 * torch.eye(3, dtype=torch.float64).expand(2, 3, 3)
    with pytest.raises(InputError, match="it has pbc"):
        model(periodic)
    joined = state.clone()
    joined.system_idx = torch.zeros_like(state.system_idx)
    joined.cell = state.cell[:1]
    with pytest.raises(InputError, match="2 different fragments"):
        model(joined)


def test_states_that_cannot_be_right_are_refused(model):
    atoms = some_molecules(["CH3OH", "H2O"])
    with pytest.raises(InputError, match=r"torch\.float32 on cpu, the model torch\.float64"):
        model(ts.initialize_state(atoms, CPU, torch.float32))
    state = model.initialize_state(atoms)
    state.positions[7, 1] = torch.nan
    with pytest.raises(InputError, match="atom 1 of system 1"):
        model(state)
    water = build_molecule("H2O")
    water.set_cell([4.0, 4.0, 4.0])
    water.pbc = True
    state = model.initialize_state(water)
    state.cell = state.cell * 0.45
    with pytest.raises(InputError, match="use a larger cell"):
        model(state)


def test_a_broken_bond_warns_once_or_raises(molecule):
    with pytest.raises(ConfigError, match="'keep' or 'error'"):
        engine.SE3SetTorchSimModel(molecule.potential, on_bond_change="reperceive")
    atoms = some_molecules(["H2O", "CH3OH"])
    moved = [one.copy() for one in atoms]
    moved[0].set_distance(0, 1, 1.7, fix=0)
    keep = engine.SE3SetTorchSimModel(molecule.potential)
    state = keep.initialize_state(atoms)
    state.positions = torch.tensor(np.concatenate([one.positions for one in moved]))
    with pytest.warns(UserWarning, match="bond O0-H1 of system 0 is 1.70 Å long"):
        keep(state)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keep(state)
    strict = engine.SE3SetTorchSimModel(molecule.potential, on_bond_change="error")
    strict.initialize_state(atoms)
    with pytest.raises(TopologyError, match="bond O0-H1"):
        strict(state)


def test_no_derivatives_are_made_that_nobody_wants(model):
    state = model.initialize_state(some_molecules())
    expected = model(state)["energy"]
    model.compute_forces = False
    output = model(state)
    assert "forces" not in output
    assert torch.equal(output["energy"], expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU of NVIDIA")
def test_positions_stay_on_the_gpu(molecule):
    atoms = some_molecules()
    model = engine.SE3SetTorchSimModel(molecule.potential, device="cuda")
    output = model(ts.initialize_state(atoms, model.device, model.dtype))
    assert all(value.device == model.device for value in output.values())
    cpu = {name: value.cpu() for name, value in output.items()}
    assert_same(cpu, molecule.potential.evaluate(atoms))
