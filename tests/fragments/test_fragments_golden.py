"""The published program's fragments: 45 systems under three settings, and in any atom order."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from se3set_mlip.errors import InputError, TopologyError
from se3set_mlip.fragments.fragmentation import PRESETS, Fragmentation, fragment
from se3set_mlip.topology.molecule import Topology

MOLECULES = json.loads((Path(__file__).parents[1] / "data" / "fragments.json").read_text())
# Their components were laid out on top of one another, so coordinates alone say nothing.
OVERLAPPING = ("water_dimer", "ethanol_water", "benzene_methane")


def as_multiset(parts: Iterable[Iterable[int]]) -> list[tuple[int, ...]]:
    """Return fragments in an order that does not matter: sets of atoms, equal ones counted."""
    return sorted(tuple(sorted(int(atom) for atom in part)) for part in parts)


def known_topology(name: str) -> Topology:
    return Topology.from_rdkit(Chem.MolFromMolBlock(MOLECULES[name]["molblock"], removeHs=False))


def assert_golden(found: Fragmentation, name: str, preset: str) -> None:
    members = found.members(MOLECULES[name]["positions_angstrom"])
    assert as_multiset(members) == as_multiset(MOLECULES[name]["fragments"][preset])


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", MOLECULES)
def test_fragments_are_the_published_ones(name: str, preset: str) -> None:
    positions = MOLECULES[name]["positions_angstrom"]
    assert_golden(fragment(known_topology(name), positions, preset=preset), name, preset)


@pytest.mark.parametrize("name", MOLECULES)
def test_a_smiles_string_is_enough(name: str) -> None:
    topology = Topology.from_smiles(MOLECULES[name]["smiles"])
    assert topology == known_topology(name)


@pytest.mark.parametrize("name", [name for name in MOLECULES if name not in OVERLAPPING])
def test_coordinates_and_charge_are_enough(name: str) -> None:
    entry = MOLECULES[name]
    positions = entry["positions_angstrom"]
    topology = Topology.from_coordinates(entry["numbers"], positions, entry["charge"])
    for preset in PRESETS:
        assert_golden(fragment(topology, positions, preset=preset), name, preset)


@pytest.mark.parametrize("name", OVERLAPPING)
def test_coordinates_of_overlapping_molecules_raise(name: str) -> None:
    entry = MOLECULES[name]
    with pytest.raises((InputError, TopologyError), match=r"coincide|neighbours within bonding"):
        Topology.from_coordinates(entry["numbers"], entry["positions_angstrom"], entry["charge"])


@pytest.mark.parametrize("name", MOLECULES)
def test_the_order_of_the_atoms_does_not_matter(name: str) -> None:
    topology = known_topology(name)
    positions = np.array(MOLECULES[name]["positions_angstrom"])
    rng = np.random.default_rng(len(positions))
    for preset in PRESETS:
        found = fragment(topology, positions, preset=preset)
        for _ in range(3):
            order = rng.permutation(topology.n_atoms)
            again = fragment(topology.permuted(order.tolist()), positions[order], preset=preset)
            for mine, theirs in (
                (found.groups, again.groups),
                (found.fragments, again.fragments),
                (found.members(positions), again.members(positions[order])),
            ):
                assert as_multiset(order[list(part)] for part in theirs) == as_multiset(mine)
