"""A committee in ASE: mean and spread, a warning that rises, and a stop that keeps the geometry."""

import copy
import warnings

import ase
import ase.io
import numpy as np
import pytest
from ase.build import molecule as build_molecule
from ase.calculators.fd import calculate_numerical_forces
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from ase.units import fs

from se3set_mlip.engines.ase_calculator import SE3SetCalculator
from se3set_mlip.engines.committee_calculator import CommitteeCalculator
from se3set_mlip.engines.uncertainty import (
    REARM_FRACTION,
    UncertaintyError,
    UncertaintyPolicy,
    UncertaintyWarning,
    WatchedCommittee,
)
from se3set_mlip.errors import ArtifactError, ConfigError, Se3SetError
from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.potential.candidate_cache import SKIN_ANGSTROM
from se3set_mlip.potential.checkpoint import save_checkpoint
from se3set_mlip.potential.committee import Committee
from se3set_mlip.potential.potential import Potential

FACTOR = 3.0
"""Energies of the second member over those of the first."""
STD = (FACTOR - 1.0) / np.sqrt(2.0)
"""Spread of the two, in energies of the first."""


def scaled(potential: Potential, factor: float) -> Potential:
    found = copy.deepcopy(potential)
    reference = {
        number: factor * float(potential.reference_energies[number]) for number in (1, 6, 8)
    }
    found.module.set_energies(
        reference=reference, scale=factor * float(potential.module.energy_scale)
    )
    return found


@pytest.fixture(scope="module")
def members(molecule) -> list[Potential]:
    return [molecule.potential, scaled(molecule.potential, FACTOR)]


@pytest.fixture
def atoms(molecule) -> ase.Atoms:
    return ase.Atoms(molecule.numbers, molecule.positions)


def norms_of(potential: Potential, atoms: ase.Atoms) -> np.ndarray:
    """What the spread of the forces is by construction, (n_atoms,) eV/Å."""
    return STD * np.linalg.norm(potential.evaluate(atoms).forces, axis=1)


def test_results_are_mean_and_spread(molecule, members, atoms):
    atoms.calc = CommitteeCalculator(members)
    alone = molecule.potential.evaluate(atoms)
    middle = (1.0 + FACTOR) / 2.0
    assert atoms.get_potential_energy() == pytest.approx(middle * alone.energy, rel=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), middle * alone.forces, atol=1e-12)
    np.testing.assert_allclose(atoms.get_potential_energies(), middle * alone.energies, rtol=1e-12)
    results = atoms.calc.results
    assert results["energy_std"] == pytest.approx(STD * abs(alone.energy), rel=1e-12)
    np.testing.assert_allclose(results["forces_std"], STD * abs(alone.forces), atol=1e-12)
    np.testing.assert_allclose(results["forces_std_norm"], norms_of(molecule.potential, atoms))
    assert results["forces_std"].shape == (15, 3)
    assert results["forces_std_norm"].shape == (15,)


def test_forces_are_the_slope_of_the_mean(members, atoms):
    atoms.calc = CommitteeCalculator(members)
    numerical = calculate_numerical_forces(atoms, eps=1e-4, iatoms=[0, 7])
    np.testing.assert_allclose(atoms.get_forces()[[0, 7]], numerical, atol=1e-7)


def test_stress_is_the_mean(members, wet_cell):
    atoms = ase.Atoms(wet_cell.numbers, wet_cell.positions, cell=wet_cell.cell, pbc=True)
    topology = wet_cell.fragmentation.topology
    atoms.calc = SE3SetCalculator(members[0], topology=topology)
    expected = (1.0 + FACTOR) / 2.0 * atoms.get_stress()
    atoms.calc = CommitteeCalculator(members, topology=topology)
    np.testing.assert_allclose(atoms.get_stress(), expected, atol=1e-13)
    assert "forces_std" in atoms.calc.results


def test_a_spread_can_be_asked_for(members, atoms):
    calculator = CommitteeCalculator(members)
    spread = calculator.get_property("forces_std_norm", atoms)
    assert np.array_equal(spread, calculator.results["forces_std_norm"])
    atoms.positions[3] += 0.1
    assert calculator.get_property("energy_std", atoms) > 0.0
    assert "forces_std" not in calculator.results, "an energy does not pay for forces"
    assert not np.array_equal(calculator.get_property("forces_std_norm", atoms), spread)


def test_paths_and_a_committee_are_as_good_as_potentials(members, atoms, tmp_path):
    paths = [tmp_path / "one.safetensors", tmp_path / "other.safetensors"]
    for path, member in zip(paths, members, strict=True):
        save_checkpoint(path, member)
    found = []
    for given in (members, paths, [str(paths[0]), members[1]], Committee(members)):
        calculator = CommitteeCalculator(given)
        found.append(calculator.get_property("energy_std", atoms))
    assert found[0] > 0.0
    assert found == [found[0]] * 4
    with pytest.raises(ArtifactError, match=r"none\.safetensors"):
        CommitteeCalculator([paths[0], tmp_path / "none.safetensors"])


