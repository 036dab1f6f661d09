"""Keys of fragments, and batches of systems that are found again by them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from se3set_mlip.engines.fragment_library import FragmentLibrary, Structure, fragmentation_key
from se3set_mlip.engines.geometry_guard import GeometryGuard
from se3set_mlip.errors import ConfigError, InputError
from se3set_mlip.fragments.fragmentation import PRESETS, Fragmentation
from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.topology.molecule import Topology

SAME = 1e-12
FLOAT64 = 1e-9
FLAGS = (True, True, True)
KEY_OF_WATER = 4315209722485259898


def structure_of(case, positions) -> Structure:
    return Structure(
        numbers=np.array(case.numbers),
        positions=positions,
        cell=np.zeros((3, 3)) if case.cell is None else case.cell,
        pbc=np.full(3, case.periodic),
    )


def test_a_key_is_the_same_in_every_process_and_on_every_machine():
    parts = ((0, 1, 2),)
    water = Fragmentation(
        Topology.from_smiles("O"), PRESETS["implicit_md22"], parts, parts, (0, 0, 0)
    )
    assert fragmentation_key(water, (False, True, False)) == KEY_OF_WATER


def test_a_key_names_all_that_fragments_are_made_of(molecule):
    fragmentation = molecule.fragmentation
    key = fragmentation_key(fragmentation, FLAGS)
    topology = fragmentation.topology
    assert fragmentation_key(fragmentation, (True, True, False)) != key
    everything = (tuple(range(topology.n_atoms)),)
    charges = (1, *topology.formal_charges[1:])
    apart = (1, *topology.formal_charges[1:-1], -1)
    for changed in (
        replace(fragmentation, topology=replace(topology, formal_charges=apart)),
        replace(fragmentation, groups=everything),
        replace(fragmentation, topology=replace(topology, formal_charges=charges)),
        replace(
            fragmentation,
            topology=replace(topology, bonds=topology.bonds[1:], orders=topology.orders[1:]),
        ),
    ):
        assert fragmentation_key(changed, FLAGS) != key


def test_a_batch_of_keys_is_the_batch_of_systems(case):
    library = FragmentLibrary(case.potential)
    topology = case.fragmentation.topology
    geometries = case.geometries(3)
    keys = [library.add(structure_of(case, p), topology=topology) for p in geometries]
    assert len(set(keys)) == 1
    batch = library.batch(keys)
    flags = case.periodic or None
    systems = [
        case.potential.system(
            case.numbers, p, library.fragmentation(keys[0]), cell=case.cell, pbc=flags and FLAGS
        )
        for p in geometries
    ]
    expected = batch_systems(systems)
    found = batch.at(torch.tensor(np.concatenate(geometries)), expected.cell)
    for name in ("numbers", "fragment", "group", "parent", "structure", "pbc"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    assert (found.positions - expected.positions).abs().max() < SAME
    assert batch.fits(batch.atom_keys, found.numbers, found.structure, found.pbc[0])
    assert not batch.fits(batch.atom_keys, found.numbers.flip(0), found.structure, found.pbc[0])
    assert not batch.fits(batch.atom_keys[1:], found.numbers, found.structure, found.pbc[0])


def test_lengths_are_those_of_whole_molecules(case):
    library = FragmentLibrary(case.potential)
    key = library.add(structure_of(case, case.positions), topology=case.fragmentation.topology)
    batch = library.batch([key, key])
    wrapped = torch.tensor(np.concatenate(case.geometries(2)))
    cell = batch.template.cell
    lengths = batch.lengths(batch.at(wrapped, cell))
    bonds = np.array(case.fragmentation.topology.bonds)
    for index, positions in enumerate(case.geometries(2)):
        vectors = positions[bonds[:, 1]] - positions[bonds[:, 0]]
        if case.periodic:
            vectors -= np.rint(vectors @ np.linalg.inv(case.cell)) @ case.cell
        rows = batch.pairs[:, 0] // len(case.numbers) == index
        found = lengths[rows][: len(bonds)].numpy()
        assert np.abs(found - np.linalg.norm(vectors, axis=1)).max() < FLOAT64
    assert not (lengths > batch.limits).any()


def test_float32_positions_far_away_are_brought_near(molecule_float32):
    case = molecule_float32
    library = FragmentLibrary(case.potential)
    key = library.add(structure_of(case, case.positions))
    batch = library.batch([key])
    far = torch.tensor(case.positions + 1000.0, dtype=torch.float32)
    near = batch.at(far, batch.template.cell).positions
    assert near.abs().max() < 10.0
    exact = torch.tensor(case.positions - case.positions.mean(axis=0))
    assert (near.double() - exact).abs().max() < 2e-4  # the steps of float32 at 1000 Å are 6e-5


def test_a_guard_that_reperceives_is_refused():
    with pytest.raises(ConfigError, match="'keep' or 'error'"):
        GeometryGuard("reperceive")


def test_structures_that_are_none_are_refused(molecule):
    library = FragmentLibrary(molecule.potential)
    structure = structure_of(molecule, molecule.positions)
    with pytest.raises(InputError, match="charge"):
        library.add(replace(structure, charge=0.5))
    key = library.add(structure)
    assert library.find(structure, key) == key
    with pytest.raises(InputError, match="it has charge 1"):
        library.find(replace(structure, charge=1.0), key)
