"""Structures in, energies and forces out; and what cannot be right is named before any work."""

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import graphene, molecule
from ase.io import read

import se3set_mlip as s3
from se3set_mlip.errors import ConfigError, InputError, TopologyError
from se3set_mlip.hypergraph.build import HypergraphConfig
from se3set_mlip.model.config import ModelConfig
from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.potential.fragment_cache import FragmentCache, total_charge
from se3set_mlip.potential.potential import Potential
from se3set_mlip.potential.reference_energies import fit_reference_energies

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def ethanol():
    return molecule("CH3CH2OH")


def test_one_and_many(tiny_potential, ethanol):
    generator = np.random.default_rng(0)
    frames = []
    for _ in range(5):
        frame = ethanol.copy()
        frame.positions += generator.normal(scale=0.05, size=frame.positions.shape)
        frames.append(frame)
    frames.append(molecule("H2O"))
    many = tiny_potential.evaluate(frames, batch_size=4)
    assert len(many) == 6
    for frame, result in zip(frames, many, strict=True):
        one = tiny_potential.evaluate(frame)
        assert result.energy == pytest.approx(one.energy, rel=1e-14)
        assert np.allclose(result.forces, one.forces, atol=1e-12)
        assert result.forces.shape == (len(frame), 3)
        assert result.energies.sum() == pytest.approx(result.energy, rel=1e-14)


def test_forces_and_stress_only_when_asked_for(tiny_potential, ethanol):
    result = tiny_potential.evaluate(ethanol, forces=False)
    assert result.forces is None
    assert result.stress is None
    ethanol.set_cell([8.0, 8.0, 8.0])
    ethanol.pbc = True
    assert tiny_potential.evaluate(ethanol, stress=True).stress.shape == (3, 3)
    assert tiny_potential.evaluate([ethanol], forces=False, stress=True)[0].forces is None


def test_inside_no_grad_and_in_training_mode(tiny_potential, ethanol):
    expected = tiny_potential.evaluate(ethanol)
    with torch.no_grad():
        assert np.array_equal(tiny_potential.evaluate(ethanol).forces, expected.forces)
    tiny_potential.module.train()
    assert np.array_equal(tiny_potential.evaluate(ethanol).forces, expected.forces)
    assert tiny_potential.module.training
    tiny_potential.module.eval()


def test_a_lone_atom_has_an_energy_and_no_force(tiny_potential):
    topology = s3.Topology(numbers=(8,), bonds=(), orders=(), formal_charges=(-2,))
    result = tiny_potential.evaluate(Atoms("O", [[1.0, 2.0, 3.0]]), topology=topology)
    assert np.isfinite(result.energy)
    assert np.array_equal(result.forces, np.zeros((1, 3)))


def test_unknown_element(tiny_potential):
    with pytest.raises(InputError, match=r"atomic number 7 \(N\), the potential knows H, C, O"):
        tiny_potential.evaluate(molecule("NH3"))


def test_positions_that_are_not_finite(tiny_potential, ethanol):
    fragments = tiny_potential.fragment(
        s3.Topology.from_coordinates(ethanol.numbers, ethanol.positions), ethanol.positions
    )
    broken = ethanol.positions.copy()
    broken[3, 1] = np.nan
    with pytest.raises(InputError, match=r"position of atom 3 is .* not finite"):
        tiny_potential.system(ethanol.numbers, broken, fragments)
    close = ethanol.positions.copy()
    close[4] = close[3] + 0.01
    with pytest.raises(InputError, match=r"atoms 3 and 4 are less than 0.1 Å apart"):
        tiny_potential.system(ethanol.numbers, close, fragments)
    with pytest.raises(InputError, match=r"positions have shape \(8, 3\), expected \(9, 3\)"):
        tiny_potential.system(ethanol.numbers, broken[:8], fragments)
    with pytest.raises(InputError, match="the fragments are of 9 other atoms"):
        tiny_potential.system([8, 1, 1], broken[:3] * 0 + np.eye(3), fragments)
    with pytest.raises(InputError, match="give one atomic number per atom"):
        tiny_potential.system([], np.zeros((0, 3)), fragments)
    with pytest.raises(InputError, match="does not fit into half of the cell"):
        tiny_potential.system(
            ethanol.numbers, ethanol.positions, fragments, cell=np.diag([2.5, 9.0, 9.0])
        )


def test_stress_of_an_open_system(tiny_potential, ethanol):
    with pytest.raises(InputError, match="stress needs a cell that is periodic"):
        tiny_potential.evaluate(ethanol, stress=True)


def test_batch_size_and_dtype(tiny_potential, ethanol):
    with pytest.raises(InputError, match="batch_size = 0"):
        tiny_potential.evaluate([ethanol], batch_size=0)
    with pytest.raises(InputError, match="dtype 'float16' is none of"):
        tiny_potential.to(dtype="float16")


