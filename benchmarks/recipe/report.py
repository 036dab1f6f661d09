"""Write the table of the experiments into docs/recipe.md, best forces first.

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


def table(found: list[dict[str, Any]]) -> str:
    """Return a Markdown table; cost is the time of the processor over that of the reference."""
    costs = {row["name"]: row["cpu_time_s"] for row in found}
    lines = [
        "| experiment | change | force RMSE, meV/Å | energy RMSE, meV | in training | cost |",
        "|---|---|---|---|---|---|",
    ]
    for row in found:
        cost, unit = row["cpu_time_s"], costs.get(REFERENCE)
        shown = f"{cost / unit:.2f}" if cost and unit else ""
        lines.append(
            f"| `{row['name']}` | {row['about']} | {row['force_rmse_mev_per_angstrom']:.1f} "
            f"| {row['energy_rmse_mev']:.1f} "
            f"| {row['training_force_rmse_mev_per_angstrom']:.1f} | {shown} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    text = table(rows())
    print(text)
    write_between_markers(PAGE, "table", text)
