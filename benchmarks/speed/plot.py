"""Results -> a picture: molecules as bars, water against size, parts, and first calls.

python benchmarks/speed/plot.py RESULTS.json... PICTURE.png
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

COLOURS = plt.get_cmap("tab20").colors


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw what was found.

    Parameters
    ----------
    result
        As ``run.py`` writes it.
    path
        Of the picture; its suffix says the format.
    """
    timed = [row for row in result["timings"] if row["measure"] == "energy-forces"]
    molecules = [row for row in timed if not row["system"].startswith("water-")]
    water = [row for row in timed if row["system"].startswith("water-")]
    panels = [
        (molecules, _bars),
        (water, _lines),
        (result["parts"], _parts),
        (result["first_calls"], _first_calls),
    ]
    panels = [(rows, panel) for rows, panel in panels if rows]
    if not panels:
        return
    names = list(dict.fromkeys(row["subject"] for rows, _ in panels for row in rows))
    colours = {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(names)}
    columns = min(2, len(panels))
    n_rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        n_rows, columns, figsize=(8.5 * columns, 4.8 * n_rows), layout="constrained", squeeze=False
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (rows, panel) in zip(axes.flat, panels, strict=False):
        panel(axis, rows, colours)
    figure.suptitle(f"{result['hardware']['processor']}, {result['threads']} thread(s)", fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _bars(axis: Axes, rows: list[dict[str, Any]], colours: Mapping[str, Any]) -> None:
    """Draw times of molecules."""
    systems = list(dict.fromkeys(row["system"] for row in rows))
    subjects = list(dict.fromkeys(row["subject"] for row in rows))
    width = 0.8 / len(subjects)
    for k, subject in enumerate(subjects):
        mine = [row for row in rows if row["subject"] == subject]
        axis.bar(
            [systems.index(row["system"]) + (k + 0.5) * width - 0.4 for row in mine],
            [row["median"] * 1e3 for row in mine],
            width,
            label=subject,
            color=colours[subject],
        )
    axis.set_xticks(range(len(systems)), systems, fontsize=9)
    axis.set_yscale("log")
    axis.set_ylabel("energy and forces (ms)")
    _legend(axis)


def _lines(axis: Axes, rows: list[dict[str, Any]], colours: Mapping[str, Any]) -> None:
    """Draw time per atom of water against size."""
    for subject in dict.fromkeys(row["subject"] for row in rows):
        mine = [row for row in rows if row["subject"] == subject]
        atoms = [row["n_atoms"] for row in mine]
        times = [row["median"] / row["n_atoms"] * 1e6 for row in mine]
        axis.plot(atoms, times, "o-", label=subject, color=colours[subject], markersize=3)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("atoms of water")
    axis.set_ylabel("energy and forces (µs per atom)")
    _legend(axis)


def _parts(axis: Axes, rows: list[dict[str, Any]], colours: Mapping[str, Any]) -> None:
    """Draw shares of time as stacked bars; their colours are of parts, not of subjects."""
    del colours
    labels = [f"{row['subject'].split('/')[1]}, {row['system']}" for row in rows]
    start = [0.0] * len(rows)
    for k, kind in enumerate(rows[0]["shares"]):
        shares = [100.0 * row["shares"][kind] for row in rows]
        axis.barh(labels, shares, left=start, label=kind, color=COLOURS[2 * k])
        start = [a + b for a, b in zip(start, shares, strict=True)]
    axis.invert_yaxis()
    axis.tick_params(axis="y", labelsize=7)
    axis.set_xlabel("share of time (%)")
    _legend(axis)


def _first_calls(axis: Axes, rows: list[dict[str, Any]], colours: Mapping[str, Any]) -> None:
    """Draw the latency of first calls."""
    for row in rows:
        style = "-" if row["artefact"] == "generic" else ":"
        name = f"{row['subject'].split('/')[1]}, {row['system']}, {row['artefact']}"
        calls = range(1, len(row["seconds"]) + 1)
        times = [value * 1e3 for value in row["seconds"]]
        axis.plot(calls, times, style, label=name, color=colours[row["subject"]])
    axis.set_yscale("log")
    axis.set_xlabel("call")
    axis.set_ylabel("latency (ms)")
    _legend(axis)


def _legend(axis: Axes) -> None:
    """Name the colours beside the panel, where they hide nothing."""
    axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1.0))


if __name__ == "__main__":
    *sources, picture = (Path(argument) for argument in sys.argv[1:])
    results = [json.loads(source.read_text(encoding="utf-8")) for source in sources]
    lists = ("timings", "parts", "first_calls")
    draw(
        {**results[0], **{key: [row for r in results for row in r[key]] for key in lists}}, picture
    )
