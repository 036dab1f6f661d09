"""A page of pictures of a report: what the numbers were measured on. Needs matplotlib."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from se3set_mlip.errors import InputError, MissingDependencyError
from se3set_mlip.testing.report import Report
from se3set_mlip.testing.results import CheckResult
from se3set_mlip.units import FEMTOSECONDS_PER_PICOSECOND

_BLUE, _ORANGE, _GRAY = "#2b6cb0", "#dd6b20", "#718096"
_COLORS = (
    *("#2b6cb0", "#dd6b20", "#38a169", "#805ad5", "#d53f8c", "#319795", "#b7791f", "#e53e3e"),
    *("#2d3748", "#63b3ed", "#f6ad55", "#68d391"),
)
_RESOLUTION_DPI = 150
_MANY_CURVES = 24
_WINDOW_EV = 12.0
"""Curves are drawn up to this energy above their end; a repulsive wall hides the rest."""
_SUFFIXES = (".png", ".pdf", ".svg")


def draw_report(report: Report, path: Path) -> None:
    """Draw one page: crossings, paths, constant energy, its order, diatomics, bonds.

    Parameters
    ----------
    report
        A report with the data of its results.
    path
        The file to write; ``.png``, ``.pdf`` or ``.svg``.

    Raises
    ------
    MissingDependencyError
        Without matplotlib.
    InputError
        For another suffix.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"plot file {path.name!r} must end in one of {', '.join(_SUFFIXES)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingDependencyError(
            "plots need matplotlib: pip install 'se3set-mlip[train]', or leave --plot out"
        )
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional

    figure = Figure(figsize=(14.0, 12.0), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12, hspace=0.06, wspace=0.04)
    figure.suptitle(f"{report.subject} on {report.structure} ({report.mode} checks)", fontsize=13)
    top, middle, bottom = figure.subfigures(3, 1)
    _draw_crossings(top, _find(report, "microscope"))
    paths, energy, fluctuation = middle.subplots(1, 3)
    _draw_paths(paths, _find(report, "paths"))
    order = _find(report, "timestep_fs")
    _draw_energy(energy, _find(report, "drift_mev_per_atom_per_ps"), order)
    _draw_order(fluctuation, order)
    diatomics, bonds = bottom.subplots(1, 2)
    _draw_curves(diatomics, _find(report, "curves", "diatomics"), "diatomics")
    _draw_curves(bonds, _find(report, "curves", "bond"), "bonds stretched")
    figure.savefig(path, dpi=_RESOLUTION_DPI)


def _find(report: Report, key: str, start: str = "") -> CheckResult | None:
    """Return the first result that has data of this name and whose name starts so."""
    found = (r for r in report.results if key in r.data and r.name.startswith(start))
    return next(found, None)


def _style(axes: Any, title: str, xlabel: str, ylabel: str) -> None:
    """Give axes the common look."""
    axes.set_title(title, fontsize=10.5)
    axes.set_xlabel(xlabel, fontsize=9)
    axes.set_ylabel(ylabel, fontsize=9)
    axes.tick_params(labelsize=8.5)
    axes.grid(color="#e2e8f0", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _nothing(axes: Any, title: str) -> None:
    """Say that there is nothing to draw."""
    axes.axis("off")
    axes.set_title(title, fontsize=10.5)
    axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=_GRAY)


def _draw_crossings(figure: Any, result: CheckResult | None) -> None:
    """Draw energy and force around the worst crossing at each zoom, less their trend before it."""
    title = "worst crossing under the microscope, less a parabola through what comes before it"
    if result is None:
        _nothing(figure.subplots(1, 1), title)
        return
    zooms: Sequence[Mapping[str, Any]] = result.data["microscope"]
    worst = result.data["worst"]
    figure.suptitle(f"{title}\n{', '.join(worst['kinds'])}, {worst['path']}", fontsize=10.5)
    for axes, zoom in zip(figure.subplots(1, len(zooms), squeeze=False)[0], zooms, strict=True):
        t = np.array(zoom["t_angstrom"]) / zoom["half_width_angstrom"]
        _style(axes, "", f"t in units of {zoom['half_width_angstrom']:.0e} Å", "energy (eV)")
        axes.plot(t, zoom["energy_ev"], "o-", ms=3.5, lw=1.0, color=_BLUE)
        axes.yaxis.label.set_color(_BLUE)
        axes.set_xticks([-1.0, -0.5, 0.0, 0.5, 1.0])
        axes.axvline(0.0, color=_GRAY, lw=0.7, ls=":")
        other = axes.twinx()
        force = zoom["force_ev_per_angstrom"]
        other.plot(t, force, "s--", ms=3.0, lw=0.8, color=_ORANGE)
        other.set_ylabel("force component (eV/Å)", fontsize=9, color=_ORANGE)
        other.tick_params(labelsize=8.5)
        other.spines["top"].set_visible(False)
        _at_least(axes, np.array(zoom["energy_ev"]), 1e-9)
        _at_least(other, np.array(force), 1e-6)


