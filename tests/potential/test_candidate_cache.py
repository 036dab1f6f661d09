"""Candidates kept from step to step: the same energies, whatever happens to atoms in between."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch

from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.potential.candidate_cache import CandidateCache
from se3set_mlip.potential.potential import Potential
from se3set_mlip.potential.potential_module import PotentialModule
from se3set_mlip.topology.molecule import Topology

CELL = np.array([[6.4, 0.0, 0.0], [0.5, 6.1, 0.0], [-0.7, 0.4, 6.6]])
WATER = np.array([[0.0, 0.0, 0.0], [0.757, 0.586, 0.0], [-0.757, 0.586, 0.0]])
TOPOLOGY = Topology.from_smiles("O.O.O.O.O.O.O.O")


def start() -> np.ndarray:
    """Return eight waters on a lattice, oxygens first, (24, 3)."""
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) @ CELL / 2.0
    oxygens = corners + WATER[0]
    hydrogens = (corners[:, None] + WATER[None, 1:]).reshape(-1, 3)
    return np.concatenate([oxygens, hydrogens])


def walk(n_steps: int, *, seed: int = 0) -> list[np.ndarray]:
    """Return geometries that wander, drift as a whole, and are wrapped atom by atom at times."""
    rng = np.random.default_rng(seed)
    positions, found = start(), []
    for step in range(n_steps):
        molecule = np.concatenate([np.arange(8), np.repeat(np.arange(8), 2)])
        positions = positions + rng.normal(scale=0.03, size=(8, 3))[molecule] + [0.2, 0.0, 0.1]
        given = positions + rng.normal(scale=0.005, size=positions.shape)
        if step % 3 == 2:
            fractional = given @ np.linalg.inv(CELL)
            given = given - np.floor(fractional) @ CELL
        found.append(given)
    return found


@pytest.fixture(scope="module", params=["none", "zbl"])
def potential(request, tiny_potential) -> Potential:
    config = dataclasses.replace(
        tiny_potential.config, repulsion=request.param, repulsion_fraction=1.0
    )
    module = PotentialModule(config, dtype=torch.float64)
    module.load_state_dict(tiny_potential.module.state_dict())
    return Potential(module.eval(), config)


def systems(potential, geometries, *, cell=CELL):
    fragmentation = potential.fragment(TOPOLOGY, start(), cell=CELL)
    return [
        potential.system(TOPOLOGY.numbers, positions, fragmentation, cell=cell)
        for positions in geometries
    ]


def agree(one, other) -> bool:
    return (
        torch.allclose(one.energy, other.energy, rtol=1e-13, atol=1e-12)
        and torch.allclose(one.forces, other.forces, rtol=0.0, atol=1e-11)
        and torch.allclose(one.stress, other.stress, rtol=0.0, atol=1e-12)
    )


def test_energies_are_those_of_a_search_at_every_step(potential):
    cache = CandidateCache(0.6)
    trajectory = systems(potential, walk(40))
    for system in trajectory:
        kept = potential.compute(system, stress=True, cache=cache)
        assert agree(kept, potential.compute(system, stress=True))
        assert kept.forces.abs().max() > 1e-4
    assert 1 < cache.n_searches < 20


def test_drift_and_wrapping_cost_no_search(potential):
    cache = CandidateCache(0.4)
    rng = np.random.default_rng(1)
    for _ in range(6):
        steps = rng.integers(-2, 3, size=(24, 3))
        given = start() + rng.normal(scale=0.02, size=(24, 3)) + steps @ CELL + rng.normal(size=3)
        (system,) = systems(potential, [given])
        assert agree(
            potential.compute(system, stress=True, cache=cache),
            potential.compute(system, stress=True),
        )
    assert cache.n_searches == 1


def test_a_batch_of_structures_drifts_one_by_one(potential):
    cache = CandidateCache(0.4)
    for step in range(4):
        both = [start() + step * np.array(v) for v in ([0.5, 0.0, 0.0], [0.0, -0.7, 0.0])]
        batch = batch_systems(systems(potential, both))
        assert agree(potential.compute(batch, cache=cache), potential.compute(batch))
    assert cache.n_searches == 1


def test_what_else_changes_calls_for_a_search(potential):
    cache = CandidateCache(0.5)
    (system,) = systems(potential, [start()])
    (squeezed,) = systems(potential, [start()], cell=0.98 * CELL)
    open_space = potential.system(
        TOPOLOGY.numbers, start(), potential.fragment(TOPOLOGY, start(), cell=CELL)
    )
    far = systems(potential, [start() + 0.3 * np.eye(24, 3)])[0]
    for n_searches, changed in enumerate([system, squeezed, open_space, system, far], start=1):
        assert agree(potential.compute(changed, cache=cache), potential.compute(changed))
        assert cache.n_searches == n_searches
    potential.compute(far, cache=cache)
    assert cache.n_searches == 5
    other = potential.to(dtype="float32").to(dtype="float64")
    assert agree(other.compute(far, cache=cache), other.compute(far))
    assert cache.n_searches == 6


def test_a_copy_begins_anew(potential):
    cache = CandidateCache(0.5)
    (system,) = systems(potential, [start()])
    potential.compute(system, cache=cache)
    content = pickle.dumps(cache)
    assert len(content) < 1000
    assert pickle.loads(content).skin_angstrom == 0.5
