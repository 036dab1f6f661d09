"""Far apart molecules do not feel each other; candidates of weight zero change nothing."""

import numpy as np
import pytest
import torch

import se3set_mlip as s3
from se3set_mlip.testing import SKIN_ABSOLUTE


def joined(potential, names, distance, topology_of, positions_of):
    """Return the system of two named molecules ``distance`` Å apart, and both alone."""
    first, second = (topology_of(name) for name in names)
    a, b = (positions_of(name) for name in names)
    b = b + np.array([distance, 0.0, 0.0])
    n = first.n_atoms
    both = s3.Topology(
        numbers=first.numbers + second.numbers,
        bonds=first.bonds + tuple((i + n, j + n) for i, j in second.bonds),
        orders=first.orders + second.orders,
        formal_charges=first.formal_charges + second.formal_charges,
    )
    systems = []
    for topology, positions in ((both, np.concatenate([a, b])), (first, a), (second, b)):
        fragments = potential.fragment(topology, positions)
        systems.append(potential.system(topology.numbers, positions, fragments))
    return systems


@pytest.mark.parametrize("preset", ["implicit_md22", "explicit_md17", "explicit_qm9"])
def test_energies_of_far_molecules_add_up(make_potential, topology_of, positions_of, preset):
    potential = make_potential(preset)
    both, a, b = joined(potential, ("nma", "ethanol"), 25.0, topology_of, positions_of)
    total = potential.compute(both)
    parts = [potential.compute(a), potential.compute(b)]
    assert abs(float(total.energy - parts[0].energy - parts[1].energy)) < 1e-10
    forces = torch.cat([part.forces for part in parts])
    assert torch.allclose(total.forces, forces, rtol=0, atol=1e-12)
    near, _, _ = joined(potential, ("nma", "ethanol"), 4.5, topology_of, positions_of)
    assert abs(float(potential.compute(near).energy - total.energy)) > 1e-4


def test_a_far_atom_moves_unnoticed(make_potential, topology_of, positions_of):
    potential = make_potential()
    both, _, _ = joined(potential, ("nma", "ethanol"), 25.0, topology_of, positions_of)
    moved = both.positions.clone()
    moved[-1] += 0.3
    before = potential.compute(both)
    after = potential.compute(both._replace(positions=moved))
    assert torch.equal(before.forces[:12], after.forces[:12])
    assert not torch.equal(before.forces[12:], after.forces[12:])


@pytest.mark.parametrize("preset", ["implicit_md22", "explicit_md17", "explicit_qm9"])
@pytest.mark.parametrize("molecule", ["aspirin", "ethanol_water"])
def test_the_skin_changes_nothing(make_potential, make_system, preset, molecule):
    outputs = []
    for skin in (0.0, 0.5, 2.0):
        potential = make_potential(preset, skin=skin)
        outputs.append(potential.compute(make_system(potential, molecule)))
    for other in outputs[1:]:
        assert torch.allclose(
            other.atomic_energies, outputs[0].atomic_energies, rtol=1e-15, atol=SKIN_ABSOLUTE
        )
        assert torch.allclose(other.forces, outputs[0].forces, rtol=0, atol=SKIN_ABSOLUTE)


def test_single_precision_agrees(make_potential, make_system):
    double = make_potential(scale=1.0)
    single = double.to(dtype="float32")
    assert single.dtype == torch.float32
    a = double.compute(make_system(double, "aspirin"))
    b = single.compute(make_system(single, "aspirin"))
    assert b.energy.dtype == torch.float64
    assert b.forces.dtype == torch.float32
    assert torch.allclose(a.energy, b.energy, rtol=0, atol=1e-5 * 21)
    scale = float(a.forces.abs().max())
    assert float((a.forces - b.forces).abs().max()) < 1e-5 * scale
