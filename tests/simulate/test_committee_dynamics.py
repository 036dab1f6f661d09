"""Dynamics with a committee: the spread is recorded, and a run that it ends keeps its frames."""

import copy

import ase.io
import numpy as np
import pytest
from click.testing import CliRunner

from se3set_mlip.cli import main
from se3set_mlip.engines.uncertainty import UncertaintyError
from se3set_mlip.errors import InputError
from se3set_mlip.potential.checkpoint import save_checkpoint
from se3set_mlip.potential.committee import Committee
from se3set_mlip.shipped import shipped_structure
from se3set_mlip.simulate.ase_engine import ase_samples
from se3set_mlip.simulate.dynamics import DynamicsConfig, run_dynamics
from se3set_mlip.simulate.openmm_engine import openmm_samples
from se3set_mlip.simulate.record import Sample

ENGINES = {"ase": ase_samples, "openmm": openmm_samples}
FACTOR = 3.0
STD = (FACTOR - 1.0) / np.sqrt(2.0)
SCALE = 0.1
SETTINGS = {"duration_ps": 0.01, "interval": 2}
N_SAMPLES = 11


@pytest.fixture(scope="module")
def stiff(tiny_potential):
    """The tiny potential with forces that are worth the name."""
    found = copy.deepcopy(tiny_potential)
    found.module.set_energies(scale=SCALE)
    return found


@pytest.fixture(scope="module")
def committee(stiff):
    other = copy.deepcopy(stiff)
    other.module.set_energies(scale=FACTOR * SCALE)
    return Committee([stiff, other])


@pytest.fixture(scope="module")
def atoms():
    return ase.io.read(shipped_structure("acetylacetone"))


def largest(potential, frame) -> float:
    """What the spread is by construction, eV/Å."""
    return STD * float(np.linalg.norm(potential.evaluate(frame).forces, axis=1).max())


def run(potential, atoms, *, engine="ase", trajectory=None, on_sample=None, **settings):
    config = DynamicsConfig(**SETTINGS, **settings)
    return run_dynamics(
        potential,
        atoms,
        config,
        engine=ENGINES[engine],
        trajectory=trajectory,
        on_sample=on_sample,
    )


def samples_of(potential, atoms, **settings) -> list[Sample]:
    samples: list[Sample] = []
    run(potential, atoms, on_sample=lambda sample, _: samples.append(sample), **settings)
    return samples


@pytest.mark.parametrize("engine", ENGINES)
def test_samples_have_the_spread(engine, stiff, committee, atoms, tmp_path):
    samples, path = [], tmp_path / "run.xyz"
    record = run(
        committee,
        atoms,
        engine=engine,
        trajectory=path,
        on_sample=lambda one, _: samples.append(one),
    )
    assert record.stopped is None
    frames = ase.io.read(path, index=":")
    assert len(frames) == len(samples) == N_SAMPLES
    for frame, sample in zip(frames, samples, strict=True):
        assert sample.uncertainty == pytest.approx(largest(stiff, sample.atoms), rel=1e-9)
        norms = np.linalg.norm(frame.arrays["forces_std"], axis=1)
        assert norms.max() == pytest.approx(sample.uncertainty, abs=1e-7)
        assert frame.info["energy_std"] > 0.0


def test_one_potential_has_no_spread(stiff, atoms):
    assert {sample.uncertainty for sample in samples_of(stiff, atoms)} == {None}
    with pytest.raises(InputError, match="one potential alone has none; give a committee"):
        run(stiff, atoms, stop_above=1.0)


@pytest.fixture(scope="module")
def rising(committee, atoms):
    """A seed with which the spread rises on the way, and a threshold that it passes."""
    for seed in range(8):
        spreads = [sample.uncertainty for sample in samples_of(committee, atoms, seed=seed)]
        start, later = max(spreads[:2]), max(spreads[2:])
        if later > 1.01 * start:
            return seed, 0.5 * (start + later)
    raise AssertionError("the spread never rises")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_spread_above_the_threshold_ends_the_run(
    engine, stiff, committee, atoms, rising, tmp_path
):
    seed, threshold = rising
    path = tmp_path / "run.traj"
    record = run(committee, atoms, engine=engine, trajectory=path, seed=seed, stop_above=threshold)
    assert f"above stop_above = {threshold:g} eV/Å" in record.stopped
    *before, last = ase.io.read(path, index=":")
    assert 1 <= len(before) == len(record.times_ps) < N_SAMPLES
    for frame in before:
        assert largest(stiff, frame) <= threshold
    assert largest(stiff, last) > threshold
    assert not last.has("momenta")
    np.testing.assert_allclose(
        last.get_forces(), (1.0 + FACTOR) / 2.0 * stiff.evaluate(last).forces, atol=1e-9
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_a_start_above_the_threshold_is_an_error(engine, committee, atoms):
    with pytest.raises(UncertaintyError):
        run(committee, atoms, engine=engine, stop_above=1e-9)


def command(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("engine", ENGINES)
def test_md_takes_a_committee(engine, committee, atoms, rising, tmp_path):
    seed, threshold = rising
    paths = [tmp_path / f"{number}.safetensors" for number in range(2)]
    for path, member in zip(paths, committee.members, strict=True):
        save_checkpoint(path, member)
    end = tmp_path / "end.traj"
    words = ["md", paths[0], shipped_structure("acetylacetone"), "--committee", paths[1]]
    words += ["--duration", 0.01, "--interval", 2, "--seed", seed, "-o", end]
    words += ["--engine", engine]
    code, output = command(*words)
    assert code == 0
    lines = output.splitlines()
    assert lines[0].endswith("spread (eV/Å)")
    assert float(lines[1].split()[-1]) == pytest.approx(
        largest(committee.members[0], atoms), abs=1e-4
    )
    code, output = command(*words, "--stop-above", threshold)
    assert code == 3
    assert "stopped: the committee's forces on " in output
    assert largest(committee.members[0], ase.io.read(end)) > threshold
    code, output = command(*words, "--warn-above", 2, "--stop-above", 1)
    assert code == 2
    assert "is not below stop_above" in output
