"""Dynamics: what is measured, recorded and written, and the same in both engines."""

import ase
import ase.io
import numpy as np
import pytest

from se3set_mlip.errors import InputError
from se3set_mlip.potential.checkpoint import load_checkpoint
from se3set_mlip.shipped import shipped_structure
from se3set_mlip.simulate.ase_engine import ase_samples
from se3set_mlip.simulate.dynamics import DynamicsConfig, run_dynamics
from se3set_mlip.simulate.openmm_engine import openmm_samples
from se3set_mlip.simulate.record import DynamicsRecord, Sample
from se3set_mlip.simulate.relax import relax
from se3set_mlip.simulate.velocities import draw_momenta
from se3set_mlip.topology.molecule import Topology

ENGINES = {"ase": ase_samples, "openmm": openmm_samples}
WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
SHORT = DynamicsConfig(duration_ps=0.01, timestep_fs=0.5, interval=4, seed=5)


@pytest.fixture(scope="module")
def atoms():
    return ase.io.read(shipped_structure("acetylacetone"))


@pytest.mark.parametrize("periodic", [False, True])
def test_atoms_inside_each_other_are_no_start(atoms, tiny_potential, periodic):
    clashing = atoms.copy()
    if periodic:  # with an image of the first atom
        clashing.set_cell([30.0, 30.0, 30.0])
        clashing.pbc = True
        clashing.positions[7] = clashing.positions[0] + [29.7, 0.0, 0.0]
    else:
        clashing.positions[7] = clashing.positions[0] + [0.3, 0.0, 0.0]
    message = r"[CO]0 and H7 are 0\.30 Å apart, so they coincide or lie inside each other"
    with pytest.raises(InputError, match=message):
        relax(tiny_potential, clashing)
    with pytest.raises(InputError, match=message):
        run_dynamics(tiny_potential, clashing, SHORT, engine=ase_samples)
    water = ase.Atoms("OH2OH2", np.concatenate([WATER, WATER + np.array([0.0, 0.0, 0.9])]))
    with pytest.raises(InputError, match=r"[HO]\d and [HO]\d are 0\.90 Å apart"):
        relax(tiny_potential, water, topology=Topology.from_smiles("O.O"))
    nanometers = atoms.copy()
    nanometers.positions *= 0.1
    with pytest.raises(InputError, match="inside each other; are the positions in Å"):
        relax(tiny_potential, nanometers)


def record_of(times, potential, kinetic, atoms) -> DynamicsRecord:
    return DynamicsRecord(
        times_ps=np.array(times),
        potential_energies=np.array(potential),
        kinetic_energies=np.array(kinetic),
        temperatures_kelvin=np.zeros(len(times)),
        wall_seconds=2.0,
        final=atoms,
    )


def test_drift_is_the_slope_and_fluctuation_what_remains(atoms):
    times = np.linspace(0.0, 2.0, 401)
    wave = 0.01 * np.cos(2 * np.pi * times / 0.1)
    kinetic = 0.5 + 0.3 * np.cos(2 * np.pi * times / 0.05)
    total = -100.0 + 0.002 * times + wave
    record = record_of(times, total - kinetic, kinetic, atoms)
    assert record.drift_mev_per_atom_per_ps == pytest.approx(2.0 / 15, rel=0.02)
    assert record.fluctuation_mev_per_atom == pytest.approx(10.0 / np.sqrt(2) / 15, rel=0.01)
    assert record.nanoseconds_per_day == pytest.approx(0.002 * 86400 / 2.0)


def test_two_samples_have_no_drift(atoms):
    record = record_of([0.0, 1.0], [0.0, 1.0], [0.0, 0.0], atoms)
    assert np.isnan(record.drift_mev_per_atom_per_ps)


def test_strides_add_up_to_all_steps():
    config = DynamicsConfig(duration_ps=0.0105, timestep_fs=0.5, interval=4)
    assert config.n_steps == 21
    strides, times_ps = zip(*config.strides(), strict=True)
    assert strides == (4, 4, 4, 4, 4, 1)
    assert times_ps == pytest.approx((0.002, 0.004, 0.006, 0.008, 0.010, 0.0105))
    assert config.n_samples == 6


