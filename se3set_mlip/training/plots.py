"""Pictures of a run: learning curve and parity plots, as PNG. Needs matplotlib."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from se3set_mlip.elements import SYMBOLS
from se3set_mlip.errors import MissingDependencyError
from se3set_mlip.training.metrics import Metrics, Predictions
from se3set_mlip.units import MEV_PER_EV

_BLUE, _ORANGE, _GRAY = "#2b6cb0", "#dd6b20", "#718096"
_ELEMENT_COLORS = {"H": "#90a4c0", "C": "#2d3748", "N": "#3182ce", "O": "#e53e3e", "S": "#d69e2e"}
_OTHER_COLORS = ("#38a169", "#805ad5", "#d53f8c", "#319795", "#b7791f")
_MAXIMUM_POINTS = 20_000
_RESOLUTION_DPI = 150


def require_matplotlib() -> None:
    """Raise MissingDependencyError when there is no matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingDependencyError(
            "plots need matplotlib; install it with `pip install matplotlib`, or set run.plots to "
            "false"
        )


def _figure(width: float, height: float) -> Any:
    """Return an empty figure that needs no display."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - optional
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _style(axes: Any, xlabel: str, ylabel: str) -> None:
    """Give axes the common look."""
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(color="#e2e8f0", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _plain_ticks(axes: Any) -> None:
    """Label a logarithmic axis with plain numbers, and enough of them."""
    from matplotlib.ticker import FuncFormatter, LogLocator  # noqa: PLC0415 - optional

    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda _value, _: ""))


def plot_learning_curve(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw training loss, validation errors and learning rate against the epoch.

    Parameters
    ----------
    rows
        The log; epochs without validation hold None.
    path
        The PNG to write.
    """
    figure = _figure(9.0, 3.6)
    loss_axes, error_axes = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    marker = "o" if len(rows) < 3 else ""
    losses = [row["train_loss"] for row in rows]
    loss_axes.semilogy(epochs, losses, marker=marker, color=_BLUE, lw=1.3)
    _style(loss_axes, "epoch", "training loss")
    _plain_ticks(loss_axes)
    rate_axes = loss_axes.twinx()
    rate_axes.plot(epochs, [row["learning_rate"] for row in rows], color=_GRAY, lw=0.9, ls="--")
    rate_axes.set_ylabel("learning rate (dashed)", color=_GRAY)
    rate_axes.set_ylim(bottom=0.0)
    rate_axes.spines["top"].set_visible(False)
    for name, label, color in (
        ("validation_force_rmse_mev_per_angstrom", "forces, meV/Å", _BLUE),
        ("validation_energy_rmse_mev_per_atom", "energy, meV/atom", _ORANGE),
    ):
        points = [(row["epoch"], row[name]) for row in rows if row[name] is not None]
        if points:
            x, y = zip(*points, strict=True)
            text = f"{label} ({y[-1]:.3g} at the end)"
            error_axes.semilogy(x, y, marker=marker, color=color, lw=1.3, label=text)
    _style(error_axes, "epoch", "validation RMSE")
    if error_axes.lines:
        _plain_ticks(error_axes)
        error_axes.legend(frameon=False, fontsize=8.5, loc="lower left", bbox_to_anchor=(0, 1))
    figure.savefig(path, dpi=_RESOLUTION_DPI)


def plot_parity(predictions: Predictions, metrics: Metrics, path: Path, *, title: str) -> None:
    """Draw predicted against reference energies and forces, and the distribution of force errors.

    Parameters
    ----------
    predictions
        Labels and predictions.
    metrics
        Their errors, for the captions.
    path
        The PNG to write.
    title
        Name of the structures.
    """
    has_energies, has_forces = bool(len(predictions.energy)), bool(len(predictions.forces))
    n_panels = has_energies + 2 * has_forces
    figure = _figure(4.0 * max(n_panels, 1), 4.0)
    figure.suptitle(f"{title}, {metrics['n_structures']} structures", fontsize=11)
    panels = iter(figure.subplots(1, n_panels, squeeze=False)[0] if n_panels else ())
    if has_energies:
        _plot_energies(next(panels), predictions, metrics)
    if has_forces:
        _plot_forces(next(panels), next(panels), predictions, metrics)
    figure.savefig(path, dpi=_RESOLUTION_DPI)


def _diagonal(axes: Any, values: Any) -> None:
    """Draw the line of equality, with equal limits on both axes."""
    low, high = float(np.min(values)), float(np.max(values))
    margin = 0.04 * (high - low) or 0.5
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color=_GRAY, lw=0.8, zorder=1)
    axes.set_xlim(limits)
    axes.set_ylim(limits)
    axes.set_aspect("equal")


def _caption(axes: Any, text: str) -> None:
    """Write text into the upper left corner."""
    axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", fontsize=8.5)


def _plot_energies(axes: Any, predictions: Predictions, metrics: Metrics) -> None:
    """Draw energies per atom relative to the mean of the labels."""
    _style(axes, "reference energy, meV/atom", "predicted energy, meV/atom")
    per_atom = predictions.energy / predictions.n_atoms[:, None] * MEV_PER_EV
    per_atom = per_atom - per_atom[:, 0].mean()
    axes.scatter(*per_atom.T, s=9, color=_ORANGE, alpha=0.6, linewidths=0, zorder=2)
    _diagonal(axes, per_atom)
    _caption(
        axes,
        f"RMSE {metrics['energy_rmse_mev']:.3g} meV "
        f"({metrics['energy_rmse_mev_per_atom']:.3g} meV/atom)\n"
        f"MAE {metrics['energy_mae_mev']:.3g} meV",
    )


def _plot_forces(
    axes: Any, error_axes: Any, predictions: Predictions, metrics: Metrics
) -> None:  # fmt: skip
    """Draw force components by element, and histograms of their errors."""
    _style(axes, "reference force, eV/Å", "predicted force, eV/Å")
    _style(error_axes, "force error, meV/Å", "density of components")
    error_axes.set_yticks([])
    others = iter(_OTHER_COLORS * 30)
    every = max(1, predictions.forces[..., 0].size // _MAXIMUM_POINTS)
    errors = (predictions.forces[..., 1] - predictions.forces[..., 0]) * MEV_PER_EV
    reach = max(float(np.quantile(np.abs(errors), 0.99)), 1e-9)
    for number in np.unique(predictions.numbers):
        chosen = predictions.numbers == number
        symbol = SYMBOLS[number]
        color = _ELEMENT_COLORS.get(symbol) or next(others)
        points = predictions.forces[chosen].reshape(-1, 2)[::every]
        axes.scatter(*points.T, s=4, color=color, alpha=0.5, linewidths=0, label=symbol, zorder=2)
        rmse = float(np.sqrt(np.mean(errors[chosen] ** 2)))
        error_axes.hist(
            errors[chosen].ravel(),
            bins=np.linspace(-reach, reach, 61).tolist(),
            density=True,
            histtype="step",
            color=color,
            lw=1.4,
            label=f"{symbol}: RMSE {rmse:.1f}",
        )
    _diagonal(axes, predictions.forces)
    axes.legend(frameon=False, fontsize=8.5, loc="lower right", markerscale=2.5)
    error_axes.legend(frameon=False, fontsize=8.5)
    _caption(
        axes,
        f"RMSE {metrics['force_rmse_mev_per_angstrom']:.3g} meV/Å\n"
        f"MAE {metrics['force_mae_mev_per_angstrom']:.3g} meV/Å",
    )
