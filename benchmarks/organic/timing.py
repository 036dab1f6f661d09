"""Time of energy and forces against GFN2-xTB, by size, on the same machine in the same run.

    python benchmarks/organic/timing.py MODEL [--threads 1] [--compiled]

Peptides Ac-Ala(n)-NHMe as a force field leaves them; with ``--compiled`` also by the network that
torch.compile made, which takes minutes before. Subjects take turns; times are medians over rounds,
and only their ratio carries to other machines. Each call is at a new geometry, as in dynamics.
Writes ``results/timing_MODEL.json`` and a picture.
"""

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any

RESIDUES = (1, 2, 4, 8, 16)
ROUNDS = 5
LONGEST_S = 20.0
"""A subject whose call took longer is not asked about larger molecules."""


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compiled", action="store_true")
    options = parser.parse_args()
    # Before libraries are loaded, which read it then.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)

    import matplotlib.pyplot as plt  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from subjects import conformers, gfn2, write  # noqa: PLC0415

    import se3set_mlip as s3  # noqa: PLC0415

    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(1)
    potential = s3.load(options.model, dtype="float32")
    ours = {"potential": potential}
    if options.compiled:
        ours["compiled"] = potential.compiled()
    rows: list[dict[str, Any]] = []
    slow: set[str] = set()
    for residues in RESIDUES:
        smiles = "CC(=O)" + "N[C@@H](C)C(=O)" * residues + "NC"
        atoms = conformers(smiles, 1)[1][0]
        subjects = {"GFN2-xTB": gfn2(0)}
        subjects |= {
            name: s3.SE3SetCalculator(each, dtype="float32") for name, each in ours.items()
        }
        times: dict[str, list[float]] = {name: [] for name in subjects if name not in slow}
        for turn in range(ROUNDS + 1):
            atoms.positions += 0.003 * rng.standard_normal(atoms.positions.shape)
            for name, measured in times.items():
                atoms.calc = subjects[name]
                began = time.perf_counter()
                atoms.get_forces()
                if turn:  # the first call prepares
                    measured.append(time.perf_counter() - began)
        found = {name: statistics.median(values) for name, values in times.items()}
        slow |= {name for name, seconds in found.items() if seconds > LONGEST_S}
        rows.append({"residues": residues, "atoms": len(atoms), "seconds": found})
        print(len(atoms), {name: f"{1000 * value:.1f} ms" for name, value in found.items()})
    path = write("timing", options.model, {"threads": options.threads, "rows": rows})
    figure, axis = plt.subplots(figsize=(4.5, 3.5), layout="constrained")
    for name in ("GFN2-xTB", *ours):
        known = [row for row in rows if name in row["seconds"]]
        sizes = [row["atoms"] for row in known]
        axis.loglog(sizes, [1000.0 * row["seconds"][name] for row in known], "o-", label=name)
    axis.set(xlabel="atoms of Ac-Ala(n)-NHMe", ylabel="energy and forces, ms")
    axis.legend()
    figure.savefig(path.with_suffix(".png"), dpi=120)


if __name__ == "__main__":
    main()
