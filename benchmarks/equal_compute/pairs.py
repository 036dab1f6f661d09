"""Runs two at a time, one core each: a probe, then as many epochs as fit into the time.

Where this process may use one core only (``taskset -c 1 python compare.py ...``), one at a time.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from logs import probed, seconds_of_mace
from subjects import MACE, MACE_BIN, start_mace, start_ours
from systems import ROOT, System
from tqdm import tqdm

sys.path.insert(0, str(ROOT / "benchmarks"))
from provenance import provenance

USED_PART, SLACK, PROBE_MINUTES, POLL_SECONDS = 0.9, 1.5, 20.0, 5.0
"""The part of the time that the epochs are chosen to fill; how many times the time a run may take
with its start and end; the most that a probe may take; how often is looked."""
ENDED = (0, 3, -signal.SIGTERM)
"""Exit codes: all epochs, time over (ours), stopped as time was over (MACE)."""
VERSIONS = "from importlib.metadata import version as v; print(v('torch'), v('mace-torch'))"
Run = tuple[str, int]
"""A subject and its seed."""


@dataclass(frozen=True)
class Contest:
    """A system, how many structures there are of each kind, the minutes, the folder of runs."""

    system: System
    structures: dict[str, int]
    minutes: float
    folder: Path

    def place(self, run: Run) -> Path:
        """Return the folder of a run."""
        return self.folder / f"{run[0]}-{run[1]}"

    def finished(self, run: Run) -> bool:
        """Return whether a run is finished."""
        return (self.place(run) / "run.json").exists()

    def pairs(self, names: list[str], seed: int) -> list[list[Run]]:
        """Return what is not finished, in pairs, or one by one where there is one core."""
        left = [(name, seed) for name in names if not self.finished((name, seed))]
        if len(os.sched_getaffinity(0)) == 1:
            return [[run] for run in left]
        if len(left) % 2:
            company = seed + 1
            while self.finished((names[0], company)):
                company += 1
            left.append((names[0], company))
        return [left[k : k + 2] for k in range(0, len(left), 2)]

    def start(
        self, run: Run, folder: Path, *, epochs: int | None, core: int
    ) -> "subprocess.Popen[bytes]":
        """Start a run, or with no epochs its probe, in a folder, on a core of its own."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        name, seed = run
        command = (start_mace if name == MACE else partial(start_ours, name, minutes=self.minutes))(
            self.system, self.folder, folder, seed=seed, epochs=epochs
        )
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        with (folder / "output.txt").open("wb") as output:
            return subprocess.Popen(
                ["taskset", "-c", str(core), *command],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def fitting_epochs(self, run: Run, probe: Path) -> dict[str, Any]:
        """Return how many epochs fit, and the times of a step and of a validation, s."""
        step, validation, steps = probed(run[0], probe)
        each = step * steps * self.structures["train"] / self.structures["probe"] + validation
        epochs = int(USED_PART * 60 * self.minutes / each)
        if epochs < 2:
            sys.exit(f"{run[0]} needs {each / 60:.1f} minutes for an epoch; give more --minutes")
        return {"epochs": epochs, "probed_step_s": step, "probed_validation_s": validation}

    def train(self, pair: list[Run]) -> None:
        """Probe two runs (or one), then train them, side by side."""
        cores = dict(zip(pair, sorted(os.sched_getaffinity(0)), strict=False))
        probes = {run: self.folder / "probes" / self.place(run).name for run in pair}
        shown = " and ".join(self.place(run).name for run in pair)
        started = {
            probes[run]: self.start(run, probes[run], epochs=None, core=cores[run]) for run in pair
        }
        wait(started, PROBE_MINUTES, about=f"probe {shown}")
        chosen = {run: self.fitting_epochs(run, probes[run]) for run in pair}
        running = {
            self.place(run): self.start(
                run, self.place(run), epochs=chosen[run]["epochs"], core=cores[run]
            )
            for run in pair
        }
        took = wait(running, self.minutes, about=shown)
        failed = []
        for run, found in chosen.items():
            mine, code = self.place(run), running[self.place(run)].returncode
            if code not in ENDED:
                failed.append(f"{mine.name} ended with exit code {code}: see {mine / 'output.txt'}")
                continue
            record = {"subject": run[0], "seed": run[1], "minutes": self.minutes, **found}
            record |= {
                "wall_time_s": took[mine],
                "exit_code": code,
                "beside": [self.place(other).name for other in pair if other != run],
                **provenance(),
            }
            if run[0] == MACE:
                asked = subprocess.check_output([MACE_BIN / "python", "-c", VERSIONS], text=True)
                record["torch"], record["mace"] = asked.split()
            (mine / "run.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        if failed:
            sys.exit("\n".join(failed))


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
