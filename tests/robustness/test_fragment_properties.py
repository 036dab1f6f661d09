"""Fragments of any molecule are a partition, and follow the atoms when these are renumbered."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import se3set_mlip as s3
from se3set_mlip.fragments.fragmentation import PRESETS


def sets_of(parts, order=None):
    """The parts as sets of atoms; ``order`` says which old atom each new one is."""
    return {frozenset(int(atom if order is None else order[atom]) for atom in p) for p in parts}


def turned(positions, seed):
    """Positions after a random rotation, perhaps a reflection, and a translation."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return positions @ rotation + rng.normal(scale=5.0, size=3)


def follows_its_atoms(data, molecules):
    smiles, topology, positions = data.draw(molecules)
    order = np.array(data.draw(st.permutations(range(topology.n_atoms))))
    moved = turned(positions, data.draw(st.integers(0, 999)))[order]
    for preset in PRESETS:
        found = s3.fragment(topology, positions, preset=preset)
        for parts in (found.groups, found.fragments):
            everyone = sorted(atom for part in parts for atom in part)
            assert everyone == list(range(topology.n_atoms)), smiles
        assert all(
            any(set(group) <= set(core) for core in found.fragments) for group in found.groups
        )
        other = s3.fragment(topology.permuted(order), moved, preset=preset)
        assert sets_of(other.groups, order) == sets_of(found.groups), (smiles, preset)
        assert sets_of(other.fragments, order) == sets_of(found.fragments), (smiles, preset)
        assert sets_of(other.members(moved), order) == sets_of(found.members(positions))


def perceived_in_any_order(data, molecules):
    smiles, topology, positions = data.draw(molecules)
    order = np.array(data.draw(st.permutations(range(topology.n_atoms))))
    numbers = np.array(topology.numbers)
    seed = data.draw(st.integers(0, 999))
    try:
        found = s3.Topology.from_coordinates(numbers, positions, topology.charge)
    except s3.errors.TopologyError:
        with pytest.raises(s3.errors.TopologyError):
            s3.Topology.from_coordinates(
                numbers[order], turned(positions, seed)[order], topology.charge
            )
        return False
    other = s3.Topology.from_coordinates(
        numbers[order], turned(positions, seed)[order], topology.charge
    )
    assert other.bonds == found.permuted(order).bonds, smiles
    assert found.bonds == topology.bonds, smiles
    assert found.charge == topology.charge
    return True


@settings(max_examples=40)
@given(data=st.data())
def test_fragments_follow_their_atoms(data, molecules):
    follows_its_atoms(data, molecules)


def test_bonds_are_perceived_in_any_order(molecules):
    known = []
    law = given(st.data())(lambda data: known.append(perceived_in_any_order(data, molecules)))
    settings(max_examples=40)(law)()
    assert np.mean(known) > 0.8  # few geometries are too distorted for their bonds to be clear


@pytest.mark.heavy
@pytest.mark.parametrize("law", [follows_its_atoms, perceived_in_any_order])
def test_many(law, molecules):
    def body(data):
        law(data, molecules)

    settings(max_examples=1000)(given(st.data())(body))()
