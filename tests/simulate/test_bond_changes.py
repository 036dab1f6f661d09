"""Bonds that change in a run: what is recorded, printed and refused, alike in both engines."""

import warnings
from pathlib import Path

import ase.io
import numpy as np
import pytest
from click.testing import CliRunner

from se3set_mlip.cli import main
from se3set_mlip.errors import ConfigError, TopologyError
from se3set_mlip.simulate.ase_engine import ase_samples
from se3set_mlip.simulate.dynamics import DynamicsConfig, run_dynamics
from se3set_mlip.simulate.openmm_engine import openmm_samples
from se3set_mlip.simulate.relax import relax
from se3set_mlip.topology.molecule import Topology

ENGINES = {"ase": ase_samples, "openmm": openmm_samples}
PATH = ase.io.read(
    Path(__file__).parents[2] / "benchmarks" / "acetylacetone" / "data" / "test_H_transfer.xyz", ":"
)
PROTON, DONOR, ACCEPTOR = 11, 5, 3
SPEED = 0.5
"""Of the proton, Å per ASE's unit of time (10.2 fs)."""


@pytest.fixture
def thrown():
    """A molecule at rest but for its proton, which flies from one oxygen atom to the other."""
    atoms = PATH[6].copy()
    way = atoms.positions[ACCEPTOR] - atoms.positions[PROTON]
    velocities = np.zeros((len(atoms), 3))
    velocities[PROTON] = SPEED * way / np.linalg.norm(way)
    atoms.set_velocities(velocities)
    return atoms


def config_of(**settings) -> DynamicsConfig:
    return DynamicsConfig(duration_ps=0.008, keep_velocities=True, interval=5, **settings)


@pytest.mark.parametrize("name", ENGINES)
def test_changes_are_recorded_with_the_samples(name, tiny_potential, thrown):
    samples = []
    config = config_of(on_bond_change="reperceive", check_interval=4)
    with pytest.warns(UserWarning, match="O5-H11 broken, O3-H11 formed"):
        record = run_dynamics(
            tiny_potential,
            thrown,
            config,
            engine=ENGINES[name],
            on_sample=lambda sample, _: samples.append(sample),
        )
    (change,) = record.topology_changes
    assert (change.broken, change.formed) == (((DONOR, PROTON),), ((ACCEPTOR, PROTON),))
    assert samples[0].topology_changes == ()
    assert samples[-1].topology_changes == (change,)
    total = np.array([sample.total_energy for sample in samples])
    jumps = np.array([sum(c.energy_jump for c in sample.topology_changes) for sample in samples])
    assert abs(change.energy_jump) > 1e-7
    assert np.ptp(total - jumps) < 0.1 * abs(change.energy_jump)


@pytest.mark.parametrize("name", ENGINES)
def test_a_broken_bond_ends_the_run(name, tiny_potential, thrown):
    thrown.set_velocities(1.5 * thrown.get_velocities())
    config = config_of(on_bond_change="error")
    with pytest.raises(TopologyError, match=r"bond O5-H11 is 1\.\d\d Å long, .* up to 1\.55 Å"):
        run_dynamics(tiny_potential, thrown, config, engine=ENGINES[name])


def test_a_relaxation_records_its_changes(tiny_potential):
    held = Topology.from_coordinates(PATH[0].numbers, PATH[0].positions)
    settings = {"max_steps": 3, "topology": held, "on_bond_change": "reperceive"}
    with pytest.warns(UserWarning, match="evaluation 2: O5-H11 broken"):
        found = relax(tiny_potential, PATH[-1], max_force=1e-9, check_interval=2, **settings)
    assert [change.evaluation for change in found.topology_changes] == [2]
    found = relax(tiny_potential, PATH[-1], max_force=1e-9, check_interval=100, **settings)
    assert found.topology_changes == ()


def run(*arguments: object) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return f"{result.exit_code}\n{result.output}"


@pytest.mark.parametrize("engine", ENGINES)
def test_md_prints_changes_and_errors(engine, tiny_model, thrown, tmp_path):
    start, end = tmp_path / "start.traj", tmp_path / "end.traj"
    thrown.set_velocities(1.5 * thrown.get_velocities())
    thrown.write(start)
    command = ["md", tiny_model, start, "-o", end, "--engine", engine, "--keep-velocities"]
    command += ["--duration", 0.008]
    output = run(*command, "--on-bond-change", "reperceive", "--check-interval", 4)
    assert output.startswith("0\n")
    assert output.count("the topology changed, evaluation ") == 1
    assert "O5-H11 broken, O3-H11 formed, energy jump " in output
    output = run(*command, "--on-bond-change", "error")
    assert output.startswith("2\n")
    assert "Error: bond O5-H11 is 1." in output
    assert "'ignore' is not one of 'keep', 'error', 'reperceive'" in run(
        *command, "--on-bond-change", "ignore"
    )


def test_relax_takes_the_option(tiny_model, tmp_path):
    start = tmp_path / "start.xyz"
    PATH[0].write(start)
    command = ["relax", tiny_model, start, "-o", tmp_path / "end.xyz", "--fmax", 100]
    output = run(*command, "--on-bond-change", "reperceive", "--check-interval", 1)
    assert output.startswith("0\n")
    assert "the topology changed" not in output


@pytest.mark.parametrize("settings", [{"on_bond_change": "no"}, {"check_interval": -1}])
def test_malformed_settings_are_an_error(settings, tiny_potential, thrown):
    with pytest.raises(ConfigError, match=r"expected one of keep|at least 1"):
        DynamicsConfig(**settings)
    with pytest.raises(ConfigError, match=r"expected one of keep|at least 1"):
        relax(tiny_potential, thrown, **settings)
