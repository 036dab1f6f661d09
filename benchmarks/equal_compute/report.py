"""Finished runs become JSON, a picture, and the tables of README.md; numbers are never typed in.

    python benchmarks/equal_compute/report.py

writes the tables of all results again; ``compare.py`` calls :func:`write_results` after each pair.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from logs import Point, curve, epochs, parameters
from subjects import SUBJECTS
from systems import System

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import write_between_markers

HERE = Path(__file__).parent
PAGE = HERE / "README.md"
MARKED_MINUTES = 10.0
"""A time at which errors of all systems are shown, besides half and all of the time."""


def read_runs(folder: Path, n_atoms: int) -> dict[str, Any]:
    """Return what every finished run has to say."""
    found = {}
    for path in sorted(folder.glob("*/run.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        name, place, limit = record["subject"], path.parent, 60.0 * record["minutes"]
        points = [point for point in curve(name, place, n_atoms) if point.seconds <= limit]
        reached, planned = epochs(name, place)
        record |= {
            "parameters": parameters(name, place),
            "epochs": planned,
            "epochs_reached": reached,
            "columns": Point._fields,
            "validation": [[round(value, 4) for value in point] for point in points],
        }
        if (place / "test.json").exists():
            record["test"] = json.loads((place / "test.json").read_text(encoding="utf-8"))
        found[place.name] = record
    return found


def write_results(name: str, system: System, folder: Path, results: Path) -> str:
    """Write the finished runs of a folder, beside those that results have; return their table."""
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"{name}.json"
    data = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    runs: dict[str, Any] = {}
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        runs = before["runs"] if before["data"] == data else {}
    found = {
        "data": data,
        "energy_per": system.energy_per,
        "parts": system.parts,
        "runs": runs | read_runs(folder, system.n_atoms),
    }
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draw(name, found, results / f"{name}.png")
    return table(found)


def draw(name: str, found: dict[str, Any], path: Path) -> None:
    """Draw the validation errors over time."""
    runs, per = found["runs"], found["energy_per"]
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    first = min(record["seed"] for record in runs.values())
    for run, record in runs.items():
        if not record["validation"]:
            continue
        seconds, energy, _, forces = np.array(record["validation"]).T
        look = {
            "color": f"C{SUBJECTS.index(record['subject'])}",
            "linestyle": "-" if record["seed"] == first else "--",
            "marker": ".",
        }
        axes[0].plot(seconds / 60, forces, label=run, **look)
        axes[1].plot(seconds / 60, energy / found["parts"], **look)
    labels = ("force RMSE, meV/Å", f"energy RMSE, meV per {per}")
    longest = max(record["minutes"] for record in runs.values())
    for axis, label in zip(axes, labels, strict=True):
        axis.set(xlabel="training time, minutes", ylabel=label, yscale="log")
        axis.grid(alpha=0.3, which="both")
        if longest > MARKED_MINUTES:
            axis.axvline(MARKED_MINUTES, color="grey", lw=0.8, ls=":")
    axes[0].legend(fontsize="small")
    figure.suptitle(f"{name}, validation")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def at(record: dict[str, Any], minutes: float, parts: int) -> str:
    """Return the errors of the last validation before a time; forces, energy."""
    before = [row for row in record["validation"] if row[0] <= 60.0 * minutes]
    return f"{before[-1][3]:.1f}, {before[-1][1] / parts:.2f}" if before else ""


def last_forces(item: tuple[str, dict[str, Any]]) -> float:
    """Return the force error of the last validation, meV/Å."""
    rows = item[1]["validation"]
    return float(rows[-1][3]) if rows else math.inf


def tested(record: dict[str, Any], name: str, measure: str, parts: int) -> str:
    """Return test errors as a measure, ``rmse`` or ``mae``; forces, energy."""
    errors = record.get("test", {}).get("errors", {}).get(name)
    if errors is None:
        return ""
    energy = errors[f"energy_{measure}_mev"] / parts
    return f"{errors[f'force_{measure}_mev_per_angstrom']:.1f}, {energy:.2f}"


def table(found: dict[str, Any]) -> str:
    """Return a Markdown table: force errors (meV/Å), energy errors (meV)."""
    runs, parts = found["runs"], found["parts"]
    minutes = next(iter(runs.values()))["minutes"]
    times = sorted({t for t in (MARKED_MINUTES, 0.5 * minutes, minutes) if t <= minutes})
    tests = sorted(
        {name for run in runs.values() for name in run.get("test", {"errors": {}})["errors"]}
    )
    kinds = [(name, measure) for name in tests for measure in ("rmse", "mae")]
    heads = ["run", "parameters", "epochs", "s/step"]
    heads += [f"validation, {time:.3g} min" for time in times]
    heads += [f"{name}, {measure.upper()}" for name, measure in kinds]
    lines = [heads, ["---"] * len(heads)]
    for run, record in sorted(runs.items(), key=last_forces):
        cut = record["epochs_reached"] < record["epochs"]
        lines.append(
            [
                f"`{run}`",
                f"{record['parameters']:,}",
                f"{record['epochs_reached']}" + (f" of {record['epochs']}" if cut else ""),
                f"{record['probed_step_s']:.2f}",
                *(at(record, time, parts) for time in times),
                *(tested(record, name, measure, parts) for name, measure in kinds),
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def describe(found: dict[str, Any]) -> str:
    """Return sentences about structures and machine."""
    data, runs = found["data"], found["runs"].values()
    parts = data["structures"]
    tested_on = {
        f"{file['structures']} ({name})"
        for run in runs
        for name, file in run.get("test", {"files": {}})["files"].items()
    }
    counts = f"{parts['train']} structures to train on, {parts['validation']} to validate"
    counts += f", {' and '.join(sorted(tested_on))} to test" if tested_on else ""
    machines = sorted({f"{run['processor']}, revision {run['revision']}" for run in runs})
    return (
        f"{data['about']}, {data['level_of_theory']}: {data['n_atoms']} atoms, {counts}; RMS force "
        f"{data['force_rms_ev_per_angstrom']:.2f} eV/Å. Force errors in meV/Å, energy errors in "
        f"meV per {found['energy_per']}. {'; '.join(machines)}."
    )


def write_page(results: Path, page: Path) -> None:
    """Write the tables of all results between the two marks of a page."""
    sections = []
    for path in sorted(results.glob("*min*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        picture = f"![{path.stem}]({results.name}/{path.stem}.png)"
        parts = [f"### {path.stem}", describe(found), table(found), picture]
        sections.append("\n\n".join(parts))
    body = "\n\n".join(sections) or "Nothing was measured yet."
    write_between_markers(page, "results", body)


if __name__ == "__main__":
    write_page(HERE / "results", PAGE)
