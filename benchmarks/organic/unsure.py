"""Whether the spread of a committee tells where a potential errs, on molecules never seen.

    python benchmarks/organic/unsure.py MODEL MODEL [...] [--part test]

The error is that of the first model. Each structure counts as unsure as its most unsure atom, as
thresholds of dynamics do. ``--part validation`` to choose members, ``test`` once. Writes
``results/unsure_MODEL_PART.json`` and ``.png``.
"""

import argparse
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import ase.io
import matplotlib.pyplot as plt
import numpy as np
from molecules import FILE
from numpy.typing import NDArray
from subjects import write
from train import labelled

import se3set_mlip as s3
from se3set_mlip.shipped import find_model

sys.path.insert(0, str(Path(__file__).parents[1]))
from engines.calibration import agreement

Values = NDArray[np.float64]
N_BINS = 12
LEVELS = (0.5, 0.9)
"""Quantiles of the spread at which structures are divided."""


def compare(
    first: s3.Potential, committee: s3.Committee, frames: list[ase.Atoms]
) -> dict[str, list[Values]]:
    """Return, for each structure, the spread of each atom's force and the error of the first."""
    spreads = committee.evaluate(frames, forces=True, batch_size=16, progress=True)
    own = first.evaluate(frames, forces=True, batch_size=16, progress=True)
    return {
        "spread": [found.forces_std_norm for found in spreads],
        "error": [
            np.linalg.norm(found.forces - frame.arrays["REF_forces"], axis=1)
            for found, frame in zip(own, frames, strict=True)
        ],
        "energy_error": [
            np.atleast_1d(abs(found.energy - frame.info["REF_energy"]) / len(frame))
            for found, frame in zip(own, frames, strict=True)
        ],
    }


def by_level(found: dict[str, list[Values]]) -> list[dict[str, Any]]:
    """Return the errors of structures between quantiles of their largest spread."""
    largest = np.array([spread.max() for spread in found["spread"]])
    edges = [-np.inf, *np.quantile(largest, LEVELS), np.inf]
    rows = []
    for low, high in pairwise(edges):
        inside = np.flatnonzero((largest > low) & (largest <= high))
        atoms = np.concatenate([found["error"][k] for k in inside])
        energies = np.concatenate([found["energy_error"][k] for k in inside])
        rows.append(
            {
                "spread_from_ev_per_angstrom": max(float(low), 0.0),
                "n": len(inside),
                "error_of_an_atom_mev_per_angstrom": 1000.0 * float(atoms.mean()),
                "energy_mae_mev_per_atom": 1000.0 * float(energies.mean()),
            }
        )
    return rows


def draw(spread: Values, error: Values, path: Path) -> None:
    """Draw the error of each atom's force against its spread, and medians."""
    figure, axis = plt.subplots(figsize=(4.8, 4.2), layout="constrained")
    axis.plot(spread, error, ".", ms=1.5, alpha=0.1)
    parts = np.array_split(np.argsort(spread), N_BINS)
    medians = np.array([(np.median(spread[part]), np.median(error[part])) for part in parts])
    axis.plot(*medians.T, "o-", c="tab:red", mec="w", label="medians")
    ends = np.quantile(spread, [0.001, 0.999])
    axis.plot(ends, ends, c="0.4", lw=1, ls="--", label="error = spread")
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="spread of the force on an atom (eV/Å)",
        ylabel="error of the force on an atom (eV/Å)",
    )
    axis.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Compare, and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="+", help="names or files, two or more")
    parser.add_argument("--part", choices=["validation", "test"], default="validation")
    options = parser.parse_args()
    members = [s3.load(model, dtype="float32") for model in options.models]
    files = labelled(FILE.parent, options.part)
    frames = [frame for path in files for frame in ase.io.read(path, ":")]
    found = compare(members[0], s3.Committee(members), frames)
    spread, error = (np.concatenate(found[name]) for name in ("spread", "error"))
    largest = {name: np.array([v.max() for v in found[name]]) for name in ("spread", "error")}
    record = {
        "models": [Path(model).stem for model in options.models],
        "n_structures": len(frames),
        "atoms": agreement(spread, error),
        "largest_of_structures": agreement(largest["spread"], largest["error"]),
        "by_level": by_level(found),
    }
    name = find_model(options.models[0])
    path = write(f"unsure_{options.part}", name, record)
    draw(spread, error, path.with_suffix(".png"))
    print(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