def test_float32_is_float64_to_its_precision(members, atoms):
    found = CommitteeCalculator(members, dtype="float32").get_property("forces_std", atoms)
    expected = CommitteeCalculator(members).get_property("forces_std", atoms)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_is_written_can_be_read(members, atoms, tmp_path):
    atoms.calc = CommitteeCalculator(members)
    forces = atoms.get_forces()
    for name in ("run.traj", "run.xyz"):
        atoms.write(tmp_path / name)
        np.testing.assert_allclose(ase.io.read(tmp_path / name).get_forces(), forces, atol=1e-7)


def test_a_warning_comes_each_time_that_the_spread_rises(molecule, members, atoms):
    """The second member is made to differ by more and less; the spread is in proportion."""
    other = copy.deepcopy(molecule.potential)
    scale = float(other.module.energy_scale)
    norms = np.linalg.norm(molecule.potential.evaluate(atoms).forces, axis=1) / np.sqrt(2.0)
    atom, threshold = int(np.argmax(norms)), float(norms.max())
    calculator = CommitteeCalculator([molecule.potential, other], warn_above=threshold)

    def warned(spread: float) -> list[str]:
        """Warnings at a spread in units of the threshold."""
        other.module.set_energies(scale=(1.0 + spread) * scale)
        calculator.reset()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UncertaintyWarning)
            found = calculator.get_property("forces_std_norm", atoms)
        assert found.max() == pytest.approx(spread * threshold, rel=1e-9)
        return [str(warning.message) for warning in caught]

    assert 0.7 < REARM_FRACTION < 0.9
    assert warned(0.99) == []
    (message,) = warned(1.1)
    named = f"on {atoms.symbols[atom]}{atom} have a spread of {1.1 * threshold:.3g} eV/Å"
    assert f"{named}, above warn_above = {threshold:g} eV/Å" in message
    assert warned(1.5) == [], "still above"
    assert warned(0.9) == [], "not yet far enough down"
    assert warned(1.1) == []
    assert warned(0.7) == []
    assert len(warned(1.1)) == 1, "above anew"


def test_a_spread_that_is_no_number_stops(members, atoms):
    broken = copy.deepcopy(members[1])
    broken.module.set_energies(scale=float("nan"))
    atoms.calc = CommitteeCalculator([members[0], broken], stop_above=1e6)
    with pytest.raises(UncertaintyError, match="a spread of nan eV/Å"):
        atoms.get_forces()


def moving(atoms: ase.Atoms, sign: float) -> ase.Atoms:
    """The atoms with velocities that take them 0.1 Å away in 12 steps of 0.5 fs, or back."""
    found = atoms.copy()
    found.set_velocities(sign * 0.15 * np.random.default_rng(3).normal(size=(len(atoms), 3)))
    return found


def course(members, atoms: ase.Atoms) -> list[float]:
    """The largest spread after each step of dynamics that nothing stops."""
    atoms.calc = CommitteeCalculator(members)
    spreads: list[float] = []
    dynamics = VelocityVerlet(atoms, timestep=0.5 * fs)
    dynamics.attach(lambda: spreads.append(atoms.calc.results["forces_std_norm"].max()))
    dynamics.run(12)
    return spreads


def test_dynamics_stop_and_the_geometry_is_saved(members, atoms, tmp_path):
    path, frames = tmp_path / "uncertain.xyz", []
    for sign in (1.0, -1.0):  # what falls on one way rises on the other
        spreads = course(members, moving(atoms, sign))
        if max(spreads[2:]) > 1.01 * max(spreads[:2]):
            break
    threshold = 0.5 * (max(spreads[:2]) + max(spreads[2:]))
    n_steps = int(np.argmax(np.array(spreads) > threshold))
    assert n_steps >= 2
    atoms = moving(atoms, sign)
    atoms.calc = CommitteeCalculator(members, stop_above=threshold, save_to=path)
    dynamics = VelocityVerlet(atoms, timestep=0.5 * fs)
    dynamics.attach(lambda: frames.append(atoms.copy()))
    with pytest.raises(UncertaintyError, match=f"above stop_above = {threshold:g} eV/Å") as caught:
        dynamics.run(12)
    assert len(frames) == n_steps, "the start and each step before the last"
    for frame in frames:
        assert norms_of(members[0], frame).max() <= threshold
    found, saved = caught.value.geometry, ase.io.read(path)
    assert norms_of(members[0], saved).max() > threshold
    np.testing.assert_allclose(saved.positions, found.positions, atol=1e-7)
    np.testing.assert_allclose(saved.positions, atoms.positions, atol=1e-7)
    np.testing.assert_allclose(saved.arrays["forces_std"], found.forces_std, atol=1e-7)
    np.testing.assert_allclose(saved.get_momenta(), atoms.get_momenta(), atol=1e-7)
    assert saved.info["energy_std"] == pytest.approx(found.energy_std, abs=1e-7)
    expected = members[0].evaluate(ase.Atoms(found.numbers, found.positions))
    assert found.energy == pytest.approx((1.0 + FACTOR) / 2.0 * expected.energy, rel=1e-10)
    np.testing.assert_allclose(found.forces_std, STD * abs(expected.forces), atol=1e-9)
    assert "forces" not in atoms.calc.results, "nothing is left that looks like a result"