def test_topology_of_other_atoms(tiny_potential, ethanol):
    with pytest.raises(InputError, match="give one in the order of the atoms"):
        tiny_potential.evaluate(ethanol, topology=s3.Topology.from_smiles("O"))


def test_charge_is_honoured(tiny_potential):
    hydroxide = Atoms("OH", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.97]])
    with pytest.raises(TopologyError, match="charge"):
        tiny_potential.evaluate(hydroxide)
    hydroxide.info["charge"] = -1
    assert np.isfinite(tiny_potential.evaluate(hydroxide).energy)
    hydroxide.info["charge"] = 0.5
    with pytest.raises(InputError, match="not a whole number"):
        tiny_potential.evaluate(hydroxide)
    charged = Atoms("OH", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.97]], charges=[-1.0, 0.0])
    assert total_charge(charged) == -1


def test_structures_of_the_same_bonds_share_their_fragments(tiny_potential, ethanol):
    cache = FragmentCache(tiny_potential.config.fragmentation)
    found = cache.find(ethanol)
    warm = ethanol.copy()
    warm.positions[8] += (warm.positions[8] - warm.positions[2]) * 0.3  # O-H 30 % longer
    assert cache.find(warm) is found
    ether = molecule("CH3OCH3")  # the same formula, another molecule
    assert sorted(ether.numbers) == sorted(ethanol.numbers)
    order = np.argsort(-ether.numbers, kind="stable")
    assert cache.find(ether[order]) is not found


def test_reference_energies_by_least_squares():
    expected = {1: -13.5, 6: -1027.0, 8: -2038.0}
    compositions = [[8, 1, 1], [6, 1, 1, 1, 1], [6, 8], [6, 6, 8, 1, 1, 1, 1, 1, 1]]
    energies = [sum(expected[z] for z in c) for c in compositions]
    fitted = fit_reference_energies(compositions, energies)
    assert fitted == pytest.approx(expected, rel=1e-10)


def test_reference_energies_of_one_molecule_are_the_mean():
    fitted = fit_reference_energies([[8, 1, 1]] * 3, [-30.0, -31.0, -29.0])
    assert fitted[8] + 2 * fitted[1] == pytest.approx(-30.0)
    assert fitted[8] == pytest.approx(-10.0)


def test_reference_energies_need_finite_energies():
    with pytest.raises(InputError, match="one energy per structure"):
        fit_reference_energies([[1]], [1.0, 2.0])
    with pytest.raises(InputError, match="energy 1 is not finite"):
        fit_reference_energies([[1], [1]], [1.0, np.nan])


def test_a_smooth_potential_refuses_the_cosine_envelope():
    model = ModelConfig(elements=(1, 8), radial_envelope="cosine")
    with pytest.raises(ConfigError, match="jump in its second derivative"):
        PotentialConfig(model)
    assert PotentialConfig(model, hypergraph=HypergraphConfig(membership="hard"))


def test_fragments_do_not_depend_on_the_order_of_structures(tiny_potential):
    """The proton of acetylacetone sits on either oxygen: each frame by its own bonds."""
    frames = read(DATA / "acac" / "train_300K_first_40.xyz", ":")
    forward = FragmentCache(tiny_potential.config.fragmentation)
    backward = FragmentCache(tiny_potential.config.fragmentation)
    found = [forward.find(frame).topology.bonds for frame in frames]
    again = [backward.find(frame).topology.bonds for frame in reversed(frames)]
    assert found == again[::-1]
    assert len(set(found)) == 2


def test_a_distorted_structure_takes_the_fragments_of_one_before(tiny_potential, ethanol):
    cache = FragmentCache(tiny_potential.config.fragmentation)
    distorted = ethanol.copy()
    # the hydroxyl hydrogen (3) between bonded and free
    distorted.positions[3] += (distorted.positions[3] - distorted.positions[2]) * 0.55
    with pytest.raises(TopologyError):
        cache.find(distorted)
    found = cache.find(ethanol)
    assert cache.find(distorted) is found


def test_single_precision_far_from_the_origin(tiny_potential, ethanol):
    single = tiny_potential.to(dtype="float32")
    expected = single.evaluate(ethanol)
    ethanol.positions += 5e4
    assert np.abs(single.evaluate(ethanol).forces - expected.forces).max() < 1e-4
    ethanol.set_cell([9.0, 9.0, 9.0])
    ethanol.pbc = True
    near = single.evaluate(ethanol, stress=True)
    ethanol.positions[::2] += np.array([9e5, -9e5, 9e5])
    far = single.evaluate(ethanol, stress=True)
    assert np.abs(far.forces - near.forces).max() < 1e-4
    assert np.abs(far.stress - near.stress).max() < 1e-6


def test_copies_have_weights_of_their_own(tiny_potential, ethanol):
    other = copy.deepcopy(tiny_potential)
    before = tiny_potential.evaluate(ethanol).energy
    assert other.evaluate(ethanol).energy == before
    with torch.no_grad():
        next(other.module.parameters()).add_(1.0)
    assert tiny_potential.evaluate(ethanol).energy == before


