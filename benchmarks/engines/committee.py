"""Train a committee at 300 K, and see whether its spread tells where it errs at 300 K and 600 K.

    python benchmarks/engines/committee.py [--members 4] [--epochs 20] [--bootstrap]

Trains small models of acetylacetone that differ in their seed, and with ``--bootstrap`` also in
what they learn: as many structures as there are, drawn with replacement. Interrupt it at will:
models that are finished are skipped, the one under way is continued. Then the mean and the spread
are compared with both test sets. Writes ``results/committee.json``, ``docs/pictures/committee.png``
and the table in ``docs/uncertainty.md``; with ``--output FOLDER``, the first two go there and no
page is changed.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
from calibration import Comparison, contrast, draw, summary, table
from tqdm import tqdm

import se3set_mlip as s3
from se3set_mlip.potential.committee import Committee
from se3set_mlip.training import train, training_config_from_dict

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import write_between_markers
from provenance import provenance
from recipe.best import RECIPE, merged

ROOT = Path(__file__).parents[2]
DATA = ROOT / "benchmarks" / "acetylacetone" / "data"
TRAINING = DATA / "train_300K.xyz"
TESTS = {"300 K": DATA / "test_MD_300K.xyz", "600 K": DATA / "test_MD_600K.xyz"}
RESULTS = Path(__file__).parent / "results"
PICTURES = ROOT / "docs" / "pictures"
PAGE = ROOT / "docs" / "uncertainty.md"
N_VALIDATION = 50
SPLIT_SEED = 1
BATCH = 25
MODEL = {"size": "small", "elements": [1, 6, 8]}


def write_data(folder: Path, *, structures: int, seed: int, bootstrap: bool) -> dict[str, Any]:
    """Write what one member learns from, and the validation set, which is the same for all."""
    frames = ase.io.read(TRAINING, ":")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(frames))
    held_out, learned = np.split(order, [min(N_VALIDATION, structures)])
    learned = learned[:structures]
    if bootstrap:
        learned = np.random.default_rng(1000 + seed).choice(learned, size=len(learned))
    folder.mkdir(parents=True, exist_ok=True)
    files = {"train_files": folder / "train.xyz", "validation_files": folder / "validation.xyz"}
    for path, chosen in zip(files.values(), (learned, held_out), strict=True):
        if not path.exists():
            ase.io.write(path, [frames[index] for index in chosen])
    return {name: [str(path)] for name, path in files.items()}


def train_member(folder: Path, data: dict[str, Any], *, seed: int, epochs: int) -> dict[str, Any]:
    """Train one member, continue it, or read what it came to."""
    report = folder / "report.json"
    if not report.exists():
        settings = {
            "data": data,
            "potential": {"model": MODEL},
            "optimizer": {"epochs": epochs},
            "run": {
                "output_dir": str(folder),
                "seed": seed,
                "threads": 1,
                "plots": False,
                "validate_every_epochs": min(5, epochs),
                "checkpoint_every_epochs": 2,
            },
        }
        config = training_config_from_dict(merged(RECIPE, settings))
        train(config, resume=(folder / "training_config.json").exists(), echo=tqdm.write)
    found = json.loads(report.read_text(encoding="utf-8"))
    errors = found["errors"]["validation"]
    return {
        "seed": seed,
        "energy_rmse_mev": errors["energy_rmse_mev"],
        "force_rmse_mev_per_angstrom": errors["force_rmse_mev_per_angstrom"],
        "wall_time_s": found["wall_time_s"],
    }


def compare(committee: Committee, frames: list[ase.Atoms], name: str) -> Comparison:
    """Evaluate a committee on labelled structures of one molecule."""
    energies, energy_std, forces, force_std = [], [], [], []
    with tqdm(total=len(frames), desc=name, unit="structure") as bar:
        for start in range(0, len(frames), BATCH):
            batch = frames[start : start + BATCH]
            for frame, found in zip(batch, committee.evaluate(batch), strict=True):
                energies.append(found.energy - frame.get_potential_energy())
                forces.append(np.linalg.norm(found.forces - frame.get_forces(), axis=1))
                energy_std.append(found.energy_std)
                force_std.append(found.forces_std_norm)
            bar.update(len(batch))
    return Comparison(
        energy_std=np.array(energy_std),
        energy_error=np.array(energies),
        force_std=np.array(force_std),
        force_error=np.array(forces),
    )


def main() -> None:
    """Train what is not there yet, evaluate, and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--bootstrap", action="store_true")
    parser.add_argument("--structures", type=int, default=450, help="to train on; for a trial")
    parser.add_argument("--test-structures", type=int, help="of each test set; for a trial")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "committee")
    parser.add_argument("--output", type=Path, help="folder for JSON and picture; for a trial")
    options = parser.parse_args()
    kind = f"{options.epochs}_{options.structures}{'_bootstrap' if options.bootstrap else ''}"
    rows, models = [], []
    for seed in tqdm(range(1, options.members + 1), unit="member"):
        place = options.runs / kind / str(seed)
        data = write_data(
            place / "data", structures=options.structures, seed=seed, bootstrap=options.bootstrap
        )
        rows.append(train_member(place / "run", data, seed=seed, epochs=options.epochs))
        models.append(place / "run" / "best.safetensors")
    committee = Committee([s3.load(path) for path in models])
    found = {
        name: compare(committee, ase.io.read(path, ":")[: options.test_structures], name)
        for name, path in TESTS.items()
    }
    summaries = {name: summary(comparison) for name, comparison in found.items()}
    rise = contrast(found["300 K"], found["600 K"])
    result = {
        "members": rows,
        "epochs": options.epochs,
        "structures": options.structures,
        "bootstrap": options.bootstrap,
        "model": MODEL,
        "test_sets": summaries,
        "600 K against 300 K": rise,
        **provenance(),
    }
    name = "committee_bootstrap" if options.bootstrap else "committee"
    results, pictures = options.output or RESULTS, options.output or PICTURES
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    draw(found, pictures / f"{name}.png", threshold=rise["threshold_ev_per_angstrom"])
    print(table(summaries))
    print(json.dumps(rise, indent=2))
    if options.output is None:
        write_between_markers(PAGE, name, table(summaries))


if __name__ == "__main__":
    main()
