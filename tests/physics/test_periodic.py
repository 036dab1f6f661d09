"""The same crystal has the same energy however its atoms and cell are written down."""

import numpy as np
import pytest
import torch

from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.hypergraph.hypergraph import System

CELL = np.array([[8.5, 0.0, 0.0], [1.0, 8.0, 0.0], [-0.5, 0.8, 9.0]])
SMALL = np.array([[5.2, 0.0, 0.0], [0.6, 5.0, 0.0], [-0.5, 0.4, 5.4]])
PRESETS = ["implicit_md22", "explicit_qm9"]


def close(one, other, tolerance=1e-10):
    assert torch.allclose(one.energy, other.energy, rtol=tolerance, atol=0)
    assert torch.allclose(one.forces, other.forces, rtol=0, atol=1e-9)
    assert torch.allclose(one.stress, other.stress, rtol=0, atol=1e-10)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("cell", [CELL, SMALL], ids=["cell", "small"])
def test_wrapping_and_translating(make_potential, make_system, positions_of, preset, cell):
    potential = make_potential(preset)
    positions = positions_of("ethanol_water")
    generator = np.random.default_rng(0)
    expected = potential.compute(make_system(potential, "ethanol_water", cell=cell), stress=True)
    for trial in range(4):
        fractional = (positions + generator.normal(size=3) * 5.0) @ np.linalg.inv(cell)
        if trial % 2:
            fractional -= np.floor(fractional)  # atoms arrive wrapped one by one
        else:
            fractional += generator.integers(-2, 3, size=fractional.shape)
        system = make_system(potential, "ethanol_water", positions=fractional @ cell, cell=cell)
        close(potential.compute(system, stress=True), expected)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("cell", [CELL, SMALL], ids=["cell", "small"])
def test_the_double_cell_has_twice_the_energy(make_potential, make_system, preset, cell):
    potential = make_potential(preset)
    one = make_system(potential, "ethanol_water", cell=cell)
    n = len(one.numbers)
    for axis in range(3):
        doubled = one.cell.clone()
        doubled[0, axis] *= 2.0
        pair = batch_systems([one, one])
        two = System(
            numbers=pair.numbers,
            positions=torch.cat([one.positions, one.positions + one.cell[0, axis]]),
            fragment=pair.fragment,
            group=pair.group,
            parent=pair.parent,
            charge=pair.charge,
            structure=torch.zeros(2 * n, dtype=torch.int64),
            cell=doubled,
            pbc=one.pbc,
        )
        a, b = potential.compute(one, stress=True), potential.compute(two, stress=True)
        assert torch.allclose(2.0 * a.energy, b.energy, rtol=1e-10, atol=0)
        assert torch.allclose(torch.cat([a.forces, a.forces]), b.forces, rtol=0, atol=1e-9)
        assert torch.allclose(a.stress, b.stress, rtol=0, atol=1e-10)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_large_cell_is_open_space(make_potential, make_system, preset):
    potential = make_potential(preset)
    open_space = potential.compute(make_system(potential, "ethanol_water"))
    cell = potential.compute(
        make_system(potential, "ethanol_water", cell=np.diag([60.0, 60.0, 60.0]))
    )
    assert torch.allclose(open_space.energy, cell.energy, rtol=1e-13, atol=0)
    assert torch.allclose(open_space.forces, cell.forces, rtol=0, atol=1e-11)


@pytest.mark.parametrize("preset", PRESETS)
def test_images_interact_in_a_small_cell(make_potential, make_system, preset):
    potential = make_potential(preset)
    open_space = potential.compute(make_system(potential, "ethanol_water"))
    small = potential.compute(make_system(potential, "ethanol_water", cell=SMALL))
    assert abs(float(open_space.energy - small.energy)) > 1e-3


@pytest.mark.parametrize("preset", ["implicit_md22", "explicit_md17", "explicit_qm9"])
def test_batches_are_their_structures(make_potential, make_system, preset):
    potential = make_potential(preset)
    systems = [
        make_system(potential, "aspirin"),
        make_system(potential, "water"),
        make_system(potential, "ethanol_water"),
    ]
    together = potential.compute(batch_systems(systems))
    alone = [potential.compute(system) for system in systems]
    assert torch.allclose(
        together.energy, torch.cat([output.energy for output in alone]), rtol=1e-10, atol=0
    )
    assert torch.allclose(
        together.forces, torch.cat([output.forces for output in alone]), rtol=0, atol=1e-10
    )


def test_periodic_and_open_structures_share_a_batch(make_potential, make_system):
    potential = make_potential()
    systems = [
        make_system(potential, "ethanol", cell=SMALL),
        make_system(potential, "ethanol"),
        make_system(potential, "water", cell=CELL),
    ]
    together = potential.compute(batch_systems(systems))
    alone = torch.cat([potential.compute(system).energy for system in systems])
    assert torch.allclose(together.energy, alone, rtol=1e-12, atol=0)
    assert abs(float(alone[0] - alone[1])) > 1e-3


def test_no_gradient_crosses_structures(make_potential, make_system):
    potential = make_potential()
    batch = batch_systems([make_system(potential, "nma"), make_system(potential, "ethanol")])
    leaf = batch.positions.clone().requires_grad_(True)
    energy, _ = potential.module.energies(batch._replace(positions=leaf))
    (gradient,) = torch.autograd.grad(energy[0], leaf)
    assert float(gradient[:12].abs().max()) > 1e-3
    assert torch.equal(gradient[12:], torch.zeros_like(gradient[12:]))
