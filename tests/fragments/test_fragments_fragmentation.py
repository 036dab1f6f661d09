"""Settings, results, spanning trees, periodic cells and cost of fragmentation."""

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import pytest

from se3set_mlip.elements import formula
from se3set_mlip.errors import ConfigError, InputError
from se3set_mlip.fragments.fragmentation import (
    PRESETS,
    Fragmentation,
    FragmentationConfig,
    fragment,
)
from se3set_mlip.topology.geometry import make_box, minimum_image
from se3set_mlip.topology.molecule import Topology

MOLECULES = json.loads((Path(__file__).parents[1] / "data" / "fragments.json").read_text())


def golden(name: str) -> tuple[Topology, np.ndarray]:
    entry = MOLECULES[name]
    return Topology.from_smiles(entry["smiles"]), np.array(entry["positions_angstrom"])


def test_the_presets_are_the_published_settings() -> None:
    rows = {
        name: (c.overlap, c.bond_order, c.min_atoms, c.max_atoms, c.min_bond_order)
        for name, c in PRESETS.items()
    }
    assert rows == {
        "implicit_md22": ("implicit", "pauling", 0, 8, 0.1),
        "explicit_md17": ("explicit", "lendvay", 2, 16, 0.1),
        "explicit_qm9": ("explicit", "pauling", 2, 6, 0.4),
    }
    assert [c.overlap_bond_order for c in PRESETS.values()] == [None, 0.1, 0.2]


