"""Learning curves: errors on validation molecules against geometries learned, and against steps.

    train="python benchmarks/organic/train.py --size small --batch-pairs 2750"
    for n in 1164 4656; do $train --n-train $n --steps 4000; done
    for steps in 1000 2000 4000 8000; do $train --steps $steps; done
    python benchmarks/organic/curve.py

Reads the reports of the runs in ``runs/organic``; writes ``results/curve.json`` and ``.png``. Runs
that are in the results and no longer in the folder are kept. Curves are of runs from random
weights; those that go on from a trained potential are drawn by themselves.
"""

import argparse
import csv
import json
import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter, ScalarFormatter
from molecules import FILE
from subjects import RESULTS, write_result

RUN = re.compile(
    r"(?P<size>[a-z]+)_(?P<number>all|\d+)_(?P<length>\d+(?:steps)?)_(?P<seed>\d+)(?:_from_(?P<initial>.+))?"
)


def gather(folder: Path) -> list[dict[str, Any]]:
    """Return a row for each run that has ended."""
    rows = []
    for path in sorted(folder.glob("*/report.json")):
        found = RUN.fullmatch(path.parent.name)
        if found is None:
            continue
        report = json.loads(path.read_text(encoding="utf-8"))
        with (path.parent / "log.csv").open(encoding="utf-8") as stream:
            log = list(csv.DictReader(stream))
        validation = report["errors"]["validation"]
        rows.append(
            {
                "size": found["size"],
                "geometries": report["structures"]["training"],
                "length": found["length"],
                "steps": report["steps"],
                "seed": int(found["seed"]),
                "initial": found["initial"],
                "minutes": float(log[-1]["wall_time_s"]) / 60.0,
                "force_mae": validation["force_mae_mev_per_angstrom"],
                "energy_mae_per_atom": validation["energy_mae_mev_per_atom"],
                "training_force_mae": report["errors"]["training"]["force_mae_mev_per_angstrom"],
                "by_epoch": [float(row["validation_force_mae_mev_per_angstrom"]) for row in log],
            }
        )
    return sorted(rows, key=lambda row: (row["size"], row["length"], row["geometries"]))


def identity(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return what tells a run from others."""
    return tuple(row[name] for name in ("size", "length", "seed", "initial", "geometries"))


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw errors against geometries at as many steps, and against steps with all geometries."""
    fresh = [row for row in rows if not row["initial"] and row["length"].endswith("steps")]
    largest = max((row["geometries"] for row in fresh), default=0)
    lengths = [row["steps"] for row in fresh if row["geometries"] < largest]
    most = max(lengths, default=0)
    measures = {"force_mae": "force MAE, meV/Å", "energy_mae_per_atom": "energy MAE, meV/atom"}
    figure, axes = plt.subplots(2, 2, figsize=(8, 6), layout="constrained", sharey="row")
    for (left, right), (name, label) in zip(axes, measures.items(), strict=True):
        same = sorted((row["geometries"], row[name]) for row in fresh if row["steps"] == most)
        left.loglog(*zip(*same, strict=True), "o-", label=f"small, {most:,} steps")
        left.set(xlabel="geometries learned", ylabel=label)
        full = sorted((row["steps"], row[name]) for row in fresh if row["geometries"] == largest)
        right.loglog(*zip(*full, strict=True), "o-", label=f"small, {largest:,} geometries")
        for size, marker in (("small", "s"), ("medium", "^")):
            later = [
                (row["steps"], row[name])
                for row in rows
                if row["initial"] and row["size"] == size and row["geometries"] == largest
            ]
            if later:
                known = f"{size}, going on from a trained one"
                right.loglog(*zip(*later, strict=True), marker, label=known)
        right.set(xlabel="steps")
        for axis in (left, right):
            axis.grid(visible=True, which="both", alpha=0.3)
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.yaxis.set_major_formatter(ScalarFormatter())
            axis.yaxis.set_minor_formatter(ScalarFormatter())
    for axis in axes[0]:
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Gather and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=FILE.parent)
    options = parser.parse_args()
    rows = gather(options.data)
    path = RESULTS / "curve.json"
    before = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else []
    measured = [identity(row) for row in rows]
    rows += [row for row in before if identity(row) not in measured]
    if not rows:
        parser.error(f"no run in {options.data} has ended; run train.py first")
    write_result(path, {"runs": rows})
    draw(rows, RESULTS / "curve.png")
    for row in rows:
        print({name: value for name, value in row.items() if name != "by_epoch"})


if __name__ == "__main__":
    main()