@pytest.mark.parametrize("name", ENGINES)
def test_a_run_is_recorded_and_written(name, tiny_potential, atoms, tmp_path):
    path = tmp_path / "run.traj"
    before = atoms.positions.copy()
    seen: list[Sample] = []
    record = run_dynamics(
        tiny_potential,
        atoms,
        SHORT,
        engine=ENGINES[name],
        trajectory=path,
        on_sample=lambda sample, _: seen.append(sample),
    )
    frames = ase.io.read(path, index=":")
    assert len(frames) == len(seen) == len(record.times_ps) == 6
    assert np.array_equal(atoms.positions, before)
    assert record.times_ps[-1] == pytest.approx(0.01)
    assert record.temperatures_kelvin[0] == pytest.approx(300.0, rel=1e-9)
    for frame, sample in zip(frames, seen, strict=True):
        assert frame.get_potential_energy() == pytest.approx(sample.potential_energy, abs=1e-9)
        assert frame.get_kinetic_energy() == pytest.approx(sample.kinetic_energy, rel=1e-9)
        assert np.allclose(frame.get_forces(), sample.atoms.get_forces())


def test_engines_follow_the_same_path(tiny_potential, atoms):
    start = atoms.copy()
    start.set_momenta(draw_momenta(start, 300.0, seed=5))
    ase_run, openmm_run = (
        list(engine(tiny_potential, start, SHORT)) for engine in ENGINES.values()
    )
    for one, other in zip(ase_run, openmm_run, strict=True):
        # The engines' constants for the unit of time differ in the eighth digit.
        assert np.abs(one.atoms.positions - other.atoms.positions).max() < 1e-7
        assert one.potential_energy == pytest.approx(other.potential_energy, abs=1e-6)
        assert one.kinetic_energy == pytest.approx(other.kinetic_energy, abs=1e-6)
    first, same = ase_run[0], openmm_run[0]
    assert first.potential_energy == pytest.approx(same.potential_energy, rel=1e-12)
    assert np.abs(first.atoms.get_forces() - same.atoms.get_forces()).max() < 1e-9


@pytest.mark.parametrize("name", ENGINES)
def test_heavy_hydrogens_allow_longer_time_steps(name, tiny_potential, atoms, tmp_path):
    settings = {"duration_ps": 0.06, "timestep_fs": 2.0, "interval": 1, "seed": 3}
    potential = load_checkpoint("acetylacetone", dtype="float64")
    spread = {}
    for mass in (None, 4.0):
        config = DynamicsConfig(hydrogen_mass_u=mass, **settings)
        record = run_dynamics(
            potential, atoms, config, engine=ENGINES[name], trajectory=tmp_path / f"{mass}.traj"
        )
        assert record.temperatures_kelvin[0] == pytest.approx(300.0, rel=1e-9)
        spread[mass] = np.std(record.potential_energies + record.kinetic_energies)
    assert 0.0 < spread[4.0] < 0.5 * spread[None]
    last = ase.io.read(tmp_path / "4.0.traj")
    assert (last.get_masses()[last.numbers == 1] == 4.0).all()
    assert (last.get_masses()[last.numbers == 6] == 12.011).all()
    # The velocities that atoms have are kept; their momenta are not.
    moving = atoms.copy()
    moving.set_momenta(draw_momenta(moving, 300.0, seed=5))
    config = DynamicsConfig(hydrogen_mass_u=4.0, keep_velocities=True, duration_ps=0.0005)
    samples = []
    run_dynamics(
        tiny_potential,
        moving,
        config,
        engine=ENGINES[name],
        on_sample=lambda sample, _: samples.append(sample.atoms),
    )
    assert np.allclose(samples[0].get_velocities(), moving.get_velocities(), rtol=1e-7)


def test_thermostat_starts_at_its_temperature(tiny_potential, atoms):
    config = DynamicsConfig(ensemble="nvt", duration_ps=0.001)
    record = run_dynamics(tiny_potential, atoms, config, engine=ase_samples)
    assert record.temperatures_kelvin[0] == pytest.approx(300.0, rel=1e-9)


