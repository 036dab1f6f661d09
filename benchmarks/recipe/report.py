"""Write the table of the experiments into docs/recipe.md, best forces first.

python benchmarks/recipe/report.py
"""

import json
from typing import Any

from changes import CHANGES, REFERENCE, RESULTS, ROOT

PAGE = ROOT / "docs" / "recipe.md"
BEGIN, END = "<!-- begin table -->", "<!-- end table -->"


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
    page = PAGE.read_text(encoding="utf-8")
    start, stop = page.index(BEGIN) + len(BEGIN), page.index(END)
    PAGE.write_text(f"{page[:start]}\n{text}\n{page[stop:]}", encoding="utf-8")