def test_the_default_is_implicit_md22_and_a_config_may_replace_it() -> None:
    topology, positions = golden("three_bpa")
    assert fragment(topology, positions).config == PRESETS["implicit_md22"]
    config = FragmentationConfig(min_atoms=4)
    assert fragment(topology, positions, config=config).config == config


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("CC(=O)[O-]", {"CH3": 0, "CO2": -1}),
        ("C[N+](=O)[O-]", {"CH3": 0, "NO2": 0}),
        ("[NH3+]CC(=O)[O-]", {"H3N": 1, "CH2": 0, "CO2": -1}),
    ],
)
def test_every_atom_knows_the_charge_of_its_fragment(smiles: str, expected: dict[str, int]) -> None:
    topology = Topology.from_smiles(smiles)
    fragments = fragment(topology, np.zeros((topology.n_atoms, 3)))
    charges = {}
    for atoms in fragments.fragments:
        (charge,) = set(fragments.fragment_charges[list(atoms)].tolist())
        charges[formula(topology.numbers[atom] for atom in atoms)] = charge
    assert charges == expected
    assert fragments.fragment_charges.dtype == np.int64


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"overlap": "explict"}, "overlap = 'explict' is unknown; did you mean 'explicit'"),
        ({"bond_order": "mayer"}, "bond_order = 'mayer' is unknown.*pauling, lendvay"),
        ({"min_atoms": -1}, "min_atoms = -1"),
        ({"min_atoms": 9}, "max_atoms = 8 with min_atoms = 9; expected at least 9"),
        ({"max_atoms": 0}, "max_atoms = 0"),
        ({"min_bond_order": 0.0}, "min_bond_order = 0.0"),
        ({"min_bond_order": float("nan")}, "min_bond_order = nan"),
        ({"overlap": "explicit"}, "overlap_bond_order = None with explicit overlap"),
        ({"overlap": "explicit", "overlap_bond_order": -1.0}, "overlap_bond_order = -1.0"),
        ({"overlap_bond_order": 0.1}, "has no effect with implicit"),
    ],
)
def test_settings_out_of_range_raise(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FragmentationConfig(**settings)  # type: ignore[arg-type]


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'explicit_md71' is unknown; did you mean 'explicit_md1"):
        fragment(*golden("water"), preset="explicit_md71")


def test_a_preset_and_a_config_together_raise() -> None:
    with pytest.raises(ConfigError, match="both given; give one"):
        fragment(*golden("water"), preset="explicit_md17", config=FragmentationConfig())


def test_positions_that_do_not_fit_raise() -> None:
    topology, positions = golden("ethanol")
    with pytest.raises(InputError, match=r"shape \(8, 3\); expected \(9, 3\)"):
        fragment(topology, positions[:8])
    found = fragment(topology, positions, preset="explicit_md17")
    with pytest.raises(InputError, match="position of atom 4 is"):
        found.members(np.where(np.arange(9)[:, None] == 4, np.nan, positions))


def test_the_result_is_immutable_and_checked() -> None:
    found = fragment(*golden("ethanol"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.fragments = ()  # type: ignore[misc]
    with pytest.raises(InputError, match="fragments are no partition of 9 atoms"):
        dataclasses.replace(found, fragments=found.fragments[1:])
    with pytest.raises(InputError, match="groups are no partition"):
        dataclasses.replace(found, groups=(*found.groups, (0,)))
    with pytest.raises(InputError, match="2 parents for 9 atoms"):
        dataclasses.replace(found, parents=(0, 0))


def test_indices_say_where_each_atom_is() -> None:
    found = fragment(*golden("three_bpa"), preset="explicit_md17")
    for index, parts in (
        (found.fragment_index, found.fragments),
        (found.group_index, found.groups),
    ):
        assert index.dtype == np.int64
        assert index.shape == (27,)
        for label, atoms in enumerate(parts):
            assert np.flatnonzero(index == label).tolist() == list(atoms)
    assert list(found.fragments) == sorted(found.fragments)


def test_members_are_the_fragments_where_overlap_is_implicit() -> None:
    topology, positions = golden("aspirin")
    found = fragment(topology, positions)
    assert found.members(positions) == found.fragments


def test_members_follow_the_geometry() -> None:
    topology, positions = golden("water_dimer")
    apart = positions.copy()
    apart[[1, 4, 5]] += [[2.0, 0.0, 0.0]]
    found = fragment(topology, apart, preset="explicit_md17")
    assert found.members(apart) == ((0, 1, 2, 3, 4, 5),) * 2
    apart[[1, 4, 5]] += [[9.0, 0.0, 0.0]]
    assert found.members(apart) == found.fragments


@pytest.mark.parametrize("name", ["ac_ala3_nhme", "caffeine", "spiro", "ethanol_water", "water"])
def test_the_spanning_tree_follows_bonds_from_the_smallest_atom(name: str) -> None:
    topology, positions = golden(name)
    found = fragment(topology, positions, preset="explicit_qm9")
    for atoms in found.fragments:
        assert found.parents[atoms[0]] == atoms[0]
        for atom in atoms[1:]:
            parent = found.parents[atom]
            assert parent in atoms
            assert parent in topology.neighbors[atom]
            steps = 0
            while found.parents[parent] != parent and steps < len(atoms):
                parent, steps = found.parents[parent], steps + 1
            assert parent == atoms[0]


def test_parts_that_no_bond_joins_are_linked_at_their_closest_atoms() -> None:
    topology = Topology.from_smiles("CI.[I-]")
    positions = np.array(
        [
            [0.0, 0.0, 0.0],
            [2.15, 0.0, 0.0],
            [5.3, 0.0, 0.0],
            *([-0.36, 1.03, 0.0], [-0.36, -0.51, 0.89], [-0.36, -0.51, -0.89]),
        ]
    )
    config = FragmentationConfig(min_atoms=2, max_atoms=8, min_bond_order=0.05)
    found = fragment(topology, positions, config=config)
    assert any({1, 2} <= set(atoms) for atoms in found.fragments)
    assert found.parents[2] == 1


def test_wrapped_atoms_give_the_same_fragments_and_can_be_made_whole() -> None:
    topology, positions = golden("three_bpa")
    cell = np.array([[16.0, 0.0, 0.0], [5.0, 14.0, 0.0], [-4.0, 3.0, 15.0]])
    shifts = np.random.default_rng(2).integers(-2, 3, size=positions.shape)
    wrapped = positions + shifts @ cell
    for preset in PRESETS:
        whole = fragment(topology, positions, preset=preset)
        found = fragment(topology, wrapped, preset=preset, cell=cell)
        assert found.fragments == whole.fragments
        assert found.parents == whole.parents
    parents = np.array(found.parents)
    steps = minimum_image(wrapped - wrapped[parents], make_box(cell, None))
    np.testing.assert_allclose(steps, positions - positions[parents], atol=1e-9)


@pytest.mark.parametrize("preset", PRESETS)
def test_thousands_of_molecules_take_seconds(preset: str) -> None:
    n_molecules = 3000
    topology = Topology(
        (8, 1, 1) * n_molecules,
        tuple((3 * k, 3 * k + h) for k in range(n_molecules) for h in (1, 2)),
        (1, 1) * n_molecules,
        (0, 0, 0) * n_molecules,
    )
    rng = np.random.default_rng(0)
    centres = np.array([(i, j, k) for i in range(15) for j in range(15) for k in range(14)])[
        :n_molecules
    ]
    molecule = np.array([[0.0, 0.0, 0.0], [0.76, 0.59, 0.0], [-0.76, 0.59, 0.0]])
    positions = (3.1 * centres[:, None] + molecule).reshape(-1, 3)
    positions += rng.normal(scale=0.05, size=positions.shape)
    start = time.perf_counter()
    found = fragment(topology, positions, preset=preset, cell=[46.5, 46.5, 43.4])
    assert time.perf_counter() - start < 10.0
    assert len(found.fragments) == n_molecules


def test_one_atom_is_one_fragment() -> None:
    topology = Topology((17,), (), (), (-1,))
    for preset in PRESETS:
        found = fragment(topology, [[0.0, 0.0, 0.0]], preset=preset)
        assert found == Fragmentation(topology, PRESETS[preset], ((0,),), ((0,),), (0,))
        assert found.members([[0.0, 0.0, 0.0]]) == ((0,),)


def test_the_description_lists_every_hyperedge() -> None:
    topology, positions = golden("glycine_zwitterion")
    lines = fragment(topology, positions).describe().splitlines()
    assert lines[0] == (
        "C2H5NO2, charge 0: 10 atoms, 1 molecule, 3 groups, 3 fragments "
        "(implicit overlap, Pauling bond orders)"
    )
    assert lines[1].split() == ["fragment", "formula", "charge", "size", "atoms"]
    assert [line.split()[:4] for line in lines[2:]] == [
        ["0", "H3N", "+1", "4"],
        ["1", "CH2", "0", "3"],
        ["2", "CO2", "-1", "3"],
    ]
    assert lines[2].split()[4:] == ["0", "5", "6", "7"]


def test_parents_must_be_a_tree():
    topology = Topology.from_smiles("O")
    config = FragmentationConfig()
    whole = ((0, 1, 2),)
    assert Fragmentation(topology, config, whole, whole, (0, 0, 0))
    for parents in ((1, 2, 0), (1, 0, 2), (0, 2, 1)):
        with pytest.raises(InputError, match="are no tree with one root"):
            Fragmentation(topology, config, whole, whole, parents)


def test_a_topology_is_needed():
    with pytest.raises(InputError, match=r"make one with Topology\.from_smiles"):
        fragment("CCO", [[0.0, 0.0, 0.0]])
