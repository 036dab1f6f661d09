"""Errors of the shipped models beside published ones: `se3set evaluate` on every test set there is.

    python benchmarks/published/table.py [--only "rMD17 aspirin"]

Writes ``results/NAME.json`` (what ``se3set evaluate --json`` writes) and the table in
``docs/accuracy.md``. A test set is for models that were chosen without it. Entries without a model
are left out; a missing file of revised MD17 is an error that says how to make it.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from entries import ENTRIES, RMD17, ROOT, Entry
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import write_between_markers

RESULTS = Path(__file__).parent / "results"
PAGE = ROOT / "docs" / "accuracy.md"


def result_file(entry: Entry) -> Path:
    """Return where the errors of an entry are kept."""
    return RESULTS / f"{entry.name.replace(',', '').replace(' ', '_')}.json"


def evaluate(entry: Entry) -> None:
    """Compute the errors of a model on its test set."""
    if not entry.test.exists():
        sys.exit(
            f"{entry.test} is missing; write it with "
            f"python benchmarks/rmd17/prepare.py --data FOLDER --output {RMD17.relative_to(ROOT)}"
        )
    RESULTS.mkdir(exist_ok=True)
    program = Path(sys.executable).parent / "se3set"
    arguments = [str(entry.model), str(entry.test), "--json", str(result_file(entry))]
    subprocess.run([str(program), "evaluate", *arguments], check=True, stdout=subprocess.DEVNULL)


def row(entry: Entry, errors: dict[str, Any]) -> str:
    """Return a line of the table; bold is what is below every published figure."""
    energy = errors[f"energy_{entry.measure}_mev"]
    force = errors[f"force_{entry.measure}_mev_per_angstrom"]
    best = [min(values) for values in zip(*entry.published.values(), strict=True)]
    own = "/".join(
        f"**{value:.2f}**" if value < limit else f"{value:.2f}"
        for value, limit in zip((energy, force), best, strict=True)
    )
    others = ", ".join(f"{name} {e:g}/{f:g}" for name, (e, f) in entry.published.items())
    return f"| {entry.name} | {entry.measure.upper()} | {own} | {others} |"


def main() -> None:
    """Evaluate what is asked for, and write the table of all that was evaluated."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="*", choices=[entry.name for entry in ENTRIES])
    options = parser.parse_args()
    wanted = [entry for entry in ENTRIES if options.only is None or entry.name in options.only]
    for entry in tqdm([entry for entry in wanted if entry.model.exists()], unit="test set"):
        evaluate(entry)
    lines = ["| test set | error | this package, meV and meV/Å | published |", "|---|---|---|---|"]
    lines += [
        row(entry, json.loads(result_file(entry).read_text(encoding="utf-8")))
        for entry in ENTRIES
        if result_file(entry).exists()
    ]
    text = "\n".join(lines)
    print(text)
    write_between_markers(PAGE, "table", text)


if __name__ == "__main__":
    main()