@pytest.mark.parametrize("name", ENGINES)
def test_thermostat_warms_a_cold_molecule(name, tiny_potential, atoms):
    still = atoms.copy()
    still.set_momenta(np.zeros((len(atoms), 3)))
    config = DynamicsConfig(
        ensemble="nvt", duration_ps=0.02, friction_per_ps=100.0, interval=10, keep_velocities=True
    )
    record = run_dynamics(tiny_potential, still, config, engine=ENGINES[name])
    assert record.temperatures_kelvin[0] == 0.0
    assert record.temperatures_kelvin[-1] > 30.0


@pytest.mark.parametrize("name", ENGINES)
def test_thermostat_repeats_with_its_seed(name, tiny_potential, atoms):
    config = DynamicsConfig(ensemble="nvt", duration_ps=0.005, seed=11)
    one, same = (
        run_dynamics(tiny_potential, atoms, config, engine=ENGINES[name]) for _ in range(2)
    )
    assert np.array_equal(one.final.positions, same.final.positions)


def test_trajectory_of_unknown_format(tiny_potential, atoms, tmp_path):
    with pytest.raises(InputError, match=r"ends in \.traj, \.xyz, \.extxyz"):
        relax(tiny_potential, atoms, trajectory=tmp_path / "run.cube")


def test_a_failed_run_leaves_the_old_trajectory(tiny_potential, atoms, tmp_path):
    path = tmp_path / "run.traj"
    run_dynamics(tiny_potential, atoms, SHORT, engine=ase_samples, trajectory=path)
    before = path.read_bytes()
    slab = atoms.copy()
    slab.set_cell([20.0, 20.0, 20.0])
    slab.pbc = (True, True, False)
    with pytest.raises(InputError):
        run_dynamics(tiny_potential, slab, SHORT, engine=openmm_samples, trajectory=path)
    assert path.read_bytes() == before


def test_openmm_refuses_a_slab(tiny_potential, atoms):
    slab = atoms.copy()
    slab.set_cell([20.0, 20.0, 20.0])
    slab.pbc = (True, True, False)
    with pytest.raises(InputError, match="periodic in all directions or none"):
        run_dynamics(tiny_potential, slab, SHORT, engine=openmm_samples)


def test_explosion_is_an_error(tiny_potential, atoms):
    def explode(*_):
        yield Sample(0.001, float("nan"), 1.0, 300.0, atoms)

    with pytest.raises(InputError, match=r"nan at 0\.0010 ps"):
        run_dynamics(tiny_potential, atoms, SHORT, engine=explode)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"ensemble": "npt"}, "expected one of nve, nvt"),
        ({"timestep_fs": 0.0}, "timestep_fs = 0.0; give a positive"),
        ({"duration_ps": float("nan")}, "duration_ps = nan"),
        ({"temperature_kelvin": -1.0}, "temperature_kelvin = -1.0"),
        ({"hydrogen_mass_u": 0.5}, "hydrogen_mass_u = 0.5; give 1 or more"),
    ],
)
def test_impossible_settings(setting, message):
    with pytest.raises(InputError, match=message):
        DynamicsConfig(**setting)


def test_relaxation_goes_down_and_is_written(tiny_potential, atoms, tmp_path):
    path = tmp_path / "relax.traj"
    found = relax(tiny_potential, atoms, max_steps=5, max_force=1e-6, trajectory=path)
    frames = ase.io.read(path, index=":")
    assert len(frames) == 6
    assert found.n_steps == 5
    assert not found.converged
    assert found.energy < frames[0].get_potential_energy()
    assert found.energy == frames[-1].get_potential_energy()
    largest = np.linalg.norm(frames[-1].get_forces(), axis=1).max()
    assert found.max_force == pytest.approx(largest)


def test_relaxation_refuses_a_cell_that_is_not_there(tiny_potential, atoms):
    with pytest.raises(InputError, match="without periodic boundaries"):
        relax(tiny_potential, atoms, cell=True)


def test_relaxation_refuses_an_unknown_optimizer(tiny_potential, atoms):
    with pytest.raises(InputError, match="expected one of bfgs, lbfgs, fire"):
        relax(tiny_potential, atoms, optimizer="newton")
