"""The test structures, read once: errors of the best checkpoint of each finished run.

A run that has its errors in ``test.json`` is not asked again. Ours are asked by `se3set evaluate`.
MACE saves the weights of its best epoch and not the model, so it is started once more with that
checkpoint and no epochs, which writes the model, and `mace_eval_configs` asks it.
"""

import hashlib
import json
import shutil
import subprocess
import time
from pathlib import Path

import ase.io
import numpy as np
import yaml
from logs import best_checkpoint_of_mace
from subjects import MACE, MACE_BIN, program
from systems import System, read
from tqdm import tqdm

KINDS = tuple(
    f"{what}_{measure}_{unit}"
    for what, unit in (("energy", "mev"), ("energy", "mev_per_atom"), ("force", "mev_per_angstrom"))
    for measure in ("rmse", "mae")
)
"""Names of errors, as `se3set evaluate` writes them."""


def call(command: list[str], output: Path) -> None:
    """Run a command, its words in a file."""
    with output.open("wb") as stream:
        subprocess.run(command, check=True, stdout=stream, stderr=subprocess.STDOUT)


def errors_of_ours(run: Path, structures: Path, system: System, subject: str) -> dict[str, float]:
    """Return the errors of one of ours."""
    path = run / "evaluated.json"
    command = [*program(subject), "evaluate", str(run / "run" / "best.safetensors")]
    options = ["--json", str(path), "--batch-size", str(system.batch_to_evaluate)]
    call([*command, str(structures), *options], run / "test.txt")
    found = json.loads(path.read_text(encoding="utf-8"))
    return {kind: found[kind] for kind in KINDS}


def model_of_mace(run: Path) -> Path:
    """Write the model of MACE's best checkpoint, once, and return the file."""
    checkpoint = best_checkpoint_of_mace(run)
    folder = run / "export"
    tag = checkpoint.name.partition("_epoch-")[0]
    model = folder / "checkpoints" / f"{tag}.model"
    if model.exists():
        return model
    settings = yaml.safe_load((run / "settings.yaml").read_text(encoding="utf-8"))
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "checkpoints").mkdir(parents=True)
    shutil.copy(checkpoint, folder / "checkpoints" / f"{tag}_epoch-0.pt")
    settings |= {"work_dir": str(folder), "restart_latest": True, "max_num_epochs": 0}
    settings["swa"] = False
    del settings["start_swa"]
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    call([str(MACE_BIN / "mace_run_train"), "--config", str(path)], folder / "output.txt")
    return model


def errors_of_mace(
    run: Path, structures: Path, system: System, mean_energy: float
) -> dict[str, float]:
    """Return the errors of MACE, whose energies are relative to a mean (eV)."""
    predicted = run / "predicted.xyz"
    command = [str(MACE_BIN / "mace_eval_configs"), "--default_dtype", "float32"]
    options = ["--batch_size", str(system.batch_to_evaluate), "--model", str(model_of_mace(run))]
    paths = ["--configs", str(structures), "--output", str(predicted)]
    call([*command, *options, *paths], run / "test.txt")
    pairs = list(zip(ase.io.read(structures, ":"), ase.io.read(predicted, ":"), strict=True))
    energies, forces = [], []
    for label, answer in pairs:
        energies.append(answer.info["MACE_energy"] + mean_energy - label.info["REF_energy"])
        forces.append(answer.arrays["MACE_forces"] - label.arrays["REF_forces"])
    energy = 1e3 * np.array(energies)
    values = [
        float(measure)
        for errors in (energy, energy / system.n_atoms, 1e3 * np.array(forces))
        for measure in (np.sqrt(np.mean(errors**2)), np.mean(np.abs(errors)))
    ]
    return dict(zip(KINDS, values, strict=True))


def test(system: System, folder: Path) -> None:
    """Read the test structures for every finished run that has no test errors yet."""
    structures, files = {}, {}
    for name, file in system.tests.items():
        frames = read(system, file)
        structures[name] = folder / "absolute" / file
        ase.io.write(structures[name], frames, format="extxyz")
        content = hashlib.sha256((system.folder / file).read_bytes()).hexdigest()
        files[name] = {"file": file, "structures": len(frames), "sha256": content}
    data = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    runs = [path.parent for path in sorted(folder.glob("*/run.json"))]
    for run in tqdm([run for run in runs if not (run / "test.json").exists()], unit="run"):
        subject = json.loads((run / "run.json").read_text(encoding="utf-8"))["subject"]
        errors = {
            name: errors_of_mace(run, path, system, data["mean_energy_ev"])
            if subject == MACE
            else errors_of_ours(run, path, system, subject)
            for name, path in structures.items()
        }
        read_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        found = {"read": read_at, "files": files, "errors": errors}
        (run / "test.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
