"""The systems of the speed benchmark: counts, density, no overlap, chemistry, and how they move."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from se3set_mlip.topology.molecule import Topology

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
WATER_GRAMS_PER_CUBIC_CENTIMETRE = 0.997
DALTON_PER_CUBIC_ANGSTROM = 1.66054  # in g/cm^3


@pytest.fixture(scope="module")
def systems():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("speed.systems")


@pytest.fixture(scope="module")
def motion(systems):
    return importlib.import_module("speed.structure").Motion


@pytest.mark.parametrize(
    ("name", "n_atoms"), [("aspirin", 21), ("Ac-Ala3-NHMe", 42), ("docosahexaenoic-acid", 56)]
)
def test_molecules_are_what_their_smiles_say(systems, name, n_atoms):
    structure = systems.SYSTEMS[name]()
    assert structure.n_atoms == n_atoms
    assert structure.cell is None
    stated = Topology(
        numbers=tuple(int(z) for z in structure.numbers),
        bonds=structure.bonds,
        orders=structure.orders,
        formal_charges=structure.charges,
    )
    assert stated == Topology.from_smiles(systems.SMILES[name])
    i, j = np.array(structure.bonds).T
    lengths = np.linalg.norm(structure.positions[i] - structure.positions[j], axis=1)
    assert 0.9 < lengths.min() < lengths.max() < 1.6
    assert np.array_equal(structure.positions, systems.SYSTEMS[name]().positions)


@pytest.mark.parametrize("n_atoms", [192, 648, 12000, 24000])
def test_water_is_liquid_water(systems, n_atoms):
    structure = systems.SYSTEMS[f"water-{n_atoms}"]()
    assert structure.n_atoms == n_atoms
    assert len(structure.bonds) == 2 * n_atoms // 3
    assert (np.bincount(structure.molecule) == 3).all()
    grams = n_atoms / 3 * 18.015 * DALTON_PER_CUBIC_ANGSTROM
    density = grams / np.linalg.det(structure.cell)
    assert density == pytest.approx(WATER_GRAMS_PER_CUBIC_CENTIMETRE, rel=1e-3)
    i, j = np.array(structure.bonds).T
    lengths = np.linalg.norm(structure.positions[i] - structure.positions[j], axis=1)
    assert lengths == pytest.approx(0.9572, abs=1e-4)
    assert (structure.numbers[i] == 8).all()
    assert (structure.numbers[j] == 1).all()


def test_no_two_molecules_of_water_overlap(systems):
    structure = systems.SYSTEMS["water-1536"]()
    lengths = np.diag(structure.cell)
    tree = cKDTree(structure.positions % lengths, boxsize=lengths)
    i, j = tree.query_pairs(systems.NEAREST_ANGSTROM, output_type="ndarray").T
    assert len(i) > 0  # the atoms of one molecule
    assert (structure.molecule[i] == structure.molecule[j]).all()


def test_a_molecule_moves_and_turns_so_far_that_a_skin_is_used_up(systems, motion):
    structure = systems.SYSTEMS["aspirin"]()
    moving = motion(structure, seed=1)
    steps = moving.positions(70) - moving.positions(0)
    inner = steps - steps.mean(axis=0)
    assert np.linalg.norm(inner, axis=1).max() > 0.25


def test_atoms_move_a_little_at_every_call_and_drift_as_molecules(systems, motion):
    structure = systems.water((2, 2, 2))
    moving = motion(structure, seed=1)
    path = np.array([moving.positions(call) for call in range(200)])
    steps = np.linalg.norm(np.diff(path, axis=0), axis=2)
    assert 0.001 < steps.mean() < steps.max() < 0.022
    far = np.linalg.norm(path[78] - path[0], axis=1)  # a quarter of a period
    assert (far > 0.25).mean() > 0.5
    i, j = np.array(structure.bonds).T
    lengths = np.linalg.norm(path[:, i] - path[:, j], axis=2)
    assert 0.8 < lengths.min() < lengths.max() < 1.2
    assert not np.array_equal(path[3], motion(structure, seed=2).positions(3))
