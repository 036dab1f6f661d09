"""The Hessian is the derivative of the forces, symmetric, and knows translations and rotations."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

import se3set_mlip as s3
from se3set_mlip.errors import InputError
from se3set_mlip.export.loading import load
from se3set_mlip.export.torchscript import export_generic
from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.hypergraph.hypergraph import moved
from se3set_mlip.potential.hessian import hessian_rows, rows_at_once
from se3set_mlip.potential.memory import GIB

CELL = np.array([[6.5, 0.0, 0.0], [1.0, 7.0, 0.0], [-0.5, 0.8, 6.0]])

# Relative to the largest element of the Hessian.
AGAINST_DIFFERENCES = 1e-8
TO_ROUNDING = 1e-12

PRESETS = ["implicit_md22", "explicit_md17", "explicit_qm9"]


@pytest.fixture(
    scope="module",
    params=[
        *((preset, "attention", cell) for preset in PRESETS for cell in (None, CELL)),
        *((preset, "density", cell) for preset in PRESETS[:2] for cell in (None, CELL)),
    ],
    ids=lambda case: f"{case[0]}-{case[1]}-{'isolated' if case[2] is None else 'periodic'}",
)
def case(request, make_potential, make_system):
    """A potential, a system, and its Hessian as rows, before any averaging."""
    preset, interaction, cell = request.param
    potential = make_potential(preset, interaction=interaction)
    system = make_system(potential, "ethanol_water", cell=cell)
    return potential, system, hessian_rows(potential.module, system).numpy()


def random_direction(generator, n_atoms) -> np.ndarray:
    """Of unit length in the space of all coordinates, (n_atoms, 3)."""
    direction = generator.normal(size=(n_atoms, 3))
    return direction / np.linalg.norm(direction)


def slope_of_forces(potential, system, direction, step=5e-4) -> np.ndarray:
    """dF/dt along a direction (n_atoms, 3), by four points; (3 n_atoms,)."""
    way = torch.from_numpy(direction)
    offsets = (2 * step, step, -step, -2 * step)
    batch = batch_systems([moved(system, system.positions + t * way, system.cell) for t in offsets])
    forces = potential.compute(batch).forces.reshape(4, -1).numpy()
    return np.array([-1.0, 8.0, -8.0, 1.0]) @ forces / (12.0 * step)


def test_it_is_the_derivative_of_the_forces(case):
    potential, system, found = case
    scale = np.abs(found).max()
    assert scale > 1e-2
    generator = np.random.default_rng(5)
    for _ in range(4):
        direction = random_direction(generator, len(system.numbers))
        expected = -slope_of_forces(potential, system, direction)
        assert np.abs(found @ direction.reshape(-1) - expected).max() < AGAINST_DIFFERENCES * scale


def test_rows_and_columns_agree_before_any_averaging(case):
    _, _, found = case
    assert np.abs(found - found.T).max() < TO_ROUNDING * np.abs(found).max()


def test_translations_cost_no_force(case):
    _, system, found = case
    n = len(system.numbers)
    whole = found.reshape(3 * n, n, 3).sum(axis=1)
    assert np.abs(whole).max() < TO_ROUNDING * np.abs(found).max()


@pytest.mark.parametrize("interaction", ["attention", "density"])
def test_rotations_turn_the_forces(make_potential, make_system, interaction):
    """F(R r) = R F(r), so H (w x r) = -w x F at any geometry, and 0 where there is no force."""
    potential = make_potential(interaction=interaction)
    system = make_system(potential, "ethanol_water")
    found = potential.hessian(system)
    assert np.array_equal(found, found.T)
    assert found.dtype == np.float64
    forces = potential.compute(system).forces.numpy()
    assert np.abs(forces).max() > 1e-2
    for axis in np.eye(3):
        turn = np.cross(axis, system.positions.numpy()).reshape(-1)
        error = found @ turn + np.cross(axis, forces).reshape(-1)
        assert np.abs(error).max() < 1e-10 * np.abs(found).max()


@pytest.mark.parametrize("interaction", ["attention", "density"])
@pytest.mark.parametrize("direction", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, -1, 0), (0.3, 0.5, -2)])
def test_a_pair_has_one_spring_and_a_tension(make_potential, interaction, direction):
    """E(d) alone gives -E'' n n - (E'/d) (1 - n n) between the atoms, in whatever direction."""
    potential = make_potential(interaction=interaction)
    unit = np.array(direction) / np.linalg.norm(direction)
    distance = 0.8
    atoms = Atoms("H2", [np.zeros(3), distance * unit])
    block = potential.hessian(atoms)[:3, 3:]
    along = float(potential.evaluate(atoms).forces[1] @ unit)  # -E'
    spring = -float(unit @ block @ unit)
    expected = -spring * np.outer(unit, unit) + along / distance * (
        np.eye(3) - np.outer(unit, unit)
    )
    assert abs(along) > 1e-4
    assert np.abs(block - expected).max() < 1e-10 * np.abs(block).max()


@pytest.mark.parametrize("interaction", ["attention", "density"])
def test_a_symmetric_site_has_finite_second_derivatives(make_potential, interaction):
    """Vector features vanish at the carbon of methane, and lengths of zero have no derivative."""
    potential = make_potential(interaction=interaction)
    atoms = molecule("CH4")
    found = potential.hessian(atoms)
    system = potential._system_of(atoms, None)
    direction = random_direction(np.random.default_rng(2), 5)
    expected = -slope_of_forces(potential, system, direction, step=2e-4)
    assert np.abs(found @ direction.reshape(-1) - expected).max() < 1e-6 * np.abs(found).max()


def test_a_lone_atom_has_a_hessian_of_zeros(make_potential):
    topology = s3.Topology(numbers=(8,), bonds=(), orders=(), formal_charges=(-2,))
    found = make_potential().hessian(Atoms("O", [[1.0, 2.0, 3.0]]), topology=topology)
    assert np.array_equal(found, np.zeros((3, 3)))


def test_a_ceiling_takes_fewer_rows_at_once_and_changes_no_number(make_potential, make_system):
    potential = make_potential(interaction="density")
    system = make_system(potential, "ethanol_water")
    expected = potential.hessian(system)
    found = potential.hessian(system, memory_gib=0.02)
    assert np.abs(found - expected).max() < TO_ROUNDING * np.abs(expected).max()
    cpu = torch.device("cpu")
    assert rows_at_once(0.001 * GIB, memory_gib=0.0042, device=cpu) == 1
    assert rows_at_once(0.001 * GIB, memory_gib=0.0100, device=cpu) == 5
    assert rows_at_once(0.001 * GIB, memory_gib=None, device=cpu) > 50
    assert rows_at_once(8.0 * GIB, memory_gib=None, device=cpu) == 1
    with pytest.raises(InputError, match=r"takes .* GiB row by row; give more"):
        potential.hessian(system, memory_gib=1e-5)
    with pytest.raises(InputError, match="give a positive number of GiB"):
        potential.hessian(system, memory_gib=-1.0)


def test_atoms_in_any_state_of_the_module_and_of_autograd(make_potential, make_system):
    potential = make_potential(interaction="density")
    system = make_system(potential, "ethanol_water")
    expected = potential.hessian(system)
    potential.module.train()
    try:
        with torch.no_grad():
            assert np.array_equal(potential.hessian(system), expected)
        assert potential.module.training
    finally:
        potential.module.eval()
    assert all(weight.grad is None for weight in potential.module.parameters())
    single = potential.to(dtype="float32")
    low = single.hessian(moved(system, system.positions.float(), system.cell.float()))
    assert low.dtype == np.float64
    assert 0.0 < np.abs(low - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_compiled_potential_has_the_same(make_potential):
    potential = make_potential(interaction="density")
    water = molecule("H2O")
    found = potential.compiled().hessian(water)
    assert np.abs(found - potential.hessian(water)).max() < TO_ROUNDING * np.abs(found).max()


def test_what_has_no_hessian(make_potential, make_system, tmp_path):
    potential = make_potential()
    system = make_system(potential, "ethanol_water")
    with pytest.raises(InputError, match="a batch of 2 structures was asked for; give one"):
        potential.hessian(batch_systems([system, system]))
    with pytest.raises(InputError, match="give no topology beside it"):
        potential.hessian(system, topology=s3.Topology.from_smiles("CCO"))
    with pytest.raises(InputError, match="cannot evaluate 'CCO' of type str"):
        potential.hessian("CCO")
    scripted = load(export_generic(potential, tmp_path / "model.pt"))
    with pytest.raises(InputError, match=r"no second derivatives; load the checkpoint"):
        scripted.hessian(molecule("H2O"))
