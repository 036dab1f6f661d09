"""A hypergraph in parts: nothing lost, nothing twice, nothing larger than asked for."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem

import se3set_mlip as s3
from se3set_mlip.fragments.fragmentation import PRESETS
from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.hypergraph.build import HypergraphBuilder, HypergraphConfig
from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.hypergraph.parts import arrange, first_part, n_rows, spatial_order, split
from se3set_mlip.potential.inputs import make_system

MOLECULES = json.loads((Path(__file__).parents[1] / "data" / "fragments.json").read_text())


def system_of(name: str, preset: str) -> System:
    molecule = MOLECULES[name]
    topology = s3.Topology.from_rdkit(Chem.MolFromMolBlock(molecule["molblock"], removeHs=False))
    positions = np.array(molecule["positions_angstrom"])
    return make_system(
        topology.numbers,
        positions,
        s3.fragment(topology, positions, preset=preset),
        elements=(1, 6, 7, 8, 17),
        dtype=torch.float64,
        device=torch.device("cpu"),
    )


@pytest.fixture(scope="module", params=["implicit_md22", "explicit_md17"])
def case(request):
    batch = batch_systems([system_of(name, request.param) for name in ("dha", "aspirin", "water")])
    builder = HypergraphBuilder(HypergraphConfig(), PRESETS[request.param])
    return batch, builder(batch)


def named_rows(graph, atoms):
    """Return incidences and pairs as sortable rows that do not depend on any order."""
    v = atoms[graph.incidence_atom]
    incidences = torch.stack(
        [v.double(), graph.incidence_weight, graph.incidence_absence], dim=1
    ).tolist()
    pairs = torch.cat(
        [
            v[graph.pair_incidence].double().unsqueeze(1),
            atoms[graph.pair_source].double().unsqueeze(1),
            graph.incidence_weight[graph.pair_incidence].unsqueeze(1),
            graph.pair_vector,
            graph.pair_weight.unsqueeze(1),
        ],
        dim=1,
    ).tolist()
    return incidences, pairs


@pytest.mark.parametrize("largest", [1.0, 60.0, 300.0, 1e9])
def test_parts_have_every_row_once(case, largest):
    system, graph = case
    arrangement = arrange(graph, spatial_order(system, 10))
    incidences, pairs = [], []
    atoms: list[int] = []
    for part in split(arrangement, largest):
        own = part.atoms[: part.n_atoms]
        atoms += own.tolist()
        assert torch.equal(part.hypergraph.numbers, system.numbers[own])
        assert bool((part.hypergraph.pair_incidence.diff() >= 0).all())
        assert bool((part.hypergraph.incidence_atom.diff() >= 0).all())
        assert len(set(part.atoms.tolist())) == len(part.atoms)
        rows = part.n_atoms + len(part.hypergraph.incidence_atom) + len(part.hypergraph.pair_source)
        assert rows <= largest or part.n_atoms == 1
        more_incidences, more_pairs = named_rows(part.hypergraph, part.atoms)
        incidences += more_incidences
        pairs += more_pairs
    assert sorted(atoms) == list(range(len(system.numbers)))
    expected_incidences, expected_pairs = named_rows(graph, torch.arange(len(system.numbers)))
    assert sorted(incidences) == sorted(expected_incidences)
    assert sorted(pairs) == sorted(expected_pairs)


def test_an_arrangement_says_where_rows_came_from(case):
    system, graph = case
    arrangement = arrange(graph, spatial_order(system, 10))
    assert not torch.equal(arrangement.atoms, torch.arange(len(system.numbers)))
    for ours, theirs, order in (
        (arrangement.hypergraph.pair_vector, graph.pair_vector, arrangement.pairs),
        (arrangement.hypergraph.pair_source, graph.pair_source, arrangement.pairs),
        (arrangement.hypergraph.incidence_weight, graph.incidence_weight, arrangement.incidences),
    ):
        assert torch.equal(ours, theirs[order])
    total = len(system.numbers) + len(graph.incidence_atom) + len(graph.pair_source)
    assert n_rows(arrangement)[-1] == total


def test_parts_are_about_equal(case):
    system, graph = case
    arrangement = arrange(graph, spatial_order(system, 10))
    sizes = [part.n_atoms + len(part.hypergraph.pair_source) for part in split(arrangement, 300.0)]
    assert len(sizes) > 3
    assert min(sizes) > 0.3 * max(sizes)


def test_neighbours_in_space_are_neighbours_in_order():
    """Atoms of a shuffled grid of 17.6 Å, in blocks of 4 x 4 x 4: 8 blocks."""
    axis = torch.arange(8, dtype=torch.float64) * 2.2 + 1.0
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).view(-1, 3)
    grid = grid[torch.randperm(512, generator=torch.Generator().manual_seed(0))]
    none = torch.zeros(512, dtype=torch.int64)
    for periodic in (True, False):
        wrapped = grid + 17.6 * periodic * torch.randint(-2, 3, (512, 3))
        system = System(
            numbers=none + 1,
            positions=wrapped,
            fragment=none,
            group=none,
            parent=none,
            charge=none,
            structure=none,
            cell=17.6 * torch.eye(3, dtype=torch.float64).unsqueeze(0),
            pbc=torch.full((1, 3), periodic),
        )
        order = spatial_order(system, 64)
        assert sorted(order.tolist()) == list(range(512))
        blocks = grid[order].view(8, 64, 3)
        extents = blocks.amax(dim=1) - blocks.amin(dim=1)
        assert torch.allclose(extents, torch.full((8, 3), 6.6, dtype=torch.float64))


def test_structures_of_a_batch_stay_together(case):
    system, _ = case
    order = spatial_order(system, 10)
    assert torch.equal(system.structure[order], system.structure)


def test_a_lone_atom_is_a_part():
    topology = s3.Topology(numbers=(17,), bonds=(), orders=(), formal_charges=(-1,))
    fragmentation = s3.fragment(topology, [[0.0, 0.0, 0.0]])
    system = make_system(
        [17],
        [[0.0, 0.0, 0.0]],
        fragmentation,
        elements=(17,),
        dtype=torch.float64,
        device=torch.device("cpu"),
    )
    graph = HypergraphBuilder(HypergraphConfig(), PRESETS["implicit_md22"])(system)
    arrangement = arrange(graph, spatial_order(system, 8))
    (part,) = split(arrangement, 1.0)
    assert part.n_atoms == 1
    assert first_part(arrangement, 32).hypergraph.incidence_atom.tolist() == [0]
