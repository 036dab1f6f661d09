"""Equal compute: this package and MACE learn the same structures, one core each, side by side.

    python benchmarks/equal_compute/compare.py --minutes 60
    python benchmarks/equal_compute/compare.py --only-report

Both get the 450 structures of acetylacetone at 300 K to train on and the same 50 to validate on
(``benchmarks/acetylacetone``, split seed 1), start at the same moment, each on one core of the same
machine, and are stopped when the time is over. MACE runs in the environment of
``benchmarks/speed/README.md``. What is compared is the validation error as time goes by, of the
averaged weights of each; no test set is read.
"""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import numpy as np
import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DATA = ROOT / "benchmarks" / "acetylacetone" / "data" / "train_300K.xyz"
N_VALIDATION, SPLIT_SEED = 50, 1
N_ATOMS = 15
CONFIGS = {"ours-small": "ours_small.yaml", "ours-medium": "ours_medium.yaml", "mace": "mace.yaml"}


def split(folder: Path) -> dict[str, Path]:
    """Write the structures to train and to validate on, and return the files."""
    frames = ase.io.read(DATA, ":")
    held_out = set(np.random.default_rng(SPLIT_SEED).permutation(len(frames))[:N_VALIDATION])
    parts: dict[str, list[ase.Atoms]] = {"train": [], "validation": []}
    for k, frame in enumerate(frames):
        plain = ase.Atoms(frame.numbers, frame.positions)
        plain.info["REF_energy"] = frame.get_potential_energy()
        plain.arrays["REF_forces"] = frame.get_forces()
        parts["validation" if k in held_out else "train"].append(plain)
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{name}.xyz" for name in parts}
    for name, path in files.items():
        ase.io.write(path, parts[name], format="extxyz")
    return files


def command(name: str, files: dict[str, Path], folder: Path, seed: int) -> list[str]:
    """Write the settings of a program with its files, and return how it is started."""
    settings = yaml.safe_load((HERE / CONFIGS[name]).read_text(encoding="utf-8"))
    path = folder / "settings.yaml"
    folder.mkdir(parents=True)
    if name == "mace":
        settings |= {
            "name": "mace",
            "work_dir": str(folder),
            "train_file": str(files["train"]),
            "valid_file": str(files["validation"]),
            "seed": seed,
        }
        program = [str(ROOT / ".venvs" / "mace" / "bin" / "mace_run_train"), "--config", str(path)]
    else:
        settings["data"] |= {
            "train_files": str(files["train"]),
            "validation_files": str(files["validation"]),
        }
        settings["run"] |= {"output_dir": str(folder / "run"), "seed": seed}
        program = [str(Path(sys.executable).parent / "se3set"), "train", str(path)]
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return program


def run(names: list[str], minutes: float, folder: Path, seed: int) -> None:
    """Train all at the same time, each on a core of its own, for so many minutes."""
    cores = sorted(os.sched_getaffinity(0))
    if len(names) > len(cores):
        sys.exit(f"{len(names)} programs need as many cores, there are {len(cores)}")
    files = split(folder)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    running = {}
    for name, core in zip(names, cores, strict=False):
        place = folder / f"{name}-{seed}"
        start = command(name, files, place, seed)
        with (place / "output.txt").open("w") as output:
            running[name] = subprocess.Popen(
                ["taskset", "-c", str(core), *start],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        (place / "started").write_text(str(time.time()))
    end = time.monotonic() + 60.0 * minutes
    try:
        while time.monotonic() < end and any(p.poll() is None for p in running.values()):
            time.sleep(1.0)
    finally:
        for process in running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in running.values():
            process.wait()
    for name, process in running.items():
        print(f"{name}: exit code {process.returncode}; output in {folder / f'{name}-{seed}'}")


def curve_of_ours(folder: Path) -> list[tuple[float, float, float]]:
    """Return (minutes, energy RMSE in meV, force RMSE in meV/Å) of each validation."""
    with (folder / "run" / "log.csv").open(encoding="utf-8") as stream:
        rows = [
            row for row in csv.DictReader(stream) if row["validation_force_rmse_mev_per_angstrom"]
        ]
    return [
        (
            float(row["wall_time_s"]) / 60.0,
            float(row["validation_energy_rmse_mev_per_atom"]) * N_ATOMS,
            float(row["validation_force_rmse_mev_per_angstrom"]),
        )
        for row in rows
    ]


def curve_of_mace(folder: Path) -> list[tuple[float, float, float]]:
    """Return the same from the log of MACE: the time is that of its steps and validations."""
    seconds, found = 0.0, []
    (log,) = (folder / "results").glob("*_train.txt")
    for line in log.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        seconds += entry["time"]
        if entry["mode"] == "eval" and entry["epoch"] is not None:
            energy = 1e3 * entry["rmse_e_per_atom"] * N_ATOMS
            found.append((seconds / 60.0, energy, 1e3 * entry["rmse_f"]))
    return found


def report(folder: Path, results: Path) -> None:
    """Write the curves as JSON, draw them, and print the errors at some times."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - optional

    curves = {
        place.name: (curve_of_mace if place.name.startswith("mace") else curve_of_ours)(place)
        for place in sorted(folder.iterdir())
        if (place / "started").exists()
    }
    results.mkdir(exist_ok=True)
    (results / "curves.json").write_text(json.dumps(curves, indent=1) + "\n", encoding="utf-8")
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name, curve in curves.items():
        minutes, energy, force = np.array(curve).T
        axes[0].plot(minutes, force, label=name)
        axes[1].plot(minutes, energy, label=name)
    for axis, label in zip(axes, ("force RMSE, meV/Å", "energy RMSE, meV"), strict=True):
        axis.set(xlabel="training time, minutes", ylabel=label, yscale="log")
        axis.grid(alpha=0.3, which="both")
    axes[0].legend()
    figure.savefig(results / "curves.png", dpi=120)
    print("| run | " + " | ".join(f"{m} min" for m in (5, 10, 20, 30, 45, 60)) + " |")
    for name, curve in curves.items():
        shown = []
        for limit in (5, 10, 20, 30, 45, 60):
            before = [row for row in curve if row[0] <= limit]
            lasted = curve[-1][0] >= 0.9 * limit  # nothing is known of times after the end
            shown.append(f"{before[-1][2]:.1f}, {before[-1][1]:.1f}" if before and lasted else "")
        print(f"| {name} | " + " | ".join(shown) + " |")


def main() -> None:
    """Train and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--only", nargs="+", choices=CONFIGS, default=["ours-small", "mace"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "equal_compute")
    parser.add_argument("--only-report", action="store_true")
    options = parser.parse_args()
    if not options.only_report:
        run(options.only, options.minutes, options.runs, options.seed)
    report(options.runs, HERE / "results")


if __name__ == "__main__":
    main()
