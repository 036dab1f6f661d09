"""Batched integrators are ASE's; drift, order, stability and memory see what is wrong."""

import ase
import numpy as np
import pytest
from ase import units
from ase.calculators.calculator import Calculator, all_changes
from ase.md.verlet import VelocityVerlet

from se3set_mlip.simulate.velocities import temperature_kelvin
from se3set_mlip.testing import memory, stability
from se3set_mlip.testing.integrators import (
    initial_state,
    kinetic_energies,
    langevin_step,
    relaxed,
    verlet_step,
)
from se3set_mlip.testing.memory import check_memory
from se3set_mlip.testing.nve import check_drift, check_order
from se3set_mlip.testing.stability import check_stability
from se3set_mlip.testing.subject import Specimen
from se3set_mlip.testing.subjects import CalculatorSubject, PotentialSubject
from se3set_mlip.topology.molecule import Topology

WATER = Topology.from_smiles("O")
HELD = ((0, 1, 0.96), (0, 2, 0.96), (1, 2, 1.52))


def water(topology=WATER) -> Specimen:
    positions = [[0.0, 0.0, 0.0], [0.76, 0.59, 0.0], [-0.76, 0.59, 0.0]]
    return Specimen(ase.Atoms("OH2", positions), topology)


class Springs(Calculator):
    """A molecule held by harmonic springs; ``step`` adds a step of the energy at full stretch."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, stiffness=30.0, step=0.0, springs=HELD, kink=0.0):
        super().__init__()
        self.stiffness, self.step, self.springs, self.kink = stiffness, step, springs, kink

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        energy, forces = 0.0, np.zeros((len(atoms), 3))
        for i, j, length in self.springs:
            vector = atoms.positions[j] - atoms.positions[i]
            distance = float(np.linalg.norm(vector))
            stretch = distance - length
            energy += 0.5 * self.stiffness * stretch**2 + self.step * (stretch > 0.0)
            slope = self.stiffness * stretch + self.kink * (stretch > 0.0)
            energy += self.kink * max(stretch, 0.0)
            forces[i] += slope * vector / distance
            forces[j] -= slope * vector / distance
        self.results = {"energy": energy, "forces": forces}


def springs(**options) -> CalculatorSubject:
    return CalculatorSubject(Springs(**options), name="springs")


def test_verlet_is_that_of_ase_for_each_copy(tiny_potential):
    subject, specimen = PotentialSubject(tiny_potential), water()
    rng = np.random.default_rng(0)
    starts = specimen.atoms.positions + rng.normal(scale=0.03, size=(2, 3, 3))
    velocities = rng.normal(scale=0.02, size=(2, 3, 3))
    timesteps = (0.5, 1.0)
    state = initial_state(subject, specimen, positions=starts, velocities=velocities)
    for _ in range(20):
        state = verlet_step(subject, specimen, state, timesteps_fs=timesteps)
    for copy, timestep in enumerate(timesteps):
        atoms = specimen.atoms.copy()
        atoms.positions[:] = starts[copy]
        atoms.set_velocities(velocities[copy])
        atoms.calc = subject.calculator(WATER)
        VelocityVerlet(atoms, timestep=timestep * units.fs).run(20)
        assert np.abs(atoms.positions - state.positions[copy]).max() < 1e-11
        assert np.abs(atoms.get_velocities() - state.velocities[copy]).max() < 1e-11
        assert atoms.get_potential_energy() == pytest.approx(state.energies[copy], abs=1e-9)
        kinetic = kinetic_energies(specimen, state)[copy]
        assert atoms.get_kinetic_energy() == pytest.approx(kinetic, rel=1e-9)


def test_langevin_without_friction_is_verlet():
    subject, specimen = springs(), water()
    velocities = np.random.default_rng(1).normal(scale=0.02, size=(1, 3, 3))
    start = initial_state(
        subject, specimen, positions=specimen.atoms.positions[None], velocities=velocities
    )
    one = verlet_step(subject, specimen, start, timesteps_fs=[0.5])
    other = langevin_step(
        subject,
        specimen,
        start,
        timestep_fs=0.5,
        temperatures_kelvin=[300.0],
        friction_per_ps=0.0,
        generator=np.random.default_rng(2),
    )
    for here, there in zip(one, other, strict=True):
        assert here == pytest.approx(there, abs=1e-13)


def test_langevin_heats_each_copy_to_its_temperature():
    """Free flight of many copies: kinetic energies are those of Maxwell and Boltzmann."""
    subject, specimen = springs(stiffness=0.0), water()
    n_copies = 300
    kelvin = np.repeat([300.0, 900.0], n_copies // 2)
    zeros = np.zeros((n_copies, 3, 3))
    state = initial_state(
        subject, specimen, positions=specimen.atoms.positions + zeros, velocities=zeros
    )
    generator = np.random.default_rng(3)
    for _ in range(5):
        state = langevin_step(
            subject,
            specimen,
            state,
            timestep_fs=1.0,
            temperatures_kelvin=kelvin,
            friction_per_ps=1e4,
            generator=generator,
        )
    found = [temperature_kelvin(value, 9) for value in kinetic_energies(specimen, state)]
    # The standard error of the mean of 150 copies is sqrt(2 / 9 / 150) = 4 %.
    assert np.mean(found[: n_copies // 2]) == pytest.approx(300.0, rel=0.12)
    assert np.mean(found[n_copies // 2 :]) == pytest.approx(900.0, rel=0.12)


def test_relaxation_finds_the_minimum_and_leaves_its_argument():
    specimen = water()
    before = specimen.atoms.positions.copy()
    found = relaxed(springs(), specimen)
    assert np.array_equal(before, specimen.atoms.positions)
    assert found.atoms.get_distance(1, 2) == pytest.approx(1.52, abs=2e-3)


def test_springs_conserve_energy_with_order_two():
    assert check_order(springs(), water(), duration_ps=0.1).passed
    # The next term of the series is (omega dt)^2 of it: soft springs come closer to 2.
    result = check_order(springs(stiffness=5.0), water(), duration_ps=0.2)
    assert result.measured == pytest.approx(2.0, abs=0.05)
    drift = check_drift(springs(), water(), duration_ps=1.0)
    assert drift.measured < 0.05
    assert 200 < drift.data["mean_temperature_kelvin"] < 400


def test_a_step_of_the_energy_breaks_both():
    order = check_order(springs(step=1e-3), water(), duration_ps=0.1)
    assert order.passed is False
    drift = check_drift(springs(step=1e-3), water(), duration_ps=0.3)
    assert drift.passed is False


def test_a_kink_of_the_force_breaks_the_order():
    assert check_order(springs(kink=2.0), water(), duration_ps=0.2).passed is False


def test_a_run_that_explodes_fails():
    result = check_drift(springs(stiffness=3e4), water(), duration_ps=0.05, timestep_fs=2.0)
    assert result.passed is False


def test_a_held_molecule_is_stable_and_a_loose_one_is_not():
    settings = {"duration_ps": 0.4, "n_replicas": 2, "temperatures": (300.0, 2000.0)}
    for result in check_stability(springs(), water(), **settings):
        assert result.passed, result
        assert result.data["duration_ps"] == pytest.approx(0.4)
    loose = check_stability(springs(stiffness=0.01), water(topology=None), **settings)
    assert [result.passed for result in loose] == [False, False]
    assert "O0-H" in loose[1].detail
    assert loose[1].measured == 2


@pytest.mark.parametrize(
    ("place", "failed"), [((1.6, 0.0, 0.0), 0), ((0.0, 1.6, 0.0), 2), ((1.2, 0.0, 0.0), 0)]
)
def test_a_proton_that_moves_over_is_no_failure(monkeypatch, place, failed):
    """A proton between two oxygens, put where its bond is off: on the other oxygen, or nowhere."""
    positions = [[0.0, 0.0, 0.0], [2.5, 0.0, 0.0], [1.0, 0.0, 0.0]]
    topology = Topology((8, 8, 1), ((0, 2),), (1,), (-1, 0, 0))
    specimen = Specimen(ase.Atoms("OOH", positions), topology)

    def step(_subject, _specimen, state, **_settings):
        moved = np.array(state.positions)
        moved[:, 2] = place
        return state._replace(positions=moved, energies=np.zeros(len(moved)))

    monkeypatch.setattr(stability, "langevin_step", step)
    subject = springs(springs=((0, 1, 2.5), (0, 2, 1.0), (1, 2, 1.5)))
    (result,) = check_stability(
        subject, specimen, duration_ps=0.02, n_replicas=2, temperatures=(300.0,)
    )
    assert result.measured == failed
    moved_over = place[0] == 1.6
    assert result.data["transfers"] == (2 if moved_over else 0)
    assert ("proton transfers, which are no failures: 2" in result.detail) == moved_over


def test_memory_is_flat_and_a_leak_is_seen(tiny_potential, monkeypatch):
    monkeypatch.setattr(memory, "WARM_UP_STEPS", 20)
    subject = PotentialSubject(tiny_potential)
    result = check_memory(subject, water(), n_steps=60)
    assert result.passed, result
    leaked = []

    class Leaking(PotentialSubject):
        def values(self, specimens, *, stress=False):
            leaked.append(np.ones(60_000))
            return super().values(specimens, stress=stress)

    result = check_memory(Leaking(tiny_potential), water(), n_steps=60)
    assert result.passed is False
    assert check_memory(subject, water(), n_steps=20).skipped
