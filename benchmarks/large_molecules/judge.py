"""The test structures, read once: errors of the best checkpoint of each finished run.

A run that has its errors in ``results/NAME_test.json`` is not asked again. Ours are asked by
`se3set evaluate`. MACE saves the weights of its best epoch and not the model, so it is started once
more with that checkpoint and no epochs, which writes the model, and `mace_eval_configs` asks it.
"""

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import yaml
from logs import best_checkpoint_of_mace
from subjects import MACE, MACE_BIN, Files, program
from tqdm import tqdm


def errors_of_ours(name: str, run: Path, structures: Path) -> dict[str, float]:
    """Return the errors of one of ours, meV and meV/Å."""
    path = run / "test.json"
    command = [*program(name), "evaluate", str(run / "run" / "best.safetensors"), str(structures)]
    options = ["--json", str(path), "--batch-size", "10"]
    subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)
    found = json.loads(path.read_text(encoding="utf-8"))
    return {
        "energy_rmse_mev": found["energy_rmse_mev"],
        "energy_mae_mev": found["energy_mae_mev"],
        "force_rmse_mev_per_angstrom": found["force_rmse_mev_per_angstrom"],
        "force_mae_mev_per_angstrom": found["force_mae_mev_per_angstrom"],
    }


def model_of_mace(run: Path) -> Path:
    """Write the model of MACE's best checkpoint, and return the file."""
    checkpoint = best_checkpoint_of_mace(run)
    settings = yaml.safe_load((run / "settings.yaml").read_text(encoding="utf-8"))
    folder = run / "export"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "checkpoints").mkdir(parents=True)
    tag = checkpoint.name.partition("_epoch-")[0]
    shutil.copy(checkpoint, folder / "checkpoints" / f"{tag}_epoch-0.pt")
    settings |= {"work_dir": str(folder), "restart_latest": True, "max_num_epochs": 0}
    settings["swa"] = False
    del settings["start_swa"]
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    with (folder / "output.txt").open("wb") as output:
        subprocess.run(
            [str(MACE_BIN / "mace_run_train"), "--config", str(path)],
            check=True,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return folder / "checkpoints" / f"{tag}.model"


def errors_of_mace(run: Path, structures: Path, mean_energy: float) -> dict[str, float]:
    """Return the errors of MACE, whose energies are relative to a mean (eV), meV and meV/Å."""
    predicted = run / "test_predictions.xyz"
    command = [str(MACE_BIN / "mace_eval_configs"), "--default_dtype", "float32"]
    options = ["--batch_size", "10", "--model", str(model_of_mace(run))]
    paths = ["--configs", str(structures), "--output", str(predicted)]
    with (run / "test.txt").open("wb") as output:
        subprocess.run(
            [*command, *options, *paths], check=True, stdout=output, stderr=subprocess.STDOUT
        )
    pairs = list(zip(ase.io.read(structures, ":"), ase.io.read(predicted, ":"), strict=True))
    energies = 1e3 * np.array(
        [
            answer.info["MACE_energy"] + mean_energy - label.info["REF_energy"]
            for label, answer in pairs
        ]
    )
    forces = 1e3 * np.array(
        [answer.arrays["MACE_forces"] - label.arrays["REF_forces"] for label, answer in pairs]
    )
    return {
        "energy_rmse_mev": float(np.sqrt(np.mean(energies**2))),
        "energy_mae_mev": float(np.mean(np.abs(energies))),
        "force_rmse_mev_per_angstrom": float(np.sqrt(np.mean(forces**2))),
        "force_mae_mev_per_angstrom": float(np.mean(np.abs(forces))),
    }


def test(name: str, files: Files, folder: Path, results: Path) -> None:
    """Read the test structures for every finished run that has no test errors yet."""
    structures = files.train.with_name(files.train.name.replace("_train", "_test"))
    path = results / f"{name}_test.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    runs = [run for run in sorted(folder.iterdir()) if (run / "run.json").exists()]
    for run in tqdm([run for run in runs if run.name not in found], unit="run"):
        subject = json.loads((run / "run.json").read_text(encoding="utf-8"))["subject"]
        if subject == MACE:
            errors = errors_of_mace(run, structures, files.mean_energy)
        else:
            errors = errors_of_ours(subject, run, structures)
        found[run.name] = errors | {"read": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
