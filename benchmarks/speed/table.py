"""Results -> tables to read, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

TITLES = {
    "energy-forces": "Energy and forces",
    "training-step": "Training step (batch of 4, energies and forces, without the optimizer)",
}


def tables(result: Mapping[str, Any]) -> str:
    """Return all that was found."""
    parts = [_heading(result)]
    for measure, title in TITLES.items():
        rows = [row for row in result["timings"] if row["measure"] == measure]
        if rows:
            parts.append(_timings(title, rows, result["reference"]))
    if result["memory"]:
        parts.append(_memory(result["memory"]))
    if result["parts"]:
        parts.append(_parts(result["parts"]))
    if result["first_calls"]:
        parts.append(_first_calls(result["first_calls"]))
    if result["left_out"]:
        rows = [[o["subject"], o["system"], o["measure"], o["why"]] for o in result["left_out"]]
        parts.append("Left out:\n\n" + grid(["subject", "system", "measure", "why"], rows))
    return "\n\n".join(parts) + "\n"


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with columns of even width; all but the first two to the right."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]

    def text(line: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if k < 2 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return "| " + " | ".join(cells) + " |"

    rule = ["-" * width if k < 2 else "-" * (width - 1) + ":" for k, width in enumerate(widths)]
    return "\n".join([text(lines[0]), text(rule), *(text(line) for line in lines[1:])])


def duration(seconds: float) -> str:
    """Return a time with three digits and a fitting unit."""
    for factor, unit in ((1e6, "µs"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def _heading(result: Mapping[str, Any]) -> str:
    """Return where and when."""
    hardware, speed = result["hardware"], result["calibration"]
    where = f"{hardware['processor']}, {hardware['cores']} cores, {hardware['memory_gb']:.0f} GB"
    how = f"{result['threads']} thread(s), device {result['device']}, float32, weights random"
    lines = [f"{result['date']}: {where}; {how}."]
    if speed:
        lines.append(
            f"Matrix products meanwhile: {speed['median']:.0f} GFLOP/s "
            f"({speed['low']:.0f} to {speed['high']:.0f} over {speed['n']} rounds)."
        )
    for family, versions in result["versions"].items():
        named = ", ".join(f"{name} {version}" for name, version in versions.items())
        lines.append(f"{family}: {named}.")
    return "\n".join(lines)


def _timings(title: str, rows: Sequence[Mapping[str, Any]], reference: str | None) -> str:
    """Return times of one measure."""
    header = ["system", "subject", "median", "quartiles", "µs/atom", "ratio", "rounds", "warm-up"]
    body = [
        [
            row["system"],
            row["subject"],
            duration(row["median"]),
            f"{duration(row['low'])} to {duration(row['high'])}",
            f"{row['median'] / row['n_atoms'] * 1e6:.0f}",
            "" if row["ratio"] is None else f"{row['ratio']:.2f}",
            str(len(row["rounds"])),
            duration(row["warm_up"]),
        ]
        for row in rows
    ]
    tail = f"; ratio to {reference} in the same round, median" if reference else ""
    return f"{title}{tail}:\n\n{grid(header, body)}"


def _memory(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the peaks of memory."""
    header = ["system", "subject", "measure", "peak GB", "kB/atom"]
    body = [
        [
            row["system"],
            row["subject"],
            row["measure"],
            f"{row['bytes'] / 1e9:.2f}",
            f"{row['bytes'] / row['n_atoms'] / 1e3:.0f}",
        ]
        for row in rows
    ]
    return f"Peak memory above what imports take, in a fresh process:\n\n{grid(header, body)}"


def _parts(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the shares of time."""
    kinds = list(rows[0]["shares"])
    header = ["system", "subject", "evaluation", *kinds, "search", "incidences/atom", "pairs/atom"]
    body = [
        [
            row["system"],
            row["subject"],
            duration(row["seconds"]),
            *(f"{100 * row['shares'][kind]:.0f} %" for kind in kinds),
            duration(row["search_seconds"]),
            f"{row['rows']['incidences'] / row['rows']['atoms']:.1f}",
            f"{row['rows']['pairs'] / row['rows']['atoms']:.1f}",
        ]
        for row in rows
    ]
    title = "Share of time in each part of an evaluation, and the time of a search (not among them)"
    return f"{title}:\n\n{grid(header, body)}"


def _first_calls(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the latency of the first calls."""
    shown = [1, 2, 3, 4, 5, 10, 20, 50]
    longest = max(len(row["seconds"]) for row in rows)
    shown = [number for number in shown if number <= longest]
    header = ["system", "subject", "artefact", *(f"call {n}" for n in shown), "slowest after 5"]
    body = [
        [
            row["system"],
            row["subject"],
            row["artefact"],
            *(duration(row["seconds"][n - 1]) for n in shown),
            duration(max(row["seconds"][5:], default=float("nan"))),
        ]
        for row in rows
    ]
    return f"First calls of a scripted model that was just loaded:\n\n{grid(header, body)}"
