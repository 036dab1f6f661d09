"""Two processes that share every batch take the steps of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from se3set_mlip.configuration import config_to_dict
from se3set_mlip.errors import ConfigError
from se3set_mlip.training import train
from se3set_mlip.training.processes import Processes, device_of_process, launched, speaks
from se3set_mlip.training.state import read_state

TOLERANCE = 1e-10  # float64; sums of shares are rounded in another order

# What each of the launched processes does: one whole run, and one that is broken off twice.
CHILD = """
import os, signal, sys
import click
from se3set_mlip.cli import main
from se3set_mlip.training import loop

def train(*arguments):
    return main(["train", *arguments], standalone_mode=False)

whole, broken, limited = sys.argv[1:]
assert train(whole) is None
assert train(limited) == 3  # the wall-time limit of the first process alone

real = loop.training_step
def interrupted(*arguments, **options):
    if options["step"] == 2 and os.environ["RANK"] == "1":
        signal.raise_signal(signal.SIGTERM)
    return real(*arguments, **options)

loop.training_step = interrupted
try:
    train(broken, "--resume")
except click.Abort:
    print(f"process {os.environ['RANK']} was stopped", flush=True)
loop.training_step = real
assert train(broken, "--resume") is None
"""

# Batches of 3, 3 and 1 structures: in the last one there is nothing to do for the second process.
# AdamW, for it turns differences of rounding into such: with SOAP, axes along which there was no
# gradient yet are chosen by rounding.
OPTIMIZER = {"method": "adamw", "batch_size": 3, "weight_decay": 0.1}
SECTIONS = {
    "data": {"n_train": 7, "n_validation": 3},
    "optimizer": {"epochs": 2, "warmup_steps": 2, **OPTIMIZER},
    "loss": {"stage_two": {"start_fraction": 0.5}},
}


def quiet(_: str) -> None:
    """Say nothing."""


def launch(folder: Path, *arguments: str) -> str:
    """Run CHILD in two processes by torch's launcher; return what they print."""
    script = folder / "child.py"
    script.write_text(CHILD, encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, "--nproc-per-node", "2", str(script), *arguments],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_take_the_steps_of_one(make_config, state_tensors, tmp_path):
    def config(name, **optimizer):
        run = {"output_dir": str(tmp_path / name), "dtype": "float64", "evaluation_batch_size": 2}
        sections = SECTIONS | {"optimizer": SECTIONS["optimizer"] | optimizer}
        return make_config(**sections, run=run)

    def file(name, values):
        path = tmp_path / f"{name}.yaml"  # JSON is YAML
        path.write_text(json.dumps(config_to_dict(values)), encoding="utf-8")
        return str(path)

    alone = train(config("alone"), echo=quiet)
    assert alone.n_steps == 6
    said = launch(
        tmp_path,
        file("whole", config("whole")),
        file("broken", config("broken")),
        file("limited", config("broken", max_wall_time_minutes=0.0)),
    )
    # Only the first process speaks.
    assert said.count("best model: ") == 3
    assert said.count("wall-time limit reached at step 1 of 6") == 1
    assert said.count("continuing at step 1 of 6") == 1
    assert said.count("continuing at step 3 of 6") == 1
    # A signal to one of them stops both.
    assert all(f"process {rank} was stopped" in said for rank in (0, 1))

    expected = state_tensors(tmp_path / "alone")
    whole, broken = state_tensors(tmp_path / "whole"), state_tensors(tmp_path / "broken")
    assert expected.keys() == whole.keys() == broken.keys()
    for name, value in expected.items():
        torch.testing.assert_close(whole[name], value, rtol=TOLERANCE, atol=TOLERANCE, msg=name)
        assert torch.equal(whole[name], broken[name]), name
    rows = [read_state(tmp_path / name)["progress"]["rows"] for name in ("alone", "whole")]
    assert len(rows[0]) == 2
    for first, second in zip(*rows, strict=True):
        assert first == pytest.approx(second | {"wall_time_s": first["wall_time_s"]}, rel=TOLERANCE)
    report = json.loads((tmp_path / "whole" / "report.json").read_text())
    assert report["hardware"]["processes"] == 2
    found = report["errors"]["validation"]["force_rmse_mev_per_angstrom"]
    value = alone.metrics["validation"]["force_rmse_mev_per_angstrom"]
    assert found == pytest.approx(value, rel=TOLERANCE)


def test_without_the_launcher_there_is_one_process():
    assert not launched()
    assert speaks()
    one = Processes()
    values = torch.tensor([1.0, 2.0])
    one.add_up(values)
    assert values.tolist() == [1.0, 2.0]
    assert one.any_of(True, False) == [True, False]
    assert one.gather("a") == ["a"]
    assert one.from_first(lambda: "b") == "b"


def test_each_process_has_a_gpu(monkeypatch):
    second = Processes(rank=1, size=2)
    for name, value in {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert device_of_process("cuda", second) == "cuda:1"
    assert device_of_process("cpu", second) == "cpu"
    assert device_of_process("cuda:3", Processes()) == "cuda:3"
    with pytest.raises(ConfigError, match=r"run\.device = 'cuda:1' with 2 processes; expected"):
        device_of_process("cuda:1", second)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(ConfigError, match="2 processes on a machine where torch sees 1 GPUs"):
        device_of_process("cuda", second)
