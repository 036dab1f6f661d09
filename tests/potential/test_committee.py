"""A committee: its mean is a potential, its spread is the sample standard deviation."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch
from ase.build import molecule as build_molecule

from se3set_mlip.errors import ConfigError
from se3set_mlip.fragments.fragmentation import PRESETS
from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.potential.candidate_cache import CandidateCache
from se3set_mlip.potential.committee import Committee
from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.potential.potential import Potential
from se3set_mlip.potential.potential_module import PotentialModule
from se3set_mlip.potential.spread import mean_output, spread_of
from se3set_mlip.topology.molecule import Topology
from se3set_mlip.units import KJ_PER_MOL_PER_EV

REFERENCE = {1: -0.5, 6: -1.25, 8: -2.0}
SCALE = 0.3
EXACT = 1e-12


def member(potential: Potential, *, seed: int | None = None, factor: float = 1.0) -> Potential:
    """The potential, or one with other weights; its energies times a factor."""
    with torch.random.fork_rng():
        torch.manual_seed(seed or 0)
        module = PotentialModule(potential.config, dtype=torch.float64)
    if seed is None:
        module.load_state_dict(potential.module.state_dict())
    reference = {number: factor * energy for number, energy in REFERENCE.items()}
    module.set_energies(reference=reference, scale=factor * SCALE)
    return Potential(module.eval(), potential.config, potential.metadata)


@pytest.fixture(scope="module")
def unlike(tiny_potential) -> Committee:
    """Three potentials with weights that have nothing to do with each other."""
    return Committee([member(tiny_potential, seed=seed) for seed in (1, 2, 3)])


@pytest.fixture
def ethanol():
    atoms = build_molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=2)
    return atoms


def system_of(potential, atoms):
    fragmentation = potential.fragment(
        Topology.from_coordinates(atoms.numbers, atoms.positions), atoms.positions
    )
    return potential.system(atoms.numbers, atoms.positions, fragmentation)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_members", [2, 3])
def test_equal_members_have_no_spread(tiny_potential, ethanol, n_members, dtype):
    one = member(tiny_potential).to(dtype=dtype)
    found = Committee([copy.deepcopy(one) for _ in range(n_members)]).evaluate(ethanol)
    alone = one.evaluate(ethanol)
    assert found.energy == alone.energy
    assert np.array_equal(found.forces, alone.forces)
    assert found.energy_std == 0.0
    assert np.array_equal(found.forces_std, np.zeros((len(ethanol), 3)))


@pytest.mark.parametrize("factor", [2.0, KJ_PER_MOL_PER_EV])
def test_two_members_that_differ_by_d_have_a_spread_of_d_over_root_two(
    tiny_potential, ethanol, factor
):
    one, other = member(tiny_potential), member(tiny_potential, factor=factor)
    alone = one.evaluate(ethanol)
    found = Committee([one, other]).evaluate(ethanol)
    assert found.energy == pytest.approx(alone.energy * (1.0 + factor) / 2.0, rel=EXACT)
    np.testing.assert_allclose(found.forces, alone.forces * (1.0 + factor) / 2.0, rtol=EXACT)
    expected = (factor - 1.0) / np.sqrt(2.0)
    assert found.energy_std == pytest.approx(expected * abs(alone.energy), rel=EXACT)
    np.testing.assert_allclose(found.forces_std, expected * abs(alone.forces), rtol=1e-10)
    norms = expected * np.linalg.norm(alone.forces, axis=1)
    np.testing.assert_allclose(found.forces_std_norm, norms, rtol=1e-10)


def test_the_spread_scales_with_the_unit(tiny_potential, ethanol):
    """All in another unit: mean and spread are multiplied by its factor, once."""
    factor = KJ_PER_MOL_PER_EV
    ev, kj = (
        Committee([member(tiny_potential, seed=seed, factor=unit) for seed in (1, 2)])
        for unit in (1.0, factor)
    )
    found, expected = kj.evaluate(ethanol), ev.evaluate(ethanol)
    assert expected.energy_std > 1e-3
    assert found.energy_std == pytest.approx(factor * expected.energy_std, rel=EXACT)
    np.testing.assert_allclose(found.forces_std, factor * expected.forces_std, rtol=1e-9)


def test_the_standard_deviation_is_that_of_a_sample(tiny_potential, ethanol):
    """1, 2 and 3 have a sample standard deviation of 1, and one of the population of 0.816."""
    alone = member(tiny_potential).evaluate(ethanol)
    found = Committee([member(tiny_potential, factor=f) for f in (1.0, 2.0, 3.0)]).evaluate(ethanol)
    assert found.energy == pytest.approx(2.0 * alone.energy, rel=EXACT)
    assert found.energy_std == pytest.approx(abs(alone.energy), rel=EXACT)
    np.testing.assert_allclose(found.forces_std, abs(alone.forces), rtol=1e-10)


def test_mean_and_spread_are_those_of_the_members(unlike, ethanol):
    alone = [each.evaluate(ethanol) for each in unlike.members]
    found = unlike.evaluate(ethanol)
    for name in ("energy", "energies", "forces"):
        values = np.array([getattr(one, name) for one in alone])
        np.testing.assert_allclose(getattr(found, name), values.mean(axis=0), atol=EXACT)
    forces = np.array([one.forces for one in alone])
    np.testing.assert_allclose(found.forces_std, forces.std(axis=0, ddof=1), atol=EXACT)
    energies = np.array([one.energy for one in alone])
    assert found.energy_std == pytest.approx(energies.std(ddof=1), abs=EXACT)
    assert found.forces_std.min() > 1e-5, "members that agree would hide an error"


def test_forces_are_the_slope_of_the_mean_energy(unlike, ethanol):
    forces, step = unlike.evaluate(ethanol).forces, 1e-4
    for atom, axis in ((0, 0), (2, 1), (7, 2)):
        energies = []
        for sign in (1.0, -1.0):
            moved = ethanol.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(unlike.evaluate(moved, forces=False).energy)
        slope = (energies[0] - energies[1]) / (2.0 * step)
        assert forces[atom, axis] == pytest.approx(-slope, abs=1e-7)


def test_the_norm_of_the_spread_does_not_depend_on_the_axes(unlike, ethanol):
    turned = ethanol.copy()
    turned.rotate(70.0, (1.0, 2.0, -0.5))
    one, other = unlike.evaluate([ethanol, turned])
    np.testing.assert_allclose(one.forces_std_norm, other.forces_std_norm, rtol=1e-8)
    assert np.abs(one.forces_std - other.forces_std).max() > 0.01 * one.forces_std.max()


def test_a_spread_survives_energies_that_are_far_larger(tiny_potential, ethanol):
    members = [member(tiny_potential, seed=seed) for seed in (1, 2)]
    expected = Committee(members).evaluate(ethanol, forces=False).energy_std
    for each in members:
        each.module.set_energies(reference={1: -1e6, 6: -1e6, 8: -1e6})
    found = Committee(members).evaluate(ethanol, forces=False).energy_std
    assert found == pytest.approx(expected, abs=1e-8)


def test_a_batch_is_its_structures(unlike, ethanol):
    water = build_molecule("H2O")
    systems = [system_of(unlike, atoms) for atoms in (ethanol, water)]
    together = unlike.compute_members(batch_systems(systems))
    spread = spread_of(together)
    assert spread.energy_std.shape == (2,)
    for number, rows in enumerate((slice(0, 9), slice(9, 12))):
        alone = spread_of(unlike.compute_members(systems[number]))
        torch.testing.assert_close(spread.energy_std[number], alone.energy_std[0])
        torch.testing.assert_close(spread.forces_std[rows], alone.forces_std)
        torch.testing.assert_close(spread.forces_std_norm[rows], alone.forces_std_norm)
    one, two = unlike.evaluate(iter([ethanol, water]), batch_size=2)
    assert [one.energy_std, two.energy_std] == pytest.approx(spread.energy_std.tolist())
    torch.testing.assert_close(mean_output(together), unlike.compute(batch_systems(systems)))


def test_energies_alone_have_their_spread(unlike, ethanol):
    found = unlike.evaluate(ethanol, forces=False)
    assert found.forces is None
    assert found.forces_std is None
    assert found.forces_std_norm is None
    assert found.energy_std == pytest.approx(unlike.evaluate(ethanol).energy_std, rel=1e-10)


def test_stress_is_the_mean(unlike):
    atoms = build_molecule("CH3OH")
    atoms.set_cell([6.0, 6.5, 7.0])
    atoms.pbc = True
    alone = np.array([each.evaluate(atoms, stress=True).stress for each in unlike.members])
    found = unlike.evaluate(atoms, stress=True).stress
    np.testing.assert_allclose(found, alone.mean(axis=0), atol=EXACT)


def test_the_hessian_is_the_mean(unlike):
    water = build_molecule("H2O")
    alone = np.array([each.hessian(water) for each in unlike.members])
    np.testing.assert_allclose(unlike.hessian(water), alone.mean(axis=0), atol=EXACT)
    assert np.ptp(alone, axis=0).max() > 1e-3


def test_copies_compute_the_same(unlike, ethanol):
    unlike.compute(system_of(unlike, ethanol), cache=CandidateCache())
    expected = unlike.evaluate(ethanol)
    for copied in (copy.deepcopy(unlike), pickle.loads(pickle.dumps(unlike))):
        assert isinstance(copied, Committee)
        found = copied.evaluate(ethanol)
        assert found.energy_std == expected.energy_std
        assert np.array_equal(found.forces, expected.forces)


def test_precision_is_that_of_all_members(unlike, ethanol):
    assert unlike.to(dtype="float64") is unlike
    single = unlike.to(dtype="float32")
    assert {each.dtype for each in single.members} == {torch.float32}
    assert single.dtype == torch.float32
    found, expected = single.evaluate(ethanol), unlike.evaluate(ethanol)
    assert found.energy_std == pytest.approx(expected.energy_std, rel=1e-4)
    assert found.forces.dtype == np.float32
    np.testing.assert_allclose(found.forces_std, expected.forces_std, atol=1e-5)


def test_candidates_are_kept_for_each_member_and_each_system(unlike, ethanol, searches):
    systems = [system_of(unlike, atoms) for atoms in (ethanol, build_molecule("H2O"))]
    caches = [CandidateCache(), CandidateCache()]
    for _ in range(3):
        for system, cache in zip(systems, caches, strict=True):
            unlike.compute(system, cache=cache)
    assert len(searches) == len(systems) * len(unlike.members)


def test_what_a_committee_says_of_itself(unlike):
    assert unlike.metadata.level_of_theory == "random weights"
    assert unlike.metadata.description == "mean of 3 potentials"
    assert unlike.reference_energies[8] == pytest.approx(-2.0)


def with_config(potential: Potential, **changes) -> Potential:
    config = dataclasses.replace(potential.config, **changes)
    return Potential(PotentialModule(config), config)


def test_members_that_do_not_go_together_are_refused(tiny_potential):
    model: PotentialConfig = tiny_potential.config.model
    others = {
        r"member 1 .* elements = \(1, 6\), member 0 has \(1, 6, 8\); train": with_config(
            tiny_potential, model=dataclasses.replace(model, elements=(1, 6))
        ),
        r"member 1 .* fragmentation = FragmentationConfig.*; train": with_config(
            tiny_potential, fragmentation=PRESETS["explicit_md17"]
        ),
        r"member 1 .* dtype = torch\.float32, .*float64; load": tiny_potential.to(dtype="float32"),
    }
    for message, other in others.items():
        with pytest.raises(ConfigError, match=message):
            Committee([tiny_potential, other])
    with pytest.raises(ConfigError, match="member 1 of the committee is a str; give potentials"):
        Committee([tiny_potential, "other.safetensors"])
    with pytest.raises(ConfigError, match="a committee of 1 potentials; give at least two"):
        Committee([tiny_potential])


def test_networks_may_be_of_different_sizes(tiny_potential, ethanol):
    wider = dataclasses.replace(tiny_potential.config.model, n_radial=12)
    found = Committee([tiny_potential, with_config(tiny_potential, model=wider)]).evaluate(ethanol)
    assert found.energy_std > 0.0
