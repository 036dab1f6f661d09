"""From coordinates alone: right, or an error; never a guess."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from se3set_mlip.errors import InputError, TopologyError
from se3set_mlip.topology.molecule import Topology

MOLECULES = json.loads((Path(__file__).parents[1] / "data" / "fragments.json").read_text())
# Their components were laid out on top of one another: there is no such structure.
OVERLAPPING = ("water_dimer", "ethanol_water", "benzene_methane")
PHYSICAL = [name for name in MOLECULES if name not in OVERLAPPING]

WATER_NUMBERS = [8, 1, 1]
WATER_POSITIONS = np.array([[0.0, 0.0, 0.0], [0.76, 0.59, 0.0], [-0.76, 0.59, 0.0]])


def order_sums(topology: Topology) -> list[int]:
    """Return the sum of bond orders at each atom: the same for all Kekulé forms of a ring."""
    sums = [0] * topology.n_atoms
    for (i, j), order in zip(topology.bonds, topology.orders, strict=True):
        sums[i] += order
        sums[j] += order
    return sums


def water_box(n_side: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a periodic box of water in random orientations, atoms wrapped one by one."""
    rng = np.random.default_rng(seed)
    spacing = 3.1
    grid = np.stack(np.meshgrid(*[np.arange(n_side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    frames = np.linalg.qr(rng.normal(size=(len(grid), 3, 3)))[0]
    positions = (WATER_POSITIONS @ frames + spacing * grid[:, None]).reshape(-1, 3)
    cell = spacing * n_side * np.eye(3)
    shifts = rng.integers(-1, 2, size=positions.shape) @ cell
    return np.tile(WATER_NUMBERS, len(grid)), positions + shifts, cell


@pytest.mark.parametrize("name", PHYSICAL)
def test_the_golden_molecules_are_perceived(name: str) -> None:
    entry = MOLECULES[name]
    known = Topology.from_rdkit(Chem.MolFromMolBlock(entry["molblock"], removeHs=False))
    found = Topology.from_coordinates(
        entry["numbers"], entry["positions_angstrom"], entry["charge"]
    )
    assert found.numbers == known.numbers
    assert found.bonds == known.bonds
    assert found.charge == known.charge
    if name == "nitrobenzene":  # either oxygen may carry the charge
        assert sorted(found.formal_charges) == sorted(known.formal_charges)
    else:
        assert found.formal_charges == known.formal_charges
        assert order_sums(found) == order_sums(known)


@pytest.mark.parametrize("name", OVERLAPPING)
def test_molecules_on_top_of_one_another_raise(name: str) -> None:
    entry = MOLECULES[name]
    with pytest.raises((InputError, TopologyError), match=r"coincide|neighbours within bonding"):
        Topology.from_coordinates(entry["numbers"], entry["positions_angstrom"], 0)


@pytest.mark.parametrize("name", ["nitrobenzene", "glycine_zwitterion", "caffeine", "sulfonamide"])
def test_the_order_of_the_atoms_does_not_matter(name: str) -> None:
    entry = MOLECULES[name]
    numbers, positions = np.array(entry["numbers"]), np.array(entry["positions_angstrom"])
    order = np.random.default_rng(3).permutation(len(numbers))
    found = Topology.from_coordinates(numbers, positions, entry["charge"])
    permuted = Topology.from_coordinates(numbers[order], positions[order], entry["charge"])
    assert permuted == found.permuted(order.tolist())


def test_all_geometries_of_a_molecule_get_one_kekule_form() -> None:
    entry = MOLECULES["salicylic_acid"]
    positions = np.array(entry["positions_angstrom"])
    rng = np.random.default_rng(5)
    forms = {
        Topology.from_coordinates(
            entry["numbers"], positions + rng.normal(scale=0.03, size=positions.shape)
        )
        for _ in range(10)
    }
    assert len(forms) == 1


def test_a_wrong_charge_raises_and_the_right_one_is_suggested() -> None:
    entry = MOLECULES["aspirin"]
    with pytest.raises(TopologyError, match=r"total charge of \+1; the geometry suggests 0: give"):
        Topology.from_coordinates(entry["numbers"], entry["positions_angstrom"], 1)
    anion = Topology.from_smiles("CC(=O)[O-]")
    assert anion.charge == -1
    numbers = [6, 6, 8, 8, 1, 1, 1]
    positions = [
        *([-1.53, 0.0, 0.0], [0.0, 0.0, 0.0], [0.63, 1.09, 0.0], [0.63, -1.09, 0.0]),
        *([-1.9, 1.02, 0.0], [-1.9, -0.51, 0.88], [-1.9, -0.51, -0.88]),
    ]
    assert Topology.from_coordinates(numbers, positions, -1).charge == -1
    with pytest.raises(TopologyError, match=r"total charge of 0; the geometry suggests -1"):
        Topology.from_coordinates(numbers, positions)


def test_a_charge_is_shared_out_among_molecules_and_ions() -> None:
    numbers = [*WATER_NUMBERS, 17, 3, 7, 1, 1, 1, 1]
    tetrahedron = 0.59 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    positions = np.concatenate(
        [
            WATER_POSITIONS,
            [[3.2, 0.0, 0.0], [0.0, -1.9, 0.0], [0.0, 0.0, 6.0]],
            tetrahedron + np.array([0.0, 0.0, 6.0]),
        ]
    )
    topology = Topology.from_coordinates(numbers, positions, 1)
    assert len(topology.components) == 4
    assert topology.formal_charges[3:6] == (-1, 1, 1)


def test_a_carbocation_needs_its_charge() -> None:
    angles = np.arange(3) * 2.0 * np.pi / 3.0
    ring = np.stack([np.cos(angles), np.sin(angles), np.zeros(3)], axis=1)
    numbers, positions = [6, 1, 1, 1], np.concatenate([np.zeros((1, 3)), 1.09 * ring])
    assert Topology.from_coordinates(numbers, positions, 1).formal_charges[0] == 1
    assert Topology.from_coordinates(numbers, positions, -1).formal_charges[0] == -1
    with pytest.raises(TopologyError, match="total charge of 0"):
        Topology.from_coordinates(numbers, positions, 0)


def test_a_proton_between_two_oxygens_belongs_to_the_nearer() -> None:
    far = np.array([2.45, 0.0, 0.0])
    oxygens = np.array([[0.0, 0.0, 0.0], far])
    caps = np.array([[-0.3, 0.92, 0.0], far + np.array([0.3, 0.92, 0.0])])
    for along, owner in ((1.20, 0), (1.25, 1)):
        positions = np.concatenate([oxygens, caps, [[along, 0.0, 0.0]]])
        topology = Topology.from_coordinates([8, 8, 1, 1, 1], positions, -1)
        assert (owner, 4) in topology.bonds
        assert topology.formal_charges[1 - owner] == -1


def test_a_cage_has_no_bond_across() -> None:
    """Bicyclo[1.1.1]pentane: the bridgeheads are 1.87 Å apart and not bonded."""
    top, middle = 0.935, 1.243
    angles = np.arange(3) * 2.0 * np.pi / 3.0
    ring = np.stack([np.cos(angles), np.sin(angles), np.zeros(3)], axis=1)
    up = np.array([0.0, 0.0, 1.0])
    positions = np.concatenate(
        [
            [top * up, -top * up, (top + 1.09) * up, -(top + 1.09) * up],
            middle * ring,
            (middle + 0.62) * ring + 0.9 * up,
            (middle + 0.62) * ring - 0.9 * up,
        ]
    )
    topology = Topology.from_coordinates([6, 6, 1, 1, *[6] * 3, *[1] * 6], positions)
    assert (0, 1) not in topology.bonds
    assert len(topology.bonds) == 14


def test_bonds_neither_formed_nor_broken_raise() -> None:
    numbers = [6, 6, *[1] * 6]
    pyramid = np.array([[0.36, 1.03, 0.0], [0.36, -0.51, 0.89], [0.36, -0.51, -0.89]])
    for distance, message in ((2.0, "neither bonded nor in separate"), (3.5, "would be an ion")):
        axis = np.array([distance, 0.0, 0.0])
        positions = np.concatenate([[[0, 0, 0], axis], -pyramid, pyramid + axis])
        with pytest.raises(TopologyError, match=message):
            Topology.from_coordinates(numbers, positions)


def test_a_lone_hydrogen_raises() -> None:
    with pytest.raises(TopologyError, match=r"atom 0 \(H\) has 0 neighbour.*none"):
        Topology.from_coordinates([1, 1], [[0, 0, 0], [2.0, 0, 0]])


def test_too_many_neighbours_raise() -> None:
    directions = np.concatenate([np.eye(3), -np.eye(3)])
    with pytest.raises(TopologyError, match=r"atom 0 \(C\) has 6 neighbours .* at most 4"):
        Topology.from_coordinates([6, *[9] * 6], np.concatenate([[[0, 0, 0]], 1.35 * directions]))


def test_one_atom_and_no_bonds() -> None:
    topology = Topology.from_coordinates([17], [[0.0, 0.0, 0.0]], -1)
    assert topology == Topology((17,), (), (), (-1,))


def test_a_periodic_box_of_wrapped_molecules_takes_seconds() -> None:
    numbers, positions, cell = water_box(11)
    start = time.perf_counter()
    topology = Topology.from_coordinates(numbers, positions, cell=cell)
    assert time.perf_counter() - start < 5.0
    whole = tuple((3 * k, 3 * k + 1, 3 * k + 2) for k in range(11**3))
    assert topology.components == whole
    assert topology.bonds_hold(positions, cell=cell)


def test_a_molecule_bonded_to_its_own_image_raises() -> None:
    with pytest.raises(TopologyError, match=r"more than one periodic image.*larger cell"):
        Topology.from_coordinates([6], [[0, 0, 0]], cell=1.5 * np.eye(3))
    with pytest.raises(TopologyError, match="atoms 0 and 1 are bonded through more than one"):
        Topology.from_coordinates([6, 6], [[0, 0, 0], [1.3, 0, 0]], cell=[2.6, 9.0, 9.0])


def test_the_time_limit_holds() -> None:
    entry = MOLECULES["naphthalene"]
    with pytest.raises(TopologyError, match=r"in time for .* unknowns; raise time_limit_seconds"):
        Topology.from_coordinates(
            entry["numbers"], entry["positions_angstrom"], time_limit_seconds=1e-9
        )


def test_a_plain_script_may_call_it() -> None:
    script = (
        "from se3set_mlip.topology.molecule import Topology\n"
        "print(Topology.from_coordinates([8, 1, 1], [[0, 0, 0], [.76, .59, 0], [-.76, .59, 0]]))"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert "bonds=((0, 1), (0, 2))" in run.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"numbers": [8, 1, 11]}, "unknown element: Na"),
        ({"numbers": [8, 1, 1.0]}, "numbers have type float64; expected integers"),
        ({"numbers": [[8, 1, 1]]}, r"numbers have shape \(1, 3\)"),
        ({"numbers": []}, r"numbers have shape \(0,\)"),
        ({"positions": np.zeros((2, 3))}, r"shape \(2, 3\); expected \(3, 3\)"),
        ({"positions": WATER_POSITIONS + np.array([[0], [np.inf], [0]])}, "position of atom 1 is"),
        ({"positions": WATER_POSITIONS * 0.1}, r"atoms 0 and 1 coincide: they are 0\.096 Å apart"),
        ({"positions": np.zeros((3, 3))}, r"coincide: they are 0\.000 Å apart \(3 such pairs\)"),
        ({"charge": 0.5}, "charge = 0.5 is no whole number"),
        ({"time_limit_seconds": 0.0}, "time_limit_seconds = 0.0; expected above 0"),
        ({"pbc": True}, "pbc = True without a cell"),
    ],
)
def test_bad_input_raises(change: dict[str, object], message: str) -> None:
    arguments = {"numbers": WATER_NUMBERS, "positions": WATER_POSITIONS, **change}
    with pytest.raises(InputError, match=message):
        Topology.from_coordinates(**arguments)  # type: ignore[arg-type]
