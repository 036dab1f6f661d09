"""Whether a spread tells the error: statistics, a table and a picture of both.

A spread is calibrated if errors are as large as it says, in the mean over squares:

    factor = sqrt(<|error|^2> / <spread^2>) = 1

A factor above 1 is an overconfident committee: its spread is to be multiplied by that. Whether it
ranks geometries rightly, which is what a threshold needs, is told by rank correlations.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from scipy import stats

mpl.use("Agg")
import matplotlib.pyplot as plt

Values = NDArray[np.float64]
COLOURS = {"300 K": "tab:blue", "600 K": "tab:red"}
QUANTILE = 0.99
N_BINS = 12
HEADER = (
    "| structures | force RMSE, meV/Å | spread of forces, eV/Å | error / spread "
    "| rank correlation | energy RMSE, meV | error / spread | rank correlation |"
)


@dataclass(frozen=True)
class Comparison:
    """Spread of a committee and error of its mean, on one set of structures of one molecule."""

    energy_std: Values
    """(n_structures,) eV."""
    energy_error: Values
    """(n_structures,) eV, with its sign."""
    force_std: Values
    """(n_structures, n_atoms) eV/Å: ``forces_std_norm`` of each atom."""
    force_error: Values
    """(n_structures, n_atoms) eV/Å: norm of the error of each atom's force."""

    @property
    def largest_std(self) -> Values:
        """Largest spread of an atom in each structure, (n_structures,) eV/Å: what is watched."""
        return self.force_std.max(axis=1)


def agreement(std: Values, error: Values) -> dict[str, float]:
    """Return how a spread and an error go together; both in the same unit, of equal shape."""
    std, error = std.ravel(), np.abs(error).ravel()
    return {
        "rms_std": _rms(std),
        "rms_error": _rms(error),
        "factor": _rms(error) / _rms(std),
        "pearson": float(stats.pearsonr(std, error).statistic),
        "spearman": float(stats.spearmanr(std, error).statistic),
    }


def summary(found: Comparison) -> dict[str, Any]:
    """Return all statistics of one set of structures."""
    n_structures, n_atoms = found.force_std.shape
    return {
        "n_structures": n_structures,
        "force_rmse_mev_per_angstrom": 1000.0 * _rms(found.force_error) / np.sqrt(3.0),
        "energy_rmse_mev": 1000.0 * _rms(found.energy_error),
        "energy_rmse_mev_per_atom": 1000.0 * _rms(found.energy_error) / n_atoms,
        "median_of_largest_force_std": float(np.median(found.largest_std)),
        "forces_of_atoms": agreement(found.force_std, found.force_error),
        "largest_of_structures": agreement(found.largest_std, found.force_error.max(axis=1)),
        "energies": agreement(found.energy_std, found.energy_error),
    }


def contrast(known: Comparison, new: Comparison) -> dict[str, float]:
    """Return how well the largest spread tells structures of a new kind from those of a known one.

    The threshold is the 0.99 quantile of the known kind. ``probability`` is that of a new structure
    having a larger spread than a known one: 0.5 says nothing, 1 tells all.
    """
    threshold = float(np.quantile(known.largest_std, QUANTILE))
    above = new.largest_std > threshold
    larger = stats.mannwhitneyu(new.largest_std, known.largest_std).statistic
    errors = new.force_error
    return {
        "threshold_ev_per_angstrom": threshold,
        "share_of_new_above": float(above.mean()),
        "force_rms_error_above": _rms(errors[above]) if above.any() else float("nan"),
        "force_rms_error_below": _rms(errors[~above]) if (~above).any() else float("nan"),
        "ratio_of_medians": float(np.median(new.largest_std) / np.median(known.largest_std)),
        "probability": float(larger / (len(new.largest_std) * len(known.largest_std))),
    }


def bins(std: Values, error: Values, n_bins: int) -> tuple[Values, Values]:
    """Return root mean squares of spread and error in bins of equally many, by spread."""
    order = np.argsort(std.ravel())
    parts = np.array_split(order, n_bins)
    return (
        np.array([_rms(std.ravel()[part]) for part in parts]),
        np.array([_rms(error.ravel()[part]) for part in parts]),
    )


def table(summaries: dict[str, dict[str, Any]]) -> str:
    """Return one row for each set of structures."""
    lines = [HEADER, "|" + 8 * "---|"]
    for name, row in summaries.items():
        forces, energies = row["forces_of_atoms"], row["energies"]
        lines.append(
            f"| {row['n_structures']} at {name} | {row['force_rmse_mev_per_angstrom']:.1f} "
            f"| {forces['rms_std']:.3f} | {forces['factor']:.2f} | {forces['spearman']:.2f} "
            f"| {row['energy_rmse_mev']:.1f} | {energies['factor']:.2f} "
            f"| {energies['spearman']:.2f} |"
        )
    return "\n".join(lines)


def draw(comparisons: dict[str, Comparison], path: Path, *, threshold: float) -> None:
    """Draw the spread against the error of each atom, and the largest spread of each structure."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.2), layout="constrained")
    everything = np.concatenate([found.force_std.ravel() for found in comparisons.values()])
    ends = np.array([everything.min(), everything.max()])
    left.plot(ends, ends, color="0.4", lw=1, ls="--", label="error = spread")
    for name, found in comparisons.items():
        colour, numbers = COLOURS[name], agreement(found.force_std, found.force_error)
        left.plot(
            found.force_std.ravel(), found.force_error.ravel(), ".", ms=1.5, alpha=0.15, c=colour
        )
        label = f"{name}: error / spread {numbers['factor']:.2f}, rank {numbers['spearman']:.2f}"
        left.plot(
            *bins(found.force_std, found.force_error, N_BINS), "o-", c=colour, mec="w", label=label
        )
    left.set(
        xscale="log",
        yscale="log",
        xlabel="spread of the force on an atom (eV/Å)",
        ylabel="error of the force on an atom (eV/Å)",
    )
    left.legend(fontsize=8, loc="upper left")
    largest = np.concatenate([found.largest_std for found in comparisons.values()])
    edges = np.geomspace(largest.min(), largest.max(), 40)
    for name, found in comparisons.items():
        right.hist(found.largest_std, edges, color=COLOURS[name], alpha=0.6, label=name)
    right.axvline(threshold, color="0.2", lw=1, ls=":", label=f"{QUANTILE:.0%} of 300 K")
    right.set(
        xscale="log", xlabel="largest spread of a structure (eV/Å)", ylabel="number of structures"
    )
    right.legend(fontsize=8, loc="upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _rms(values: Values) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))
