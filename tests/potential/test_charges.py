"""A potential knows the total charges of its training, and refuses others in every engine."""

import dataclasses

import pytest
from ase.build import molecule

import se3set_mlip as s3
from se3set_mlip.engines.openmm_force import create_force
from se3set_mlip.errors import InputError
from se3set_mlip.export.torchscript import bind
from se3set_mlip.potential.checkpoint import load_checkpoint, save_checkpoint
from se3set_mlip.potential.fragment_cache import stated_charge
from se3set_mlip.potential.potential import Potential


@pytest.fixture
def neutral(tiny_potential):
    """A potential that was trained on neutral molecules and cations."""
    metadata = dataclasses.replace(tiny_potential.metadata, charges=(0, 1))
    return Potential(tiny_potential.module, tiny_potential.config, metadata)


@pytest.fixture
def hydroxide():
    atoms = molecule("OH")
    atoms.info["charge"] = -1
    return atoms


def test_charges_that_were_trained_are_computed(neutral, tiny_potential):
    water = molecule("H2O")
    assert neutral.evaluate(water).energy == tiny_potential.evaluate(water).energy


def test_other_charges_are_refused(neutral, hydroxide, tiny_potential):
    with pytest.raises(InputError, match=r"charge -1, .* trained on charges 0, \+1 only"):
        neutral.evaluate(hydroxide)
    hydroxide.calc = s3.SE3SetCalculator(neutral)
    with pytest.raises(InputError, match="charge -1"):
        hydroxide.get_potential_energy()
    assert tiny_potential.metadata.charges == ()  # of a model that does not know, nothing is
    tiny_potential.evaluate(hydroxide)


def test_openmm_refuses_them_when_the_force_is_made(neutral, hydroxide):
    topology = s3.Topology.from_smiles("[OH-]")
    with pytest.raises(InputError, match="charge -1"):
        create_force(neutral, topology)
    with pytest.raises(InputError, match="charge -1"):
        bind(neutral, neutral.fragment(topology, hydroxide.positions))


def test_charges_travel_in_the_file(neutral, hydroxide, tmp_path):
    save_checkpoint(tmp_path / "model.safetensors", neutral)
    found = load_checkpoint(tmp_path / "model.safetensors")
    assert found.metadata.charges == (0, 1)
    with pytest.raises(InputError, match="charge -1"):
        found.evaluate(hydroxide)


def test_a_committee_knows_what_all_members_know(neutral, tiny_potential, hydroxide):
    metadata = dataclasses.replace(tiny_potential.metadata, charges=(-1, 0))
    other = Potential(tiny_potential.module, tiny_potential.config, metadata)
    committee = s3.Committee([neutral, other, tiny_potential])
    assert committee.metadata.charges == (0,)
    with pytest.raises(InputError, match="charge -1"):
        committee.evaluate(hydroxide)


@pytest.fixture
def closed(tiny_potential):
    """A potential that was trained on closed shells."""
    metadata = dataclasses.replace(tiny_potential.metadata, closed_shells=True)
    return Potential(tiny_potential.module, tiny_potential.config, metadata)


def test_an_odd_electron_is_refused(closed, hydroxide, tiny_potential, tmp_path):
    assert closed.evaluate(hydroxide).energy == tiny_potential.evaluate(hydroxide).energy
    methyl, topology = molecule("CH3"), s3.Topology.from_smiles("[CH3]")
    # A model that does not know refuses nothing.
    tiny_potential.evaluate(methyl, topology=topology)
    for potential in (closed, s3.Committee([tiny_potential, closed])):
        with pytest.raises(InputError, match=r"odd number of electrons at charge \+0, .* closed"):
            potential.evaluate(methyl, topology=topology)
    with pytest.raises(InputError, match="odd number of electrons"):
        create_force(closed, topology, positions=methyl.positions / 10)
    with pytest.raises(InputError, match="odd number of electrons"):
        bind(closed, closed.fragment(topology, methyl.positions))
    save_checkpoint(tmp_path / "model.safetensors", closed)
    assert load_checkpoint(tmp_path / "model.safetensors").metadata.closed_shells


def test_a_charge_is_stated_as_a_number_or_by_smiles(hydroxide):
    assert stated_charge(hydroxide) == -1
    del hydroxide.info["charge"]
    assert stated_charge(hydroxide) == 0
    hydroxide.info["mapped_smiles"] = "[O-:1][H:2]"
    assert stated_charge(hydroxide) == -1
