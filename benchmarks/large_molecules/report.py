"""Finished runs become JSON, a picture, and the tables of README.md; numbers are never typed in.

    python benchmarks/large_molecules/report.py

writes the tables of all results again; ``compare.py`` calls :func:`report` after each pair.
"""

import json
import math
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from logs import curve, parameters, rate_ended
from subjects import SUBJECTS, Files

HERE = Path(__file__).parent
PAGE = HERE / "README.md"
BEGIN, END = "<!-- begin results -->", "<!-- end results -->"
PARTS = (0.25, 0.5, 1.0)
"""Parts of the time at which validation errors are shown."""


def machine() -> str:
    """Return the name of the processor, and how many there are."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {max(1, len(names))} threads"


def revision() -> str:
    """Return the revision of the package, and whether it was changed since."""
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def read_runs(folder: Path, n_atoms: int) -> dict[str, Any]:
    """Return what every finished run has to say."""
    found = {}
    for place in sorted(folder.iterdir()):
        if not (place / "run.json").exists():
            continue
        record = json.loads((place / "run.json").read_text(encoding="utf-8"))
        name, limit = record["subject"], 60.0 * record["minutes"]
        points = [point for point in curve(name, place, n_atoms) if point.seconds <= limit]
        found[place.name] = record | {
            "parameters": parameters(name, place),
            "rate_ended": rate_ended(name, place),
            "columns": ["seconds", "energy_rmse_mev", "force_rmse_mev_per_angstrom"],
            "validation": [[round(value, 4) for value in point] for point in points],
        }
    return found


def draw(name: str, runs: dict[str, Any], path: Path) -> None:
    """Draw the validation errors over time."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for run, record in runs.items():
        if not record["validation"]:
            continue
        seconds, energy, forces = np.array(record["validation"]).T
        colour = f"C{SUBJECTS.index(record['subject'])}"
        style = "-" if record["seed"] == min(r["seed"] for r in runs.values()) else "--"
        axes[0].plot(seconds / 60, forces, style, color=colour, label=run)
        axes[1].plot(seconds / 60, energy, style, color=colour)
    for axis, label in zip(axes, ("force RMSE, meV/Å", "energy RMSE, meV"), strict=True):
        axis.set(xlabel="training time, minutes", ylabel=label, yscale="log")
        axis.grid(alpha=0.3, which="both")
    axes[0].legend(fontsize="small")
    figure.suptitle(name)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def report(name: str, files: Files, folder: Path, results: Path) -> None:
    """Write the validation errors of the finished runs of a folder; print the table."""
    runs = read_runs(folder, files.n_atoms)
    if not runs:
        print(f"no finished run in {folder}")
        return
    results.mkdir(exist_ok=True)
    data = files.train.with_name(files.train.name.replace("_train.xyz", ".json"))
    found = {
        "data": json.loads(data.read_text(encoding="utf-8")),
        "machine": machine(),
        "torch": version("torch"),
        "revision": revision(),
        "runs": runs,
    }
    (results / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draw(name, runs, results / f"{name}.png")
    print(table(found, read_test(results / f"{name}_test.json")))


def read_test(path: Path) -> dict[str, Any]:
    """Return the test errors, if any."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def at(record: dict[str, Any], part: float) -> str:
    """Return the errors of the last validation before a part of the time has passed."""
    limit = 60.0 * part * record["minutes"]
    before = [row for row in record["validation"] if row[0] <= limit]
    return f"{before[-1][2]:.1f}, {before[-1][1]:.1f}" if before else ""


def last_forces(record: dict[str, Any]) -> float:
    """Return the force error of the last validation, meV/Å."""
    return float(record["validation"][-1][2]) if record["validation"] else math.inf


def table(found: dict[str, Any], tested: dict[str, Any]) -> str:
    """Return a Markdown table: force RMSE (meV/Å), energy RMSE (meV)."""
    runs = found["runs"]
    minutes = next(iter(runs.values()))["minutes"]
    heads = " | ".join(f"validation, {part * minutes:.3g} min" for part in PARTS)
    lines = [
        f"| run | parameters | epochs | s/step | {heads} | test RMSE | test MAE |",
        "|---|---|---|---|" + "---|" * len(PARTS) + "---|---|",
    ]
    for run, record in sorted(runs.items(), key=lambda item: last_forces(item[1])):
        number = record["parameters"]
        errors = tested.get(run)
        rmse = mae = ""
        if errors:
            rmse = f"{errors['force_rmse_mev_per_angstrom']:.1f}, {errors['energy_rmse_mev']:.1f}"
            mae = f"{errors['force_mae_mev_per_angstrom']:.1f}, {errors['energy_mae_mev']:.1f}"
        cells = [
            f"`{run}`",
            f"{number:,}" if number else "",
            f"{record['epochs']}" + ("" if record["rate_ended"] else " (cut short)"),
            f"{record['probed_step_s']:.2f}",
            *(at(record, part) for part in PARTS),
            rmse,
            mae,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def describe_data(data: dict[str, Any]) -> str:
    """Return a sentence about the structures."""
    parts = data["structures"]
    return (
        f"{data['n_atoms']} atoms; {parts['train']} structures to train on, {parts['validation']} "
        f"to validate and {parts['test']} to test; force RMS of the test set "
        f"{data['force_rms_ev_per_angstrom']['test']:.2f} eV/Å; trajectories thrown away: "
        f"{data['n_broken']}."
    )


def write_page(results: Path, page: Path) -> None:
    """Write the tables of all results between the two marks of a page."""
    sections = []
    for path in sorted(results.glob("*min.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        tested = read_test(path.with_name(f"{path.stem}_test.json"))
        sections.append(
            f"### {path.stem}\n\n{describe_data(found['data'])} {found['machine']}, revision "
            f"{found['revision']}.\n\n{table(found, tested)}\n\n![]({results.name}/{path.stem}.png)"
        )
    text = page.read_text(encoding="utf-8")
    first, last = text.index(BEGIN) + len(BEGIN), text.index(END)
    body = "\n\n".join(sections) or "Nothing was measured yet."
    page.write_text(f"{text[:first]}\n{body}\n{text[last:]}", encoding="utf-8")


if __name__ == "__main__":
    write_page(HERE / "results", PAGE)
