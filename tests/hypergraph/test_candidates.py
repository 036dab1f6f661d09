"""Candidates with a skin: the same hypergraph, to the last bit, as long as atoms stay near."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem

import se3set_mlip as s3
from se3set_mlip.fragments.fragmentation import PRESETS
from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.hypergraph.build import HypergraphBuilder, HypergraphConfig
from se3set_mlip.hypergraph.hypergraph import System, moved
from se3set_mlip.potential.inputs import make_system

MOLECULES = json.loads((Path(__file__).parents[1] / "data" / "fragments.json").read_text())
SKIN = 0.8
CELL = np.array([[9.5, 0.0, 0.0], [1.0, 9.0, 0.0], [-1.5, 0.5, 9.2]])


@dataclass(frozen=True)
class Case:
    """A builder, a system and a generator of geometries within half the skin of it."""

    builder: HypergraphBuilder
    system: System

    def near(self, seed: int, *, largest: float = 0.5 * SKIN) -> System:
        generator = torch.Generator().manual_seed(seed)
        steps = torch.randn(self.system.positions.shape, generator=generator, dtype=torch.float64)
        steps = steps / steps.norm(dim=1, keepdim=True) * largest
        return moved(self.system, self.system.positions + steps, self.system.cell)


@pytest.fixture(scope="module", params=["implicit_md22", "explicit_md17"])
def preset(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=["open", "periodic", "batch"])
def case(request, preset) -> Case:
    molecule = MOLECULES["ac_ala3_nhme"]
    topology = s3.Topology.from_rdkit(Chem.MolFromMolBlock(molecule["molblock"], removeHs=False))
    places = np.array(molecule["positions_angstrom"])
    fragmentation = s3.fragment(topology, places, preset=preset)

    def system(cell) -> System:
        return make_system(
            topology.numbers,
            places,
            fragmentation,
            elements=(1, 6, 7, 8),
            cell=cell,
            dtype=torch.float64,
            device=torch.device("cpu"),
        )

    both = {"open": [None], "periodic": [CELL], "batch": [CELL, None, 1.1 * CELL]}[request.param]
    builder = HypergraphBuilder(HypergraphConfig(), PRESETS[preset])
    return Case(builder, batch_systems([system(cell) for cell in both]))


@pytest.mark.parametrize("seed", range(3))
def test_old_candidates_give_the_hypergraph_of_new_ones(case, seed):
    kept = case.builder.candidates(case.system, SKIN)
    there = case.near(seed)
    # Images are relative to whole fragments: those of the old candidates are still whole.
    old = case.builder.weighted(there, kept, prune=True)
    new = case.builder(there)
    assert len(kept.pair_first) > len(case.builder.candidates(case.system, 0.0).pair_first)
    if case.builder.explicit:  # sums of bond orders over more terms, which are zero
        assert torch.equal(old.pair_source, new.pair_source)
        assert torch.allclose(old.incidence_weight, new.incidence_weight, rtol=1e-13, atol=1e-15)
    else:
        for ours, theirs in zip(old, new, strict=True):
            assert torch.equal(ours, theirs)


def test_unpruned_candidates_only_add_weights_of_zero(case):
    kept = case.builder.candidates(case.system, SKIN)
    pruned = case.builder.weighted(case.system, kept, prune=True)
    whole = case.builder.weighted(case.system, kept, prune=False)
    weights = whole.incidence_weight
    assert torch.equal(weights[weights > 0.0], pruned.incidence_weight)
    if not case.builder.explicit:
        assert bool((weights == 0.0).any())


# Not with explicit overlap: bond orders at the end of their range are too small to join groups.
@pytest.mark.parametrize("preset", ["implicit_md22"], indirect=True, scope="module")
def test_candidates_beyond_the_skin_are_missed(case):
    """What the tests above would miss: a skin that is too thin does change the hypergraph."""
    kept = case.builder.candidates(case.system, 0.0)
    differs = []
    for seed in range(5):
        there = case.near(seed, largest=0.6)
        old = case.builder.weighted(there, kept, prune=True)
        new = case.builder(there)
        same = old.incidence_weight.shape == new.incidence_weight.shape and torch.allclose(
            old.incidence_weight, new.incidence_weight, rtol=1e-9, atol=1e-12
        )
        differs.append(not same)
    assert any(differs)


def test_scripted_equals_eager(case):
    scripted = torch.jit.script(case.builder)
    kept = scripted.candidates(case.system, SKIN)
    for ours, theirs in zip(case.builder.candidates(case.system, SKIN), kept, strict=True):
        equal = torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs
        assert equal
    there = case.near(7)
    ours = case.builder.weighted(there, kept, prune=True)
    theirs = scripted.weighted(there, kept, True)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)
