"""Same structures, same time, one core each, two at a time: choices of this package, and MACE.

    python benchmarks/large_molecules/compare.py AT-AT --minutes 60 [--only density mace]
    python benchmarks/large_molecules/compare.py AT-AT --minutes 60 --only-report
    python benchmarks/large_molecules/compare.py AT-AT --minutes 60 --test

Each pair first takes a few steps side by side, which tell how many epochs fit into the time, so
that learning rates have fallen when it is over; then it trains side by side. Where the number of
subjects is odd, another seed keeps the last one company. Validation errors over time go to
``results/``; ``--test`` reads the test structures, once, for the best checkpoint of each. Finished
runs are skipped; a pair that was interrupted begins again.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from judge import test
from logs import probed_seconds, seconds_of_mace
from report import report
from subjects import (
    MACE,
    ROOT,
    SUBJECTS,
    Files,
    prepare_files,
    start_mace,
    start_ours,
    steps_per_epoch,
)
from tqdm import tqdm

RUNS = ROOT / "runs" / "large_molecules"
USED_PART, SLACK, PROBE_MINUTES, POLL_SECONDS = 0.9, 1.5, 20.0, 5.0
"""The part of the time that the epochs are chosen to fill; how many times the time a run may take
with its start and end; the most that a probe may take; how often is looked."""
Run = tuple[str, int]
"""A subject and its seed."""


def place(folder: Path, run: Run) -> Path:
    """Return the folder of a run."""
    return folder / f"{run[0]}-{run[1]}"


def paired(names: list[str], seed: int, folder: Path) -> list[list[Run]]:
    """Return what is not finished, in pairs."""

    def finished(run: Run) -> bool:
        return (place(folder, run) / "run.json").exists()

    left = [(name, seed) for name in names if not finished((name, seed))]
    if len(left) % 2:
        company = seed + 1
        while finished((names[0], company)):
            company += 1
        left.append((names[0], company))
    return [left[k : k + 2] for k in range(0, len(left), 2)]


def start(
    run: Run, files: Files, folder: Path, *, epochs: int | None, minutes: float, core: int
) -> "subprocess.Popen[bytes]":
    """Start a run, or with no epochs its probe, in a folder of its own, on a core of its own."""
    name, seed = run
    folder.mkdir(parents=True)
    if name == MACE:
        command = start_mace(files, folder, seed=seed, epochs=epochs)
    else:
        command = start_ours(name, files, folder, seed=seed, epochs=epochs, minutes=minutes)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (folder / "output.txt").open("wb") as output:
        return subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )


def wait(running: dict[Path, Any], minutes: float, *, about: str) -> dict[Path, float]:
    """Wait for runs in their folders; stop what takes too long. Return how long each took, s."""
    began = time.monotonic()
    took: dict[Path, float] = {}
    with tqdm(total=round(60 * minutes), unit="s", desc=about) as bar:
        try:
            while len(took) < len(running):
                time.sleep(POLL_SECONDS)
                past = time.monotonic() - began
                bar.update(min(round(past), bar.total) - bar.n)
                for folder, process in running.items():
                    late = past > 60 * (SLACK * minutes + 10)
                    if folder.name.startswith(MACE):  # ours know the time themselves
                        late = late or seconds_of_mace(folder) > 60 * minutes
                    if late and process.poll() is None:
                        process.terminate()
                        process.wait()
                    if folder not in took and process.poll() is not None:
                        took[folder] = past
        finally:
            for process in running.values():
                if process.poll() is None:
                    process.terminate()
                    process.wait()
    return took


def fitting_epochs(run: Run, files: Files, probe: Path, minutes: float) -> tuple[int, float, float]:
    """Return how many epochs fit, and the times of a step and of a validation, s."""
    step, validation = probed_seconds(run[0], probe)
    each = steps_per_epoch(run[0], files.n_train) * step + validation
    epochs = int(USED_PART * 60 * minutes / each)
    if epochs < 4:
        sys.exit(f"{run[0]} needs {each / 60:.1f} minutes for an epoch; give more --minutes")
    return epochs, step, validation


def train_pair(pair: list[Run], files: Files, folder: Path, minutes: float) -> None:
    """Probe two runs, then train them, side by side."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < len(pair):
        sys.exit(f"{len(pair)} runs need as many cores, there are {len(cores)}")
    probes = {run: folder / "probes" / place(folder, run).name for run in pair}
    for run in pair:
        shutil.rmtree(probes[run], ignore_errors=True)
        shutil.rmtree(place(folder, run), ignore_errors=True)
    shown = " and ".join(place(folder, run).name for run in pair)
    started = {
        probes[run]: start(run, files, probes[run], epochs=None, minutes=minutes, core=core)
        for run, core in zip(pair, cores, strict=False)
    }
    wait(started, PROBE_MINUTES, about=f"probe {shown}")
    chosen = {run: fitting_epochs(run, files, probes[run], minutes) for run in pair}
    running = {
        place(folder, run): start(
            run, files, place(folder, run), epochs=chosen[run][0], minutes=minutes, core=core
        )
        for run, core in zip(pair, cores, strict=False)
    }
    took = wait(running, minutes, about=shown)
    for run, (epochs, step, validation) in chosen.items():
        mine = place(folder, run)
        record = {
            "subject": run[0],
            "seed": run[1],
            "minutes": minutes,
            "epochs": epochs,
            "probed_step_s": step,
            "probed_validation_s": validation,
            "process_s": took[mine],
            "exit_code": running[mine].returncode,
            "beside": [place(folder, other).name for other in pair if other != run],
        }
        (mine / "run.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Train, report, test."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("molecule")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, default=RUNS / "data")
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--only-report", action="store_true")
    parser.add_argument("--test", action="store_true", help="read the test structures, once")
    options = parser.parse_args()
    name = f"{options.molecule}_{options.minutes:g}min"
    folder = options.runs / name
    files = prepare_files(options.molecule, options.data, folder)
    if not (options.only_report or options.test):
        for pair in paired(options.only, options.seed, folder):
            train_pair(pair, files, folder, options.minutes)
            report(name, files, folder, options.results)
    report(name, files, folder, options.results)
    if options.test:
        test(name, files, folder, options.results)


if __name__ == "__main__":
    main()
