"""The results of sweep.py and cost.py as a picture, and as a table in docs/sizes.md.

python benchmarks/sizes/report.py

The table stands between the page's markers. A point is on the front if no other of as many epochs
is both cheaper and more accurate.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from points import ACCURACY, COST, POINTS, REFERENCE, ROOT

mpl.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import write_between_markers

PAGE = ROOT / "docs" / "sizes.md"
PICTURE = ROOT / "docs" / "pictures" / "sizes.png"
SHOWN = ("aspirin", "Ac-Ala3-NHMe")
HEADER = (
    "| point | settings | parameters | epochs | force RMSE | energy RMSE | aspirin | Ac-Ala3-NHMe "
    "| products | operations |"
)
COLOURS = {"density": "tab:blue", "attention": "tab:orange"}


def read_rows() -> list[dict[str, Any]]:
    """Return accuracy and cost of every point that has both, cheapest on aspirin first."""
    rows = []
    for name in POINTS:
        accuracy, cost = ACCURACY / f"{name}.json", COST / f"{name}.json"
        if not (accuracy.exists() and cost.exists()):
            continue
        row = json.loads(accuracy.read_text(encoding="utf-8"))
        row["cost"] = json.loads(cost.read_text(encoding="utf-8"))["systems"]
        rows.append(row)
    return sorted(rows, key=lambda row: row["cost"]["aspirin"]["ratio"])


def timed_only() -> list[str]:
    """Return lines of the table for points that were timed but not trained, cheapest first."""
    costs = {
        name: json.loads((COST / f"{name}.json").read_text(encoding="utf-8"))["systems"]
        for name in POINTS
        if (COST / f"{name}.json").exists() and not (ACCURACY / f"{name}.json").exists()
    }
    return [
        f"| `{name}` | {POINTS[name].about} | | not trained | | | {cost['aspirin']['ratio']:.2f} "
        f"| {cost['Ac-Ala3-NHMe']['ratio']:.2f} | {cost['aspirin']['energy_gflop']:.3f} "
        f"| {cost['aspirin']['forces_operations']} |"
        for name, cost in sorted(costs.items(), key=lambda item: item[1]["aspirin"]["ratio"])
    ]


def force_error(row: dict[str, Any]) -> float:
    """Return the force error of the best checkpoint in meV/Å."""
    return float(row["best"]["force_rmse_mev_per_angstrom"])


def front(rows: list[dict[str, Any]], molecule: str) -> list[dict[str, Any]]:
    """Return the points than which none is both cheaper and more accurate, cheapest first."""
    found: list[dict[str, Any]] = []
    full = [row for row in rows if row["epochs"] == POINTS[REFERENCE].epochs]
    for row in sorted(full, key=lambda row: (row["cost"][molecule]["ratio"], force_error(row))):
        if not found or force_error(row) < force_error(found[-1]):
            found.append(row)
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table of all points."""
    fronts = {molecule: [row["name"] for row in front(rows, molecule)] for molecule in SHOWN}
    lines = [HEADER, "|" + 10 * "---|"]
    for row in rows:
        times = [
            f"{'**' if row['name'] in fronts[m] else ''}{row['cost'][m]['ratio']:.2f}"
            f"{'**' if row['name'] in fronts[m] else ''}"
            for m in SHOWN
        ]
        counted = row["cost"]["aspirin"]
        lines.append(
            f"| `{row['name']}` | {row['about']} | {row['parameters']:,} | {row['epochs']} "
            f"| {force_error(row):.1f} | {row['best']['energy_rmse_mev']:.1f} "
            f"| {' | '.join(times)} "
            f"| {counted['energy_gflop']:.3f} | {counted['forces_operations']} |"
        )
    return "\n".join(lines + timed_only())


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw accuracy against time, one panel for each molecule."""
    figure, panels = plt.subplots(1, len(SHOWN), figsize=(12, 5), sharey=True, layout="constrained")
    for panel, molecule in zip(panels, SHOWN, strict=True):
        best = front(rows, molecule)
        panel.plot(
            [row["cost"][molecule]["ratio"] for row in best],
            [force_error(row) for row in best],
            color="0.7",
            zorder=0,
            label="front",
        )
        for interaction, colour in COLOURS.items():
            mine = [row for row in rows if row["model"]["interaction"] == interaction]
            x = [row["cost"][molecule]["ratio"] for row in mine]
            y = [force_error(row) for row in mine]
            full = [row["epochs"] == POINTS[REFERENCE].epochs for row in mine]
            faces = [colour if is_full else "none" for is_full in full]
            panel.scatter(x, y, edgecolors=colour, facecolors=faces)
            panel.scatter([], [], color=colour, label=interaction)
            for k, (row, xx, yy) in enumerate(zip(mine, x, y, strict=True)):
                panel.annotate(
                    row["name"],
                    (xx, yy),
                    xytext=(4, 4 - 15 * (k % 2)),
                    textcoords="offset points",
                    fontsize=7,
                )
        panel.set(xscale="log", yscale="log", title=molecule)
        panel.set_xlabel(f"time of energy and forces, {REFERENCE} = 1")
        panel.xaxis.set_minor_formatter(mpl.ticker.FormatStrFormatter("%g"))
        panel.yaxis.set_minor_formatter(mpl.ticker.FormatStrFormatter("%g"))
        panel.xaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
        panel.yaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
        panel.tick_params(which="both", labelsize=7)
        panel.grid(visible=True, which="both", alpha=0.2)
    panels[0].set_ylabel("force RMSE, acetylacetone validation, meV/Å")
    panels[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Write the picture and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only-print", action="store_true", help="leave page and picture alone")
    options = parser.parse_args()
    rows = read_rows()
    text = table(rows)
    print(text)
    if options.only_print:
        return
    draw(rows, PICTURE)
    write_between_markers(PAGE, "points", text)


if __name__ == "__main__":
    main()
