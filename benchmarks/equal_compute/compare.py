"""Same structures, same time, one core each, two at a time: choices of this package, and MACE.

    python benchmarks/equal_compute/compare.py acetylacetone --minutes 60 [--only density mace]
    python benchmarks/equal_compute/compare.py acetylacetone --minutes 60 --only-report
    python benchmarks/equal_compute/compare.py acetylacetone --minutes 60 --test

Each pair first takes a few steps side by side, which tell how many epochs fit into the time, so
that learning rates have fallen when it is over; then it trains side by side. Where the number of
subjects is odd, another seed keeps the last one company. Validation errors over time go to
``results/``; ``--test`` reads the test structures, once, for the best checkpoint of each. Finished
runs are skipped; a pair that was interrupted begins again.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from judge import test
from pairs import Contest
from report import write_results
from subjects import MACE, MACE_BIN, SUBJECTS
from systems import ROOT, SYSTEMS, prepare


def main() -> None:
    """Train, report, test."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, help="default: see systems.py")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--n-train", type=int, help="train on so many structures; default: all")
    parser.add_argument("--data", type=Path, help="folder of the files of the system")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "equal_compute")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--only-report", action="store_true")
    parser.add_argument("--test", action="store_true", help="read the test structures, once")
    options = parser.parse_args()
    system = SYSTEMS[options.system]
    if options.data:
        system = replace(system, folder=options.data.resolve())
    names = options.only or list(system.subjects)
    name = f"{options.system}_{options.minutes:g}min"
    name += f"_{options.n_train}" if options.n_train else ""
    folder = options.runs.resolve() / name
    if not (options.only_report or options.test):
        if MACE in names and not MACE_BIN.exists():
            sys.exit(f"there is no {MACE_BIN}; make it as benchmarks/speed/README.md says")
        structures = prepare(system, folder, options.n_train)["structures"]
        contest = Contest(system, structures, options.minutes, folder)
        for pair in contest.pairs(names, options.seed):
            contest.train(pair)
            write_results(name, system, folder, options.results)
    if not any(folder.glob("*/run.json")):
        sys.exit(f"there is no finished run in {folder}; train first")
    if options.test:
        test(system, folder)
    print(write_results(name, system, folder, options.results))


if __name__ == "__main__":
    main()
