"""A run that is killed and continued ends with the same weights, to the last bit."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from se3set_mlip.configuration import config_to_dict
from se3set_mlip.errors import ArtifactError, ConfigError
from se3set_mlip.training import loop, train, validation
from se3set_mlip.training.outputs import check_fingerprint
from se3set_mlip.training.state import read_state

# Runs a training and dies by SIGKILL inside call number N of a function that matters.
CHILD = """
import json, os, signal, sys
import torch
from se3set_mlip.training import train, training_config_from_dict
from se3set_mlip.training import state

values, where, number, resume = json.loads(sys.argv[1])
calls = 0

def dying(function):
    def call(*arguments, **options):
        global calls
        result = function(*arguments, **options)
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call

if where == "step":
    torch.optim.AdamW.step = dying(torch.optim.AdamW.step)
else:
    state.torch.save = dying(torch.save)
train(training_config_from_dict(values), resume=resume, echo=lambda line: None)
"""

DATA = {"n_train": 10, "n_validation": 4}
RUN_SECTIONS = {
    "data": DATA,
    "optimizer": {"epochs": 4, "batch_size": 3, "warmup_steps": 3, "learning_rate": 1e-2},
    "loss": {"stage_two": {"start_fraction": 0.5}},
}


def quiet(_: str) -> None:
    """Say nothing."""


def killed_run(config, *, where: str, number: int, resume: bool) -> None:
    """Run a training in another process until it kills itself."""
    arguments = json.dumps([config_to_dict(config), where, number, resume])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, arguments],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr


def rows(folder: Path) -> list[dict[str, str]]:
    """Return the log without the times."""
    with (folder / "log.csv").open(encoding="utf-8") as stream:
        return [
            {name: value for name, value in row.items() if name != "wall_time_s"}
            for row in csv.DictReader(stream)
        ]


def test_killed_runs_end_with_the_same_bits(make_config, state_tensors, tmp_path):
    def config(name):
        run = {"output_dir": str(tmp_path / name), "checkpoint_every_steps": 3}
        return make_config(**RUN_SECTIONS, run=run)

    whole = train(config("whole"), echo=quiet)
    assert whole.finished
    assert whole.n_steps == 4 * len(range(0, 10, 3))

    broken = config("broken")
    folder = tmp_path / "broken"
    # Inside step 6, a step and a half after the last saved state.
    killed_run(broken, where="step", number=6, resume=False)
    assert read_state(folder)["progress"]["step"] == 4
    # Inside the writing of the state at the end of an epoch: the one from its middle must stay.
    killed_run(broken, where="save", number=2, resume=True)
    saved = read_state(folder)["progress"]
    assert (saved["step"], saved["position"]) == (6, 2)
    result = train(broken, resume=True, echo=quiet)
    assert result.finished

    expected, found = (state_tensors(tmp_path / name) for name in ("whole", "broken"))
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    for file in ("best.safetensors", "last.safetensors"):
        first, second = load_file(tmp_path / "whole" / file), load_file(folder / file)
        assert all(torch.equal(first[name], second[name]) for name in first), file
    assert rows(tmp_path / "whole") == rows(folder)
    assert len(rows(folder)) == 4
    first, second = (
        json.loads((tmp_path / name / "report.json").read_text()) for name in ("whole", "broken")
    )
    assert first["best_step"] == second["best_step"]
    assert first["errors"] == second["errors"]


def test_seeds_give_different_weights(make_config, tmp_path):
    def weights(seed, name):
        run = {"output_dir": str(tmp_path / name), "seed": seed}
        result = train(
            make_config(data=DATA, optimizer={"epochs": None, "max_steps": 1}, run=run), echo=quiet
        )
        return load_file(result.output_dir / "last.safetensors")

    first, again, other = weights(1, "a"), weights(1, "b"), weights(2, "c")
    assert all(torch.equal(first[name], again[name]) for name in first)
    differing = {name for name in first if not torch.equal(first[name], other[name])}
    assert any(name.startswith("network.") for name in differing)


def test_random_numbers_of_the_caller_are_left_alone(make_config):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train(make_config(data=DATA, optimizer={"epochs": None, "max_steps": 1}), echo=quiet)
    assert torch.equal(torch.rand(1), expected)


def test_an_interrupt_saves_the_state_and_can_be_continued(make_config, monkeypatch):
    config = make_config(data=DATA, optimizer={"epochs": None, "max_steps": 5})
    real = loop.training_step

    def interrupted(*arguments, **options):
        if options["step"] == 2:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments, **options)

    monkeypatch.setattr(loop, "training_step", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="continue with resume"):
        train(config, echo=quiet)
    assert signal.getsignal(signal.SIGINT) is before
    assert read_state(Path(config.run.output_dir))["progress"]["step"] == 3
    monkeypatch.setattr(loop, "training_step", real)
    said = []
    assert train(config, resume=True, echo=said.append).n_steps == 5
    assert "continuing at step 3 of 5" in said


def test_the_wall_time_limit_stops_and_can_be_lifted(make_config):
    optimizer = {"epochs": None, "max_steps": 5, "max_wall_time_minutes": 0.0}
    result = train(make_config(data=DATA, optimizer=optimizer), echo=quiet)
    assert (result.n_steps, result.finished) == (1, False)
    assert result.best_model.is_file()
    optimizer["max_wall_time_minutes"] = None
    result = train(make_config(data=DATA, optimizer=optimizer), resume=True, echo=quiet)
    assert (result.n_steps, result.finished) == (5, True)


def test_a_kill_between_the_last_step_and_the_report(make_config, monkeypatch):
    config = make_config(data=DATA, optimizer={"epochs": None, "max_steps": 3})
    real = validation.write_report

    def dying(*arguments, **options):
        raise SystemExit(9)

    monkeypatch.setattr(validation, "write_report", dying)
    with pytest.raises(SystemExit):
        train(config, echo=quiet)
    monkeypatch.setattr(validation, "write_report", real)
    result = train(config, resume=True, echo=quiet)
    assert (result.n_steps, result.finished) == (3, True)
    assert len(rows(result.output_dir)) == 1
    assert result.report.is_file()


@pytest.fixture
def finished(make_config):
    """A configuration whose run has ended."""
    config = make_config(data=DATA, optimizer={"epochs": None, "max_steps": 1})
    train(config, echo=quiet)
    return config


def test_folders_that_cannot_be_used(make_config, finished, tmp_path):
    with pytest.raises(ConfigError, match="holds a training run already; resume it"):
        train(finished, echo=quiet)
    with pytest.raises(ConfigError, match="finished after 1 steps; there is nothing to continue"):
        train(finished, resume=True, echo=quiet)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    config = make_config(run={"output_dir": str(foreign)})
    with pytest.raises(ConfigError, match="foreign is not empty, or choose a new folder"):
        train(config, echo=quiet)
    with pytest.raises(ConfigError, match=r"holds no training run \(training_config\.json"):
        train(config, resume=True, echo=quiet)
    config = make_config(run={"output_dir": str(foreign / "thesis.txt")})
    with pytest.raises(ConfigError, match="is a file; name a folder"):
        train(config, echo=quiet)


def test_other_settings_cannot_continue_a_run(make_config):
    optimizer = {"epochs": None, "max_steps": 5, "max_wall_time_minutes": 0.0}
    train(make_config(data=DATA, optimizer=optimizer), echo=quiet)
    other = make_config(data=DATA | {"n_train": 8}, optimizer=optimizer | {"batch_size": 2})
    message = r"data\.n_train was 10, is 8; optimizer\.batch_size was 4, is 2; restore them"
    with pytest.raises(ConfigError, match=message):
        train(other, resume=True, echo=quiet)


def test_settings_that_are_newer_than_a_run_have_their_defaults_in_it():
    old = {"run": {"seed": 1}, "optimizer": {"epochs": 2}}
    new = {"run": {"seed": 1, "initial_energies": True}, "optimizer": {"epochs": 2}}
    check_fingerprint(old, new)
    new["run"]["initial_energies"] = False
    with pytest.raises(ConfigError, match=r"run\.initial_energies was True, is False"):
        check_fingerprint(old, new)


def test_a_broken_state_is_an_error(finished):
    path = Path(finished.run.output_dir) / "state.pt"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactError, match=r"state\.pt is not a readable training state"):
        train(finished, resume=True, echo=quiet)
    torch.save({"version": 99}, path)
    with pytest.raises(ArtifactError, match="version 99, expected 1"):
        train(finished, resume=True, echo=quiet)


def test_code_in_a_state_is_not_run(finished, tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "evil"),))

    torch.save({"version": 1, "progress": Evil()}, Path(finished.run.output_dir) / "state.pt")
    with pytest.raises(ArtifactError, match="not a readable training state"):
        train(finished, resume=True, echo=quiet)
    assert not (tmp_path / "evil").exists()
