"""Hypergraphs: the published indices in the hard limit, whole fragments, sources and weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem

import se3set_mlip as s3
from se3set_mlip.errors import ConfigError
from se3set_mlip.fragments.fragmentation import PRESETS
from se3set_mlip.hypergraph.build import (
    HypergraphBuilder,
    HypergraphConfig,
    whole_fragments,
)
from se3set_mlip.hypergraph.candidates import unique_keys
from se3set_mlip.potential.inputs import make_system

DATA = Path(__file__).parents[1] / "data"
PUBLISHED = dict(np.load(DATA / "published_model.npz"))
MOLECULES = json.loads((DATA / "fragments.json").read_text())
NAMES = sorted({key.split("/")[1] for key in PUBLISHED if key.startswith("case/")})
PRESET = {"implicit": "implicit_md22", "explicit": "explicit_md17"}
ELEMENTS = (1, 6, 7, 8, 15, 16, 17)


def build(name, preset, *, cell=None, positions=None, **settings):
    molecule = MOLECULES[name]
    topology = s3.Topology.from_rdkit(Chem.MolFromMolBlock(molecule["molblock"], removeHs=False))
    reference = np.array(molecule["positions_angstrom"])
    fragmentation = s3.fragment(topology, reference, preset=preset)
    system = make_system(
        topology.numbers,
        reference if positions is None else positions,
        fragmentation,
        elements=ELEMENTS,
        cell=cell,
        dtype=torch.float64,
        device=torch.device("cpu"),
    )
    builder = HypergraphBuilder(HypergraphConfig(**settings), PRESETS[preset])
    return system, builder(system)


def incidences(atoms, sources, owners):
    """Return each incidence as (atom, its sources), as a sorted list."""
    found = [(int(atom), []) for atom in atoms]
    for source, owner in zip(sources, owners, strict=True):
        if int(source) != found[int(owner)][0]:
            found[int(owner)][1].append(int(source))
    return sorted((atom, sorted(others)) for atom, others in found)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("overlap", ["implicit", "explicit"])
def test_the_hard_limit_has_the_published_indices(name, overlap):
    _, graph = build(name, PRESET[overlap], membership="hard")
    e2v = PUBLISHED[f"case/{name}/{overlap}/e2v_index"]
    v2e = PUBLISHED[f"case/{name}/{overlap}/v2e_index"]
    atoms = e2v[1][np.argsort(e2v[0])]
    ours = incidences(graph.incidence_atom, graph.pair_source, graph.pair_incidence)
    assert ours == incidences(atoms, v2e[0], v2e[1])
    assert bool((graph.incidence_weight == 1).all())


@pytest.mark.parametrize("name", ["aspirin", "nma"])
def test_implicit_weights_by_their_formula(name):
    system, graph = build(name, "implicit_md22")
    own = 0
    for k in range(len(graph.incidence_atom)):
        atom = int(graph.incidence_atom[k])
        sources = graph.pair_source[graph.pair_incidence == k]
        fragment = int(system.fragment[sources[0]])
        if fragment == int(system.fragment[atom]):
            own += 1
            assert float(graph.incidence_weight[k]) == 1.0
            continue
        distance = (system.positions[sources] - system.positions[atom]).norm(dim=1)
        x = ((4.0 - distance) / 1.5).clamp(0, 1)
        near = x**4 * (35 - 84 * x + 70 * x**2 - 20 * x**3)
        expected = 1.0 - torch.prod(1.0 - near)
        assert float(graph.incidence_weight[k]) == pytest.approx(float(expected), abs=1e-14)
    assert own == len(system.numbers)
    assert bool(((graph.incidence_weight > 0) & (graph.incidence_weight < 1)).any())


def test_pairs_are_sorted_and_have_no_self_pairs():
    system, graph = build("aspirin", "explicit_qm9")
    assert bool((graph.pair_incidence.diff() >= 0).all())
    assert bool((graph.pair_source != graph.incidence_atom[graph.pair_incidence]).all())
    expected = (
        system.positions[graph.pair_source]
        - system.positions[graph.incidence_atom[graph.pair_incidence]]
    )
    assert torch.allclose(graph.pair_vector, expected)


def test_absence_says_whether_an_incidence_has_sources():
    _, graph = build("water", "implicit_md22")
    assert torch.equal(graph.incidence_absence, torch.zeros(3, dtype=torch.float64))


def test_fragments_are_made_whole_across_the_boundary():
    cell = np.diag([9.0, 9.5, 10.0])
    reference = np.array(MOLECULES["biphenyl"]["positions_angstrom"])
    wrapped = np.mod(reference + np.array([1.0, 4.0, 9.9]), np.diag(cell))
    assert np.abs(wrapped - reference).max() > 5.0
    system, _ = build("biphenyl", "implicit_md22", cell=cell, positions=wrapped)
    whole = whole_fragments(system).numpy()
    for fragment in range(int(system.fragment.max()) + 1):
        atoms = (system.fragment == fragment).nonzero().squeeze(1).numpy()
        expected = reference[atoms] - reference[atoms[0]]
        assert np.allclose(whole[atoms] - whole[atoms[0]], expected, atol=1e-12)


def test_a_lone_atom_is_a_fragment_without_sources():
    topology = s3.Topology(numbers=(17,), bonds=(), orders=(), formal_charges=(-1,))
    fragmentation = s3.fragment(topology, [[0.0, 0.0, 0.0]])
    system = make_system(
        [17],
        [[0.0, 0.0, 0.0]],
        fragmentation,
        elements=ELEMENTS,
        dtype=torch.float64,
        device=torch.device("cpu"),
    )
    graph = HypergraphBuilder(HypergraphConfig(), PRESETS["implicit_md22"])(system)
    assert graph.incidence_atom.tolist() == [0]
    assert graph.pair_source.shape == (0,)
    assert graph.incidence_absence.tolist() == [1.0]


@pytest.mark.parametrize("preset", list(PRESETS))
def test_scripted_equals_eager(preset):
    system, graph = build("aspirin", preset)
    builder = HypergraphBuilder(HypergraphConfig(), PRESETS[preset])
    scripted = torch.jit.script(builder)(system)
    for ours, theirs in zip(graph, scripted, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("drift", [10, 3 * 10**6])
def test_keys_of_distant_images_do_not_overflow(drift):
    first = torch.tensor([4, 1, 4, 0, 1])
    second = torch.tensor([2, 0, 2, 5, 0])
    shift = torch.tensor([[1.0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0], [-1, 0, 0]]) * drift
    a, b, image, inverse = unique_keys(first, second, shift, 6)
    assert a.tolist() == [0, 1, 1, 4]
    assert b.tolist() == [5, 0, 0, 2]
    assert image[:, 0].tolist() == [0, -drift, 0, drift]
    assert inverse.tolist() == [3, 2, 3, 0, 1]


@pytest.mark.parametrize("setting", ["cutoff_angstrom", "skin_angstrom"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_ranges_must_be_finite(setting, value):
    with pytest.raises(ConfigError, match="must be finite"):
        HypergraphConfig(**{setting: value})
