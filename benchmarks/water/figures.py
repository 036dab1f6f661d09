"""What the runs of dynamics found: one JSON file, and one figure beside the quantum chemistry."""

import json
import sys
from pathlib import Path
from typing import Any

import ase
import ase.io
import matplotlib.pyplot as plt
import numpy as np
from ase.io.trajectory import Trajectory
from radial import PAIRS, Radial, changed_hands, deviation, longest_bond, molecules, radial

KEPT_ROWS = 400
FILES = ("train.xyz", "validation.xyz", "test.xyz")


def counted_frames(folder: Path, equilibrate_fs: float, timestep: float) -> list[ase.Atoms]:
    """Return the frames of a trajectory after equilibration, each step once, in order."""
    with Trajectory(str(folder / "path.traj")) as trajectory:
        frames = {frame.info["step"]: frame for frame in trajectory}
    return [frames[step] for step in sorted(frames) if step * timestep > equilibrate_fs]


def reference_frames(data: Path) -> list[ase.Atoms]:
    """Return all frames of the quantum chemistry."""
    missing = [name for name in FILES if not (data / name).exists()]
    if missing:
        sys.exit(f"there is no {', '.join(missing)} in {data}; run prepare.py first")
    return [atoms for name in FILES for atoms in ase.io.read(data / name, ":")]


def summary(run: dict[str, Any], frames: list[ase.Atoms]) -> dict[str, Any]:
    """Return what is kept of a run: settings, whether it was stable, averages, some rows."""
    columns, rows = run.pop("columns"), np.array(run.pop("rows"))
    counted = rows[rows[:, 0] > run["equilibrate"]]
    owner = molecules(frames[0]) if frames else None
    found = {
        "mean_temperature_k": counted[:, 3].mean() if len(counted) else None,
        "std_temperature_k": counted[:, 3].std() if len(counted) else None,
        "mean_potential_ev_per_molecule": (
            counted[:, 1].mean() / run["molecules"] if len(counted) else None
        ),
        "longest_bond_a": rows[:, 4].max(),
        "longest_bond_of_frames_a": max((longest_bond(f, owner) for f in frames), default=None),
        "protons_moved_over": int(sum(changed_hands(f, owner) for f in frames)),
        "frames": len(frames),
    }
    thinned = rows[:: max(1, len(rows) // KEPT_ROWS)].round(5)
    return run | found | {"rows": dict(zip(columns, thinned.T.tolist(), strict=True))}


def draw(runs: dict[str, dict[str, Any]], structure: dict[str, Radial], path: Path) -> None:
    """Draw the radial distribution functions, and temperature and energy over time."""
    figure, axes = plt.subplots(2, 3, figsize=(13, 7), layout="constrained")
    for axis, (a, b) in zip(axes[0], PAIRS, strict=True):
        for name, found in structure.items():
            style = {"color": "black", "lw": 2.5, "alpha": 0.5} if name == "PBE0-TS" else {}
            axis.plot(found.distances, found.functions[f"{a}-{b}"], label=name, **style)
        axis.axhline(1.0, color="grey", lw=0.5)
        axis.set(xlabel="r / Å", ylabel=f"g({a}-{b})", xlim=(1.0, None))
    axes[0, 0].legend()
    for name, run in runs.items():
        rows = run["rows"]
        axes[1, 0].plot(rows["time_ps"], rows["temperature_k"], lw=0.8, label=name)
        energy = np.array(rows["potential_ev"]) / run["molecules"]
        axes[1, 1].plot(rows["time_ps"], 1000.0 * (energy - energy.mean()), lw=0.8)
        axes[1, 2].plot(rows["time_ps"], rows["longest_bond_a"], lw=0.8)
    labels = (
        "temperature / K",
        "potential energy / meV per molecule",
        "longest O-H bond / Å",
    )
    for axis, label in zip(axes[1], labels, strict=True):
        axis.set(xlabel="time / ps", ylabel=label)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def report(folder: Path, data: Path, results: Path) -> None:
    """Write ``dynamics.json`` and ``dynamics.png`` of all runs in a folder."""
    runs: dict[str, dict[str, Any]] = {}
    structure = {"PBE0-TS": radial(reference_frames(data), label="PBE0-TS")}
    for path in sorted(folder.glob("*/run.json")):
        name = path.parent.name
        run = json.loads(path.read_text(encoding="utf-8"))
        frames = counted_frames(path.parent, 1000.0 * run["equilibrate"], run["timestep"])
        runs[name] = summary(run, frames)
        if frames:
            structure[name] = radial(frames, label=name)
            difference = deviation(structure[name], structure["PBE0-TS"])
            runs[name]["rms_difference_of_radial_functions"] = difference
    if not runs:
        sys.exit(f"there is no run in {folder}")
    results.mkdir(parents=True, exist_ok=True)
    functions = {
        name: {"r_angstrom": found.distances.round(4).tolist()}
        | {pair: values.round(4).tolist() for pair, values in found.functions.items()}
        for name, found in structure.items()
    }
    values = {"runs": runs, "radial_distribution_functions": functions}
    (results / "dynamics.json").write_text(json.dumps(values) + "\n", encoding="utf-8")
    draw(runs, structure, results / "dynamics.png")
    for name, run in runs.items():
        shown = {key: value for key, value in run.items() if key != "rows"}
        print(f"{name}: {json.dumps(shown, indent=1)}")
