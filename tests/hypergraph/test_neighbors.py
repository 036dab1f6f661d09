"""Neighbour pairs: bins, all pairs and ASE's list agree, in every kind of cell."""

import numpy as np
import pytest
import torch
from ase.neighborlist import primitive_neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from se3set_mlip.hypergraph.neighbors import cell_heights, neighbor_pairs, usable_cell

CUBE = np.diag([6.0, 7.0, 8.0])
SKEW = np.array([[6.0, 0.0, 0.0], [3.0, 5.5, 0.0], [-2.0, 2.5, 6.5]])
THIN = np.array([[2.1, 0.0, 0.0], [0.5, 9.0, 0.0], [0.0, 0.3, 3.0]])


def found(positions, cell, pbc, cutoff, *, bins):
    n = len(positions)
    i, j, shift = neighbor_pairs(
        torch.as_tensor(positions),
        torch.as_tensor(cell).unsqueeze(0),
        torch.as_tensor(pbc).unsqueeze(0),
        torch.zeros(n, dtype=torch.int64),
        cutoff,
        brute_force_atoms=0 if bins else n,
    )
    shift = shift.to(torch.int64)
    rows = torch.cat([i.unsqueeze(1), j.unsqueeze(1), shift], dim=1).tolist()
    assert len({tuple(row) for row in rows}) == len(rows)
    return {tuple(row) for row in rows}


def reference(positions, cell, pbc, cutoff):
    i, j, shift = primitive_neighbor_list("ijS", pbc, cell, positions, cutoff)
    return {tuple(row) for row in np.column_stack([i, j, shift]).tolist()}


@pytest.mark.parametrize("bins", [False, True])
@pytest.mark.parametrize("cell", [CUBE, SKEW, THIN], ids=["cube", "skew", "thin"])
@pytest.mark.parametrize(
    "pbc", [(True, True, True), (True, False, True), (False, True, False), (False, False, False)]
)
def test_pairs_are_those_of_ase(cell, pbc, bins):
    generator = np.random.default_rng(1)
    positions = generator.uniform(-0.7, 1.6, size=(25, 3)) @ cell  # outside the cell too
    expected = reference(positions, cell, pbc, 4.0)
    assert len(expected) > 20
    assert found(positions, cell, pbc, 4.0, bins=bins) == expected


@settings(max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    cutoff=st.floats(0.5, 6.0),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_both_ways_agree_in_random_cells(seed, cutoff, pbc):
    generator = np.random.default_rng(seed)
    cell = np.diag(generator.uniform(4.0, 9.0, size=3)) + generator.uniform(-0.8, 0.8, (3, 3))
    positions = generator.normal(scale=6.0, size=(12, 3))
    assert found(positions, cell, pbc, cutoff, bins=True) == found(
        positions, cell, pbc, cutoff, bins=False
    )


@pytest.mark.parametrize("bins", [False, True])
def test_a_lone_atom_sees_only_its_images(bins):
    positions = np.zeros((1, 3))
    assert found(positions, CUBE, (False,) * 3, 4.0, bins=bins) == set()
    seen = found(positions, CUBE, (True,) * 3, 6.5, bins=bins)
    assert seen == {(0, 0, 1, 0, 0), (0, 0, -1, 0, 0)}


def test_structures_of_a_batch_stay_apart():
    positions = torch.zeros(4, 3, dtype=torch.float64)
    positions[1, 0] = positions[3, 0] = 1.0
    structure = torch.tensor([0, 0, 1, 1])
    cell = torch.eye(3, dtype=torch.float64).expand(2, 3, 3)
    pbc = torch.zeros(2, 3, dtype=torch.bool)
    for limit in (0, 10):
        i, j, _ = neighbor_pairs(positions, cell, pbc, structure, 3.0, brute_force_atoms=limit)
        assert sorted(zip(i.tolist(), j.tolist(), strict=True)) == [(0, 1), (1, 0), (2, 3), (3, 2)]


def test_heights_of_a_skew_cell():
    heights = cell_heights(torch.as_tensor(SKEW).unsqueeze(0))[0]
    normals = np.linalg.inv(SKEW)
    assert np.allclose(heights.numpy(), 1.0 / np.linalg.norm(normals, axis=0))


@pytest.mark.parametrize("pbc", [(True, False, False), (False, True, True), (False, False, False)])
def test_open_directions_get_a_vector(pbc):
    cell = torch.as_tensor(SKEW).clone()
    cell[~torch.tensor(pbc)] = 0.0
    full = usable_cell(cell.unsqueeze(0), torch.tensor([pbc]))
    assert abs(float(torch.linalg.det(full)[0])) > 0.1
    assert torch.equal(full[0][torch.tensor(pbc)], cell[torch.tensor(pbc)])


def test_far_apart_atoms_take_no_more_bins_than_they_need():
    """300 atoms in two clusters 4000 Å apart: a bin of the range everywhere would be 8 GB."""
    positions = np.random.default_rng(0).uniform(0.0, 10.0, size=(300, 3))
    positions[150:] += 4000.0
    pbc = (False, False, False)
    assert found(positions, CUBE, pbc, 3.0, bins=True) == found(
        positions, CUBE, pbc, 3.0, bins=False
    )