def _at_least(axes: Any, values: Any, reach: float) -> None:
    """Centre the vertical axis on zero and show at least the allowed step, not rounding."""
    largest = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
    reach = 1.15 * max(reach, largest)
    axes.set_ylim(-reach, reach)


def _draw_paths(axes: Any, result: CheckResult | None) -> None:
    """Draw the energy along random paths."""
    title = "energy along random smooth paths"
    if result is None:
        _nothing(axes, title)
        return
    _style(axes, title, "t", "energy (eV)")
    for k, path in enumerate(result.data["paths"]):
        energies = np.array(path["energy_ev"])
        color = _COLORS[k % len(_COLORS)]
        axes.plot(path["t"], energies - energies.min(), lw=1.3, color=color)


def _draw_energy(axes: Any, drift: CheckResult | None, order: CheckResult | None) -> None:
    """Draw the total energy of the long run, or of the short ones if there is no long one."""
    title = "NVE: change of the total energy"
    if drift is not None:
        _style(axes, title, "time (ps)", "meV/atom")
        axes.plot(drift.data["time_ps"], drift.data["total_mev_per_atom"], lw=0.6, color=_BLUE)
        slope = drift.data["drift_mev_per_atom_per_ps"]
        axes.text(
            *(0.03, 0.97, f"drift {slope:+.1e} meV/atom/ps"),
            transform=axes.transAxes,
            va="top",
            fontsize=8.5,
        )
        axes.margins(y=0.2)
    elif order is not None:
        _style(axes, title, "time (fs)", "meV/atom")
        times = FEMTOSECONDS_PER_PICOSECOND * np.array(order.data["time_ps"])
        runs = zip(order.data["timestep_fs"], order.data["total_mev_per_atom"], strict=True)
        for k, (step, energies) in reversed(list(enumerate(runs))):
            values = np.array(energies, dtype=float)
            axes.plot(times, values, lw=1.2, color=_COLORS[k], label=f"{step:g} fs")
        axes.margins(y=0.25)
        axes.legend(frameon=False, fontsize=8.5, ncols=3, loc="upper center")
    else:
        _nothing(axes, title)


def _draw_order(axes: Any, result: CheckResult | None) -> None:
    """Draw the fluctuation of the total energy against the time step, beside the square."""
    title = "NVE: fluctuation against the time step"
    values = [] if result is None else result.data["fluctuation_mev_per_atom"]
    if result is None or not np.all(np.array(values, dtype=float) > 0.0):
        _nothing(axes, title)
        return
    steps = np.array(result.data["timestep_fs"])
    _style(axes, title, "time step (fs)", "meV/atom")
    square = values[0] * (steps / steps[0]) ** 2
    axes.loglog(steps, square, "--", lw=1.0, color=_GRAY, label="∝ dt²")
    label = f"measured, slope {result.measured:.2f}"
    axes.loglog(steps, values, "o-", ms=5.0, lw=1.3, color=_BLUE, label=label)
    axes.set_xticks(steps, [f"{step:g}" for step in steps])
    axes.set_yticks(values, [f"{value:.2g}" for value in values])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")


def _draw_curves(axes: Any, result: CheckResult | None, title: str) -> None:
    """Draw the energies of scans, each from its last point, cut above the window."""
    if result is None:
        _nothing(axes, title)
        return
    _style(axes, title, "distance (Å)", "energy from the end (eV)")
    curves = list(result.data["curves"].items())[:_MANY_CURVES]
    shown = []
    for k, (name, curve) in enumerate(curves):
        energies = np.array(curve["energy_ev"], dtype=float)
        energies = energies - energies[-1]
        style = "-" if k < len(_COLORS) else "--"
        label = f"{name}: {curve['minima']} min., {curve['flips']} flips"
        color = _COLORS[k % len(_COLORS)]
        axes.plot(curve["distance_angstrom"], energies, style, lw=1.2, color=color, label=label)
        shown.append(energies[np.isfinite(energies)])
    values = np.concatenate(shown)
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    high = min(high, max(low, 0.0) + _WINDOW_EV)
    low = max(low, -10.0 * _WINDOW_EV)
    margin = 0.05 * (high - low) or 0.1
    axes.set_ylim(low - margin, high + margin)
    axes.legend(frameon=False, fontsize=8, ncols=1, loc="upper left", bbox_to_anchor=(1.0, 1.0))
