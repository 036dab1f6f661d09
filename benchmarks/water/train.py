"""Ours and MACE learn water side by side: the same frames, one core each, for the same time.

    python benchmarks/water/train.py --minutes 120
    python benchmarks/water/train.py --minutes 120 --only ours
    python benchmarks/water/train.py --only-report

Reads what ``prepare.py`` wrote. First both run for a minute side by side, and from the time of a
step each gets as many epochs as fit, so that its schedule ends within the time. A program that is
still training when the time is over is stopped. The same command continues what was interrupted.
The validation errors of the averaged weights are drawn as time goes by; no test frame is read. MACE
runs in the environment of ``benchmarks/trust/README.md``.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from programs import MACE_TRAIN, ROOT, command, n_epochs, progress, seconds_per_step, trained
from provenance import provenance
from recipe import mace_settings, training_settings
from tqdm import tqdm

HERE = Path(__file__).parent
USED_FRACTION = 0.9  # of the time is planned for; the rest is for steps that take longer
VALIDATION_COST = 0.4  # of a step, for each frame
GRACE_MINUTES = 30.0  # to read data before, and to evaluate and write files after training
NAMES = ("ours", "mace")


def settings_of(name: str, options: argparse.Namespace, place: Path, epochs: int) -> dict[str, Any]:
    """Return the settings of a program."""
    if name == "mace":
        return mace_settings(options.data, place, seed=options.seed, epochs=epochs)
    return training_settings(
        options.data,
        place / "run",
        size=options.size,
        channels=options.channels,
        seed=options.seed,
        epochs=epochs,
        minutes=options.minutes,
    )


def side_by_side(
    commands: dict[str, list[str]], places: dict[str, Path], minutes: float
) -> dict[str, int]:
    """Run programs at the same time, a core each, and stop what trains too long; exit codes."""
    cores = sorted(os.sched_getaffinity(0))
    if len(commands) > len(cores):
        sys.exit(f"{len(commands)} programs need as many cores, there are {len(cores)}")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    running = {}
    for (name, start), core in zip(commands.items(), cores, strict=False):
        with (places[name] / "output.txt").open("a") as output:
            running[name] = subprocess.Popen(
                ["taskset", "-c", str(core), *start],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )
    begun = time.monotonic()
    try:
        with tqdm(total=minutes, unit="min") as bar:
            while any(process.poll() is None for process in running.values()):
                time.sleep(1.0)
                passed = (time.monotonic() - begun) / 60.0
                bar.update(round(min(passed, bar.total) - bar.n, 2))
                for name, process in running.items():
                    # Ours keeps to its time by itself, and evaluates what it has then.
                    late = name == "mace" and progress(name, places[name])[0] > minutes
                    late = late and not trained(name, places[name])
                    if process.poll() is None and (late or passed > minutes + GRACE_MINUTES):
                        process.send_signal(signal.SIGTERM)
    finally:
        for process in running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait()
    return {name: process.returncode for name, process in running.items()}


def calibrate(options: argparse.Namespace, folder: Path) -> dict[str, int]:
    """Measure a step of each program while all run, and return the epochs that fit."""
    shutil.rmtree(folder, ignore_errors=True)
    n_train, n_validation = (
        (options.data / f"{part}.xyz").read_text(encoding="utf-8").count("Lattice=")
        for part in ("train", "validation")
    )
    places = {name: folder / name for name in options.only}
    commands = {}
    for name, place in places.items():
        settings = settings_of(name, options, place, 1_000_000)
        if name == "ours":
            settings["data"] |= {"n_train": 4}
            settings["optimizer"] |= {"max_wall_time_minutes": options.calibrate_minutes}
            rarely = {"validate_every_epochs": 10**6, "checkpoint_every_epochs": 10**6}
            settings["run"] |= rarely
        commands[name] = command(name, settings, place)
    side_by_side(commands, places, options.calibrate_minutes)
    epochs = {}
    for name, place in places.items():
        step = seconds_per_step(name, place)
        epoch = step * (n_train + VALIDATION_COST * n_validation)
        epochs[name] = int(USED_FRACTION * 60.0 * options.minutes / epoch)
        print(f"{name}: {step:.3f} s a step, {epoch / 60.0:.1f} min an epoch: {epochs[name]}")
        if epochs[name] < 1:
            sys.exit(f"{name} does not finish an epoch in {options.minutes} min; give it more")
    return epochs


def run(options: argparse.Namespace) -> None:
    """Train, or continue, what is not finished."""
    places = {name: options.runs / place_name(name, options) for name in options.only}
    places = {name: place for name, place in places.items() if not trained(name, place)}
    epochs = {name: n_epochs(place) for name, place in places.items()}
    if not all(epochs.values()):
        epochs = calibrate(options, options.runs / "calibration") | {
            name: number for name, number in epochs.items() if number
        }
    commands = {}
    for name, place in places.items():
        if progress(name, place)[0] > options.minutes:
            print(f"{name}: its {options.minutes} min are over, before its last epoch")
            continue
        commands[name] = command(name, settings_of(name, options, place, epochs[name]), place)
    if commands:
        codes = side_by_side(commands, places, options.minutes)
        for name, code in codes.items():
            state = "trained" if trained(name, places[name]) else "NOT all epochs"
            print(f"{name}: {state}, exit code {code}, output in {places[name]}/output.txt")


def place_name(name: str, options: argparse.Namespace) -> str:
    """Return the name of the folder of a run."""
    size = f"{options.size}-{options.channels}" if options.channels else options.size
    kind = f"{name}-{size}" if name == "ours" else name
    return f"{kind}-{options.minutes:g}min-{options.seed}"


def report(folder: Path, results: Path) -> None:
    """Write the curves of all runs as JSON, draw them, and print the last errors."""
    runs = {}
    for place in sorted(folder.glob("*min-*")):
        minutes, curve = progress(place.name.partition("-")[0], place)
        if curve:
            runs[place.name] = {
                "epochs_planned": n_epochs(place),
                "minutes": minutes,
                "validation": [row._asdict() for row in curve],
            }
            print(f"{place.name}: {curve[-1]}")
    if not runs:
        sys.exit(f"no run in {folder} has validated yet")
    results.mkdir(exist_ok=True)
    about = {"data": "water_pbe0ts_400.npz, validation frames", "runs": runs} | provenance()
    (results / "training.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name, found in runs.items():
        rows = np.array([list(row.values()) for row in found["validation"]])
        axes[0].plot(rows[:, 0], rows[:, 3], ".-", label=name)
        axes[1].plot(rows[:, 0], rows[:, 2], ".-", label=name)
    for axis, label in zip(axes, ("force RMSE, meV/Å", "energy RMSE, meV/atom"), strict=True):
        axis.set(xlabel="training time, minutes", ylabel=label, yscale="log")
        axis.grid(alpha=0.3, which="both")
    axes[0].legend()
    figure.savefig(results / "training.png", dpi=120)


def main() -> None:
    """Train and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--size", default="small", help="of ours")
    parser.add_argument("--channels", type=int, help="of ours, instead of those of the size")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calibrate-minutes", type=float, default=1.0)
    parser.add_argument("--data", type=Path, default=ROOT / "runs" / "water" / "data")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "water")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--only-report", action="store_true")
    options = parser.parse_args()
    options.data, options.runs = options.data.resolve(), options.runs.resolve()
    if not options.only_report:
        if not (options.data / "train.xyz").exists():
            sys.exit(f"there is no train.xyz in {options.data}; run prepare.py first")
        if "mace" in options.only and not MACE_TRAIN.exists():
            sys.exit(f"there is no {MACE_TRAIN}; make it as benchmarks/trust/README.md says")
        run(options)
    report(options.runs, options.results)


if __name__ == "__main__":
    main()
