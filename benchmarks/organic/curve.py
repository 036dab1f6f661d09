"""Learning curve: errors on validation molecules against geometries learned, for all runs.

    for n in 1000 4000 12000; do python benchmarks/organic/train.py --n-train $n --epochs 4; done
    python benchmarks/organic/curve.py

Reads the reports of the runs in ``runs/organic``; writes ``results/curve.json`` and ``.png``. Runs
that are in the results and no longer in the folder are kept.
"""

import argparse
import csv
import json
import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
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


def kind(row: dict[str, Any]) -> tuple[str, str, str]:
    """Return what the runs of a curve share."""
    return row["size"], row["length"], row["initial"] or ""


def identity(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return what tells a run from others."""
    return tuple(row[name] for name in ("size", "length", "seed", "initial", "geometries"))


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
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.5), layout="constrained")
    for size, length, initial in sorted({kind(row) for row in rows}):
        part = [row for row in rows if kind(row) == (size, length, initial)]
        numbers = [row["geometries"] for row in part]
        for axis, name in zip(axes, ("force_mae", "energy_mae_per_atom"), strict=True):
            label = f"{size}, {length} passes".replace("steps passes", " steps")
            label += f" from {initial}" if initial else ""
            axis.loglog(numbers, [row[name] for row in part], "o-", label=label)
    axes[0].set(xlabel="geometries learned", ylabel="force MAE, meV/Å")
    axes[1].set(xlabel="geometries learned", ylabel="energy MAE, meV/atom")
    axes[0].legend()
    figure.savefig(RESULTS / "curve.png", dpi=120)
    for row in rows:
        print({name: value for name, value in row.items() if name != "by_epoch"})


if __name__ == "__main__":
    main()
