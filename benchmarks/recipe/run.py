"""Train what ``changes.py`` lists, each alike but for what it changes, and keep the errors.

    python benchmarks/recipe/run.py [--only reference range_5] [--runs runs/recipe]

Interrupt it at will: what is finished is skipped, what is under way is continued. Errors are those
on the validation structures; no test set is read.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import ase
import ase.io
import torch
from changes import CHANGES, DATA, EXTREMES, RESULTS, ROOT, settings
from tqdm import tqdm

from se3set_mlip.training import train, training_config_from_dict


def write_sorted() -> None:
    """Write files to train on, beyond which others lie, by energy and by the shortest O-H distance.

    What a model does on the others shows how it goes on beyond its training data.
    """
    frames = ase.io.read(DATA / "train_300K.xyz", ":")
    EXTREMES.mkdir(parents=True, exist_ok=True)
    frames.sort(key=lambda frame: frame.get_potential_energy())
    ase.io.write(EXTREMES / "low.xyz", frames[:400])
    ase.io.write(EXTREMES / "high.xyz", frames[400:])
    frames.sort(key=shortest_bond)
    ase.io.write(EXTREMES / "short.xyz", frames[:80])
    ase.io.write(EXTREMES / "long.xyz", frames[80:])


def shortest_bond(frame: ase.Atoms) -> float:
    """Return the shortest O-H distance in Å."""
    distances = frame.get_all_distances()[frame.numbers == 8][:, frame.numbers == 1]
    return float(distances.min())


def run_one(name: str, folder: Path) -> dict[str, object]:
    """Train one experiment, or continue it, and return what is kept of it."""
    config = training_config_from_dict(settings(name, folder))
    cpu = time.process_time()
    resumed = folder.exists()
    result = train(config, resume=resumed, echo=tqdm.write)
    cpu = time.process_time() - cpu
    report = json.loads(Path(result.report).read_text(encoding="utf-8"))
    best = report["errors"]["validation"]
    about, changed = CHANGES[name]
    return {
        "name": name,
        "about": about,
        "changed": changed,
        "parameters": report["parameters"],
        "epochs": report["epochs"],
        "steps": report["steps"],
        "energy_rmse_mev": best["energy_rmse_mev"],
        "force_rmse_mev_per_angstrom": best["force_rmse_mev_per_angstrom"],
        "training_force_rmse_mev_per_angstrom": report["errors"]["training"][
            "force_rmse_mev_per_angstrom"
        ],
        "wall_time_s": report["wall_time_s"],
        "cpu_time_s": None if resumed else cpu,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} thread(s) of a shared machine",
    }


def main() -> None:
    """Train what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=CHANGES, default=list(CHANGES))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "recipe")
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    write_sorted()
    for name in tqdm(options.only, unit="experiment"):
        path = RESULTS / f"{name}.json"
        if path.exists():
            continue
        row = run_one(name, options.runs / name)
        text = json.dumps(row, indent=2).replace(f"{ROOT}/", "")
        path.write_text(f"{text}\n", encoding="utf-8")
        tqdm.write(
            f"{name}: {row['energy_rmse_mev']:.2f} meV, "
            f"{row['force_rmse_mev_per_angstrom']:.2f} meV/Å, {row['wall_time_s']:.0f} s"
        )


if __name__ == "__main__":
    main()
