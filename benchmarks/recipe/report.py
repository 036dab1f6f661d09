"""Write the tables of the experiments into docs/recipe.md, best forces first.

Those that are judged by structures beyond the ones they learn have a table of their own.

python benchmarks/recipe/report.py
"""

import json
import sys
from pathlib import Path
from typing import Any

from changes import CHANGES, REFERENCE, RESULTS, ROOT

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import write_between_markers

PAGE = ROOT / "docs" / "recipe.md"


def rows() -> list[dict[str, Any]]:
    """Return what is finished, by force error."""
    found = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (RESULTS / f"{name}.json" for name in CHANGES)
        if path.exists()
    ]
    return sorted(found, key=lambda row: row["force_rmse_mev_per_angstrom"])


def table(found: list[dict[str, Any]], unit: float | None) -> str:
    """Return a Markdown table; cost is the time of the processor over ``unit``, in s."""
    lines = [
        "| experiment | change | force RMSE, meV/Å | energy RMSE, meV | in training | cost |",
        "|---|---|---|---|---|---|",
    ]
    for row in found:
        cost = row["cpu_time_s"]
        shown = f"{cost / unit:.2f}" if cost and unit else ""
        lines.append(
            f"| `{row['name']}` | {row['about']} | {row['force_rmse_mev_per_angstrom']:.1f} "
            f"| {row['energy_rmse_mev']:.1f} "
            f"| {row['training_force_rmse_mev_per_angstrom']:.1f} | {shown} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    found = rows()
    reference = {row["name"]: row["cpu_time_s"] for row in found}.get(REFERENCE)
    for name, beyond in (("table", False), ("beyond", True)):
        chosen = [row for row in found if ("data.validation_files" in row["changed"]) == beyond]
        text = table(chosen, reference)
        print(text)
        write_between_markers(PAGE, name, text)
