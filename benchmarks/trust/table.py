"""The results of peers.py and outside.py as tables and lists in docs/trust.md, between its markers.

python benchmarks/trust/table.py
"""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import write_between_markers

RESULTS = Path(__file__).with_name("results")
PAGE = Path(__file__).parents[2] / "docs" / "trust.md"
ORDER = ("random", "shipped", "hard", "mace", "nequip", "xtb")
Entry = Mapping[str, Any]


def number(value: float | None) -> str:
    """Return a number as short as it can be read."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == round(value) and abs(value) < 1000:
        return f"{value:.0f}"
    return f"{value:.1e}" if not 0.01 <= abs(value) < 1000 else f"{value:.3g}"


def allowed(result: Entry) -> str:
    """Return the allowed value or range, with the unit."""
    unit = result["unit"] if result["unit"] not in ("", "1") else ""
    low = f"{number(result['at_least'])} to "
    if result["at_least"] in (None, result["allowed"]):
        low = ""
    return f"{low}{number(result['allowed'])} {unit}".strip()


def reports() -> dict[str, Entry]:
    """Return the reports that exist, in the order of the table."""
    found = ((key, RESULTS / f"{key}.json") for key in ORDER)
    return {key: json.loads(path.read_text()) for key, path in found if path.exists()}


def cell(report: Entry, name: str) -> str:
    """Return what a subject measured in a row; bold if it failed.

    A check that ended in an error or was skipped as a whole bears the first words of its rows.
    """
    for result in report["results"]:
        if result["name"] == name:
            text = number(result["measured"])
            break
    else:
        starts = (r for r in report["results"] if name.startswith(r["name"]))
        result = next(starts, None)
        text = "error"
        if result is None:
            return "–"
    if result["skipped"]:
        return "–"
    return text if result["passed"] else f"**{text}**"


def peers(entries: Mapping[str, Entry]) -> list[str]:
    """Return the table of all subjects."""
    rows: dict[str, Entry] = {}
    for report in entries.values():
        for result in report["results"]:
            known = result["measured"] is not None
            if known and (result["name"] not in rows or rows[result["name"]]["skipped"]):
                rows[result["name"]] = result
    # The order of the checks is that of the subject that can be asked everything.
    order = [result["name"] for result in entries.get("shipped", {"results": []})["results"]]
    names = sorted(rows, key=lambda name: order.index(name) if name in order else len(order))
    subjects = [report["subject"] for report in entries.values()]
    lines = [
        f"| check | allowed | {' | '.join(subjects)} |",
        "|---|---" + "|---" * len(subjects) + "|",
    ]
    for name in names:
        cells = " | ".join(cell(report, name) for report in entries.values())
        lines.append(f"| {name} | {allowed(rows[name])} | {cells} |")
    modes = {report["subject"]: report["mode"] for report in entries.values()}
    listed = "; ".join(f"{subject}: {mode}" for subject, mode in modes.items())
    return [
        *lines,
        "",
        f"Bold: failed. –: not asked, or does not apply. Extent of the checks: {listed}.",
    ]


def failures(entries: Mapping[str, Entry]) -> list[str]:
    """Return what failed, with the kit's own words on where."""
    lines = []
    for report in entries.values():
        failed = [r for r in report["results"] if r["passed"] is False]
        if not failed:
            lines.append(f"- **{report['subject']}**: nothing.")
        else:
            lines.append(f"- **{report['subject']}**:")
            lines += [
                f"  - {r['name']}, {number(r['measured'])} (allowed {allowed(r)}): {r['detail']}"
                for r in failed
            ]
    return lines


def found_versions(entries: Mapping[str, Entry]) -> list[str]:
    """Return the versions of everything that computed."""
    lines = ["| subject | versions |", "|---|---|"]
    for report in entries.values():
        text = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
        lines.append(f"| {report['subject']} | {text} |")
    for name in ("ml_peg", "mlipaudit"):
        path = RESULTS / f"outside_{name}.json"
        if path.exists():
            lines.append(f"| {name} | {json.loads(path.read_text())['version']} |")
    return lines


def ml_peg() -> list[str]:
    """Return what ml-peg found."""
    tests = json.loads((RESULTS / "outside_ml_peg.json").read_text())["tests"]
    lines = ["| test | metric | value | its score is 0 from | on what |", "|---|---|---|---|---|"]
    for test, rows in tests.items():
        for row in rows:
            bad = f"{number(row['bad'])} {row['unit']}".strip()
            value = "not computed" if row["value"] is None else number(row["value"])
            value = value if row["value"] is None or row["value"] < row["bad"] else f"**{value}**"
            name = test.replace("_", " ")
            lines.append(f"| {name} | {row['metric']} | {value} | {bad} | {row['looked_at']} |")
    return lines


def mlipaudit() -> list[str]:
    """Return what mlipaudit found."""
    tests = json.loads((RESULTS / "outside_mlipaudit.json").read_text())["tests"]
    lines = ["| benchmark | measured | limit | its score | on what |", "|---|---|---|---|---|"]
    for test, found in tests.items():
        score = "–" if found["score"] is None else f"{found['score']:.2f}"
        score = score if found["score"] and found["score"] > 0.99 else f"**{score}**"
        lines.append(
            f"| {test.replace('_', ' ')} | {number(found['measured'])}: {found['what']} | "
            f"{number(found['limit'])} | {score} | {found['looked_at']} |"
        )
    return lines


def main() -> None:
    """Rewrite the tables of the page."""
    entries = reports()
    for name, lines in (
        ("peers", peers(entries)),
        ("failures", failures(entries)),
        ("ml-peg", ml_peg()),
        ("mlipaudit", mlipaudit()),
        ("versions", found_versions(entries)),
    ):
        write_between_markers(PAGE, name, "\n".join(lines))


if __name__ == "__main__":
    main()