def test_the_geometry_of_a_stop_has_its_cell(members, wet_cell):
    atoms = ase.Atoms(wet_cell.numbers, wet_cell.positions, cell=wet_cell.cell, pbc=True)
    topology = wet_cell.fragmentation.topology
    atoms.calc = CommitteeCalculator(members, topology=topology, stop_above=1e-9)
    with pytest.raises(UncertaintyError) as caught:
        atoms.get_forces()
    found = caught.value.geometry
    np.testing.assert_allclose(found.cell, wet_cell.cell, atol=1e-12)
    assert found.pbc.tolist() == [True] * 3
    assert found.numbers.tolist() == list(wet_cell.numbers)


def test_a_stop_in_a_batch_is_of_the_right_structure(members, molecule):
    water = build_molecule("H2O")
    water.positions[1] *= 1.02  # no two hydrogen atoms alike
    systems = [
        members[0].system(found.numbers, found.positions, fragmentation)
        for found, fragmentation in (
            (molecule, molecule.fragmentation),
            (water, SE3SetCalculator(members[0]).fragmentation(water)),
        )
    ]
    norms = [STD * members[0].compute(system).forces.norm(dim=1).numpy() for system in systems]
    assert norms[1].max() > norms[0].max()
    atom = int(np.argmax(norms[1]))
    committee = WatchedCommittee(members, UncertaintyPolicy(stop_above=1e-9))
    with pytest.raises(UncertaintyError, match=f"forces on H{atom} have") as caught:
        committee.compute(batch_systems(systems))
    found = caught.value.geometry
    np.testing.assert_allclose(found.positions, water.positions, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(found.forces_std, axis=1), norms[1], rtol=1e-9)


def test_relaxations_stop_too(members, atoms):
    threshold = 0.5 * norms_of(members[0], atoms).max()
    atoms.calc = CommitteeCalculator(members, stop_above=threshold)
    with pytest.raises(Se3SetError, match="label this geometry"):
        BFGS(atoms, logfile=None).run(steps=2)


def test_an_energy_alone_is_not_watched(members, atoms):
    atoms.calc = CommitteeCalculator(members, stop_above=1e-9)
    assert np.isfinite(atoms.get_potential_energy())
    with pytest.raises(UncertaintyError):
        atoms.get_forces()


def test_thresholds_are_kept_on_another_device_or_precision(members, atoms):
    committee = WatchedCommittee(members, UncertaintyPolicy(stop_above=1e-9)).to(dtype="float32")
    atoms.calc = SE3SetCalculator(committee, dtype="float32")
    with pytest.raises(UncertaintyError):
        atoms.get_forces()


def test_thresholds_of_a_committee_hold_unless_others_are_given(members, atoms):
    committee = WatchedCommittee(members, UncertaintyPolicy(stop_above=1e-9))
    with pytest.raises(UncertaintyError):
        CommitteeCalculator(committee).get_property("forces", atoms)
    forces = CommitteeCalculator(committee, stop_above=1e9).get_property("forces", atoms)
    assert np.isfinite(forces).all()


def test_bonds_are_watched_as_ever(members):
    atoms = build_molecule("H2O")
    atoms.calc = CommitteeCalculator(members, on_bond_change="reperceive", check_interval=1)
    atoms.get_forces()
    assert atoms.calc.topology_changes == ()
    atoms.calc = CommitteeCalculator(members)
    atoms.get_forces()
    atoms.positions[1] += [0.0, 2.0, 0.0]
    with pytest.warns(UserWarning, match="bond O0-H1 is"):
        atoms.get_forces()


def test_a_search_is_not_needed_at_every_step(members, atoms, searches):
    atoms.calc = CommitteeCalculator(members)
    rng = np.random.default_rng(4)
    for _ in range(8):
        atoms.positions += rng.normal(scale=0.01, size=atoms.positions.shape)
        atoms.get_forces()
    assert searches == [SKIN_ANGSTROM] * len(members)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warn_above": 0.0}, "warn_above = 0.0; give a positive"),
        ({"stop_above": float("nan")}, "stop_above = nan; give a positive"),
        ({"warn_above": 0.4, "stop_above": 0.4}, "is not below stop_above = 0.4"),
        ({"save_to": "end.xyz"}, "save_to = 'end.xyz' is where .* not set"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(members, settings, message):
    with pytest.raises(ConfigError, match=message):
        CommitteeCalculator(members, **settings)


def test_one_potential_is_no_committee(members, wet_cell, tmp_path):
    for given in (members[0], "model.safetensors", tmp_path / "model.safetensors"):
        with pytest.raises(ConfigError, match=r"out of one \w+; give a list of two or more"):
            CommitteeCalculator(given)
    with pytest.raises(ConfigError, match="a committee of 1 potentials"):
        CommitteeCalculator(members[:1])
