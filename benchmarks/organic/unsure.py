"""How unsure a committee of shipped potentials says it is, against its errors on new molecules.

    python benchmarks/organic/unsure.py gfn2-small gfn2-medium [--part test]

Writes ``results/unsure_PART.json`` and a picture; ``--part test`` once, with ``judge.py``. What the
numbers are: ``benchmarks/engines/calibration.py``.
"""

import argparse
import json
import sys
from typing import Any

import ase.io
import matplotlib.pyplot as plt
import numpy as np
from judge import labels_of
from molecules import FILE
from subjects import HERE, RESULTS, provenance
from train import labelled

import se3set_mlip as s3

sys.path.insert(0, str(HERE.parent))
from engines.calibration import agreement, bins

THRESHOLDS = (0.1, 0.2, 0.4)
"""Largest spread of a force in a structure, eV/Å."""
N_BINS = 15


def main() -> None:
    """Evaluate, compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--part", choices=["validation", "test"], default="validation")
    options = parser.parse_args()
    frames = [f for path in labelled(FILE.parent, options.part) for f in ase.io.read(path, ":")]
    committee = s3.Committee([s3.load(model) for model in options.models])
    found = committee.evaluate(frames, forces=True, batch_size=16, progress=True)
    spreads = [result.forces_std_norm for result in found]
    errors = [
        np.linalg.norm(result.forces - frame.arrays["REF_forces"], axis=1)
        for result, frame in zip(found, frames, strict=True)
    ]
    std, error = np.concatenate(spreads), np.concatenate(errors)
    largest_std = np.array([values.max() for values in spreads])
    largest_error = np.array([values.max() for values in errors])
    energy_error = [
        (result.energy - frame.info["REF_energy"]) / len(frame)
        for result, frame in zip(found, frames, strict=True)
    ]
    energy_std = [r.energy_std / len(frame) for r, frame in zip(found, frames, strict=True)]
    record: dict[str, Any] = {
        "models": options.models,
        "structures": len(frames),
        "forces_of_atoms": agreement(std, error),
        "largest_of_structures": agreement(largest_std, largest_error),
        "energies_per_atom": agreement(np.array(energy_std), np.array(energy_error)),
        "spread_median_by_molecule": by_molecule(frames, largest_std),
        "above": {
            str(threshold): {
                "share": float((largest_std > threshold).mean()),
                "force_mae_above": mae(errors, largest_std > threshold),
                "force_mae_below": mae(errors, largest_std <= threshold),
            }
            for threshold in THRESHOLDS
        },
    }
    path = RESULTS / f"unsure_{options.part}.json"
    path.write_text(json.dumps(record | provenance(), indent=1) + "\n", encoding="utf-8")
    figure, axis = plt.subplots(figsize=(4.6, 4), layout="constrained")
    ends = np.quantile(std, [0.001, 0.999])
    axis.plot(largest_std, largest_error, ".", ms=2, alpha=0.3, label="largest of a structure")
    axis.plot(*bins(std, error, N_BINS), "o-", label="forces on atoms, in bins")
    axis.plot(ends, ends, color="0.4", lw=1, ls="--", label="error = spread")
    axis.set(xscale="log", yscale="log", xlabel="spread, eV/Å", ylabel="error, eV/Å")
    axis.legend(fontsize=8)
    figure.savefig(path.with_suffix(".png"), dpi=120)
    print(json.dumps(record, indent=1))


def mae(errors: list[np.ndarray], chosen: np.ndarray) -> float | None:
    """Return the mean norm of the force errors of some structures, meV/Å; None of none."""
    kept = [error for error, take in zip(errors, chosen, strict=True) if take]
    return 1000.0 * float(np.concatenate(kept).mean()) if kept else None


def by_molecule(frames: list[ase.Atoms], values: np.ndarray) -> dict[str, float]:
    """Return the median of values by kind of molecule."""
    groups: dict[str, list[float]] = {}
    for frame, value in zip(frames, values, strict=True):
        name = next(label for kind, label in labels_of(frame) if kind == "molecule")
        groups.setdefault(name, []).append(float(value))
    return {name: float(np.median(found)) for name, found in sorted(groups.items())}


if __name__ == "__main__":
    main()
