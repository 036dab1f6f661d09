"""Train every point of ``points.py`` alike and write one JSON file for each.

python benchmarks/sizes/sweep.py [--only c32 --only c64] [--runs runs/sizes]

Interrupt it at will: finished points are skipped, the one under way is continued. Only validation
errors are kept; no test set is read.
"""

import argparse
import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch
from points import ACCURACY, POINTS, ROOT, Point
from tqdm import tqdm

import se3set_mlip
from se3set_mlip.training import TrainingConfig, train, training_config_from_dict

SEED = 1
THREADS = 1


def training_settings(point: Point, folder: Path) -> TrainingConfig:
    """Return the configuration of one training, equal for all but the point's own settings."""
    return training_config_from_dict(
        {
            "data": {
                "train_files": [
                    str(ROOT / "benchmarks" / "acetylacetone" / "data" / "train_300K.xyz")
                ],
                "n_validation": 50,
                "split_seed": 1,
                "energy_scale_ev": 1.0,
            },
            "potential": {"model": point.model, "hypergraph": point.hypergraph},
            "loss": {
                "energy_weight": 100.0,
                "forces_weight": 100.0,
                "stage_two": {"start_fraction": 0.7, "energy_weight": 1000.0},
            },
            "optimizer": {
                "learning_rate": point.learning_rate,
                "method": "adamw",
                "batch_size": 5,
                "epochs": point.epochs,
                "warmup_steps": 200,
                "ema_decay": 0.998,
            },
            "run": {
                "output_dir": str(folder),
                "seed": SEED,
                "threads": THREADS,
                "progress": False,
                "plots": False,
                "validate_every_epochs": 3,
                "checkpoint_every_epochs": 3,
            },
        }
    )


def processor() -> str:
    """Return the name of the processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {len(names)} cores"


def revision() -> str:
    """Return the revision of the package that computes."""
    folder = Path(se3set_mlip.__file__).parent
    command = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def train_point(name: str, point: Point, runs: Path) -> dict[str, Any]:
    """Train one point, or continue it, and return its row."""
    folder = runs / name
    settings = training_settings(point, folder)
    result = train(settings, resume=folder.exists(), echo=tqdm.write)
    report = json.loads(Path(result.report).read_text(encoding="utf-8"))
    best = report["errors"]["validation"]
    lines = (folder / "log.csv").read_text(encoding="utf-8").splitlines()
    last = dict(zip(lines[0].split(","), lines[-1].split(","), strict=True))
    n_atoms = best["energy_rmse_mev"] / best["energy_rmse_mev_per_atom"]
    return {
        "name": name,
        "about": point.about,
        "model": point.model,
        "hypergraph": point.hypergraph,
        "learning_rate": point.learning_rate,
        "parameters": report["parameters"],
        "best": {
            "energy_rmse_mev": best["energy_rmse_mev"],
            "force_rmse_mev_per_angstrom": best["force_rmse_mev_per_angstrom"],
        },
        "last": {
            "energy_rmse_mev": n_atoms * float(last["validation_energy_rmse_mev_per_atom"]),
            "force_rmse_mev_per_angstrom": float(last["validation_force_rmse_mev_per_angstrom"]),
        },
        "structures": report["structures"],
        "epochs": report["epochs"],
        "steps": report["steps"],
        "wall_time_s": report["wall_time_s"],
        "seed": SEED,
        "threads": THREADS,
        "dtype": "float32",
        "torch": torch.__version__,
        "revision": revision(),
        "processor": processor(),
    }


def main() -> None:
    """Train what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=POINTS, help="a point; all by default")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "sizes")
    options = parser.parse_args()
    print(f"package: {se3set_mlip.__file__}")
    ACCURACY.mkdir(parents=True, exist_ok=True)
    for name in tqdm(options.only or list(POINTS), unit="point"):
        path = ACCURACY / f"{name}.json"
        if path.exists():
            continue
        row = train_point(name, POINTS[name], options.runs)
        path.write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")
        best = row["best"]
        tqdm.write(
            f"{name}: {best['energy_rmse_mev']:.2f} meV, "
            f"{best['force_rmse_mev_per_angstrom']:.2f} meV/Å, {row['wall_time_s']:.0f} s"
        )


if __name__ == "__main__":
    main()