@pytest.mark.parametrize("value", [5, None, "water.xyz", [1, 2]])
def test_what_are_no_structures(tiny_potential, value):
    with pytest.raises(InputError, match="give an ASE Atoms or a list of them"):
        tiny_potential.evaluate(value)


@pytest.mark.parametrize("charge", [float("nan"), float("inf"), "neutral", [0, 1]])
def test_what_are_no_charges(charge):
    water = molecule("H2O")
    water.info["charge"] = charge
    with pytest.raises(InputError, match="not a whole number"):
        total_charge(water)


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there(tiny_potential, device):
    with pytest.raises(InputError, match="cannot be used"):
        tiny_potential.to(device=device)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"numbers": ["O", "H", "H"]}, "one atomic number per atom"),
        ({"numbers": [8.0, 1.0, 1.0]}, "one atomic number per atom"),
        ({"positions": "here"}, "not an array of numbers"),
        ({"pbc": [True, True]}, "expected one bool or three"),
        ({"pbc": True, "cell": None}, "without a cell"),
        # the cell of a slab often has no third vector
        ({"pbc": [True, True, False], "cell": np.diag([1.7, 9.0, 0.0])}, "half of the cell"),
    ],
)
def test_bad_arrays_and_cells(tiny_potential, change, message):
    water = molecule("H2O")
    fragments = tiny_potential.fragment(s3.Topology.from_smiles("O"), water.positions)
    arguments = {"numbers": water.numbers, "positions": water.positions, "cell": np.eye(3) * 9.0}
    with pytest.raises(InputError, match=message):
        tiny_potential.system(fragmentation=fragments, **{**arguments, **change})


def test_a_cell_of_three_lengths_and_a_slab(tiny_potential):
    water = molecule("H2O")
    fragments = tiny_potential.fragment(s3.Topology.from_smiles("O"), water.positions)
    system = tiny_potential.system(water.numbers, water.positions, fragments, cell=[7.0, 8.0, 9.0])
    assert torch.equal(system.cell[0], torch.diag(torch.tensor([7.0, 8.0, 9.0])).double())
    slab = tiny_potential.system(
        water.numbers,
        water.positions,
        fragments,
        cell=np.diag([30.0, 30.0, 0.0]),
        pbc=[True, True, False],
    )
    alone = tiny_potential.evaluate(water).energy
    assert float(tiny_potential.compute(slab).energy) == pytest.approx(alone, rel=1e-14)


def test_a_fragment_without_end(tiny_potential):
    sheet = graphene(size=(3, 3, 1), vacuum=8.0)
    sheet.pbc = [True, True, False]
    with pytest.raises(InputError, match="bonded to its own periodic image"):
        tiny_potential.evaluate(sheet)
    benzene = molecule("C6H6")  # a ring that ends where it began, across the boundary
    expected = tiny_potential.evaluate(benzene).energy
    benzene.set_cell([20.0, 20.0, 20.0])
    benzene.pbc = True
    benzene.wrap()
    assert tiny_potential.evaluate(benzene).energy == pytest.approx(expected, rel=1e-13)


def test_parts_of_a_fragment_that_drift_apart_in_a_cell(tiny_potential):
    """No bond holds the parts together; their nearest image changes at half the cell."""
    dimer = s3.Topology.from_smiles("O.O")
    settings = s3.FragmentationConfig(min_atoms=4, max_atoms=8, min_bond_order=0.01)
    water = molecule("H2O").positions
    waters = np.concatenate([water, water + np.array([0.0, 0.0, 3.0])])
    numbers = (8, 8, 1, 1, 1, 1)
    assert dimer.numbers == numbers
    waters = waters[[0, 3, 1, 2, 4, 5]]
    fragments = s3.fragment(dimer, waters, config=settings)
    assert len(fragments.fragments) == 1
    config = dataclasses.replace(tiny_potential.config, fragmentation=settings)
    potential = Potential(tiny_potential.module, config)
    near = potential.system(numbers, waters, fragments, cell=np.eye(3) * 12.0)
    assert len(near.numbers) == 6
    waters[[1, 4, 5], 2] += 3.6
    with pytest.raises(InputError, match="gap between parts of a fragment"):
        potential.system(numbers, waters, fragments, cell=np.eye(3) * 12.0)


def test_fragments_of_other_settings(tiny_potential):
    water = molecule("H2O")
    fragments = s3.fragment(s3.Topology.from_smiles("O"), water.positions, preset="explicit_qm9")
    with pytest.raises(InputError, match=r"make them with potential\.fragment"):
        tiny_potential.system(water.numbers, water.positions, fragments)


def test_topology_of_another_type(tiny_potential):
    with pytest.raises(InputError, match=r"make one with Topology\.from_smiles"):
        tiny_potential.evaluate(molecule("H2O"), topology="O")
