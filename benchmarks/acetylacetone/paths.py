"""Two paths of acetylacetone on which no model was trained: the proton goes across, a bond turns.

Energies along both, relative to the first geometry of the path, against PBE-D3:

- fragments kept: those of the first geometry along the whole path, as dynamics keep them;
- fragments found: topology and fragments anew at each geometry; the energy may jump where they
  change. A jump is E(new fragments) - E(old fragments) at the first geometry that has the new.

Between the geometries of a path, positions follow cubic splines over the length of the path, so
that the curves of the model show what lies between them.

    python benchmarks/acetylacetone/paths.py MODEL -o DIR

prints errors and barriers and writes ``paths.png`` and ``paths.json``. Energies in meV.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
from matplotlib.figure import Figure
from scipy.interpolate import CubicSpline

import se3set_mlip as s3
from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.units import MEV_PER_EV

DATA = Path(__file__).parent / "data"
POINTS_BETWEEN = 15
BATCH_SIZE = 32
FRAGMENTS = ("kept", "found")
LEVEL = "PBE-D3"
INK = "#1a202c"
LOOKS: dict[str, dict[str, Any]] = {
    "kept": {"color": "#2b6cb0", "lw": 1.4, "zorder": 3},
    "found": {"color": "#dd6b20", "lw": 3.2, "alpha": 0.5, "zorder": 2},
}


@dataclass(frozen=True)
class Path1D:
    """What is known of a path before any model sees it."""

    title: str
    file: str
    axis: str
    coordinate: Callable[[ase.Atoms], float]


@dataclass(frozen=True)
class Curve:
    """A model along a path; meV relative to the first geometry."""

    frames: list[float]
    """At the geometries of the path."""
    fine: list[float]
    """At those and the points between."""
    jumps: list[tuple[float, float]]
    """Where fragments change: coordinate of the path and energy jump."""
    rmse: float
    mae: float
    largest: float
    """Of |model - DFT| over the geometries of the path."""
    barrier: float
    """Highest geometry of the path."""
    fine_barrier: float
    """Highest point of the fine path."""


@dataclass(frozen=True)
class Result:
    """One path: the coordinate, DFT and the model with both choices of fragments."""

    x: list[float]
    fine_x: list[float]
    dft: list[float]
    dft_barrier: float
    curves: dict[str, Curve]


PATHS = {
    "proton_transfer": Path1D(
        "Proton transfer",
        "test_H_transfer.xyz",
        "d(O5-H) - d(O3-H) (Å)",
        lambda atoms: float(atoms.get_distance(5, 11) - atoms.get_distance(3, 11)),
    ),
    "dihedral": Path1D(
        "Turn about C-C",
        "test_dihedral.xyz",
        "dihedral O3-C2-C1-C0 (degrees)",
        lambda atoms: float(atoms.get_dihedral(3, 2, 1, 0)),
    ),
}


def interpolate(frames: Sequence[ase.Atoms], n_between: int) -> list[ase.Atoms]:
    """Return the geometries of a path and ``n_between`` points between each two."""
    positions = np.array([frame.positions for frame in frames])  # (n_frames, n_atoms, 3)
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=(1, 2))
    lengths = np.concatenate([[0.0], np.cumsum(steps)])  # (n_frames,) Å
    fraction = np.arange((len(frames) - 1) * (n_between + 1) + 1) / (n_between + 1)
    fine = np.interp(fraction, np.arange(len(frames)), lengths)
    spline = CubicSpline(lengths, positions)
    return [ase.Atoms(frames[0].numbers, spline(length)) for length in fine]


def find_fragments(potential: s3.Potential, atoms: ase.Atoms) -> s3.Fragmentation:
    """Return the fragments that a geometry has by itself."""
    topology = s3.Topology.from_coordinates(atoms.numbers, atoms.positions)
    return potential.fragment(topology, atoms.positions)


def energies(
    potential: s3.Potential,
    structures: Sequence[ase.Atoms],
    fragmentations: Sequence[s3.Fragmentation],
) -> np.ndarray:
    """Return the energies of structures with given fragments in eV, (n_structures,)."""
    found = []
    for start in range(0, len(structures), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        systems = [
            potential.system(atoms.numbers, atoms.positions, fragmentation)
            for atoms, fragmentation in zip(structures[part], fragmentations[part], strict=True)
        ]
        found.append(potential.compute(batch_systems(systems), forces=False).energy.cpu().numpy())
    return np.concatenate(found).astype(np.float64)


def evaluate_path(
    potential: s3.Potential,
    frames: Sequence[ase.Atoms],
    coordinate: Callable[[ase.Atoms], float],
    *,
    n_between: int = POINTS_BETWEEN,
) -> Result:
    """Evaluate a path with fragments kept and fragments found; see the module.

    Parameters
    ----------
    potential
        The model.
    frames
        Geometries along the path with their energies.
    coordinate
        What the path is drawn against.
    n_between
        Points between each two geometries.
    """
    dft = np.array([frame.get_potential_energy() for frame in frames])
    dft = MEV_PER_EV * (dft - dft[0])
    structures = interpolate(frames, n_between)
    x = [coordinate(atoms) for atoms in structures]
    own = [find_fragments(potential, atoms) for atoms in structures]
    choices = {"kept": [own[0]] * len(own), "found": own}
    curves = {}
    for name in FRAGMENTS:
        used = choices[name]
        fine = energies(potential, structures, used)
        changes = [k for k in range(1, len(used)) if used[k] != used[k - 1]]
        jumps: list[tuple[float, float]] = []
        if changes:
            before = energies(
                potential, [structures[k] for k in changes], [used[k - 1] for k in changes]
            )
            jumps = [
                (x[k], float(MEV_PER_EV * (fine[k] - old)))
                for k, old in zip(changes, before, strict=True)
            ]
        fine = MEV_PER_EV * (fine - fine[0])
        at_frames = fine[:: n_between + 1]
        errors = at_frames - dft
        curves[name] = Curve(
            frames=at_frames.tolist(),
            fine=fine.tolist(),
            jumps=jumps,
            rmse=float(np.sqrt(np.mean(errors**2))),
            mae=float(np.abs(errors).mean()),
            largest=float(np.abs(errors).max()),
            barrier=float(at_frames.max()),
            fine_barrier=float(fine.max()),
        )
    return Result(
        x=x[:: n_between + 1],
        fine_x=x,
        dft=dft.tolist(),
        dft_barrier=float(dft.max()),
        curves=curves,
    )


def describe(title: str, result: Result) -> str:
    """Return the table of one path."""
    lines = [
        f"{title}: {len(result.x)} geometries, {LEVEL} barrier {result.dft_barrier:.1f} meV",
        "  fragments    RMSE     MAE  largest  barrier  on fine path  jumps (meV)",
    ]
    for name, curve in result.curves.items():
        jumps = ", ".join(f"{jump:+.2f}" for _, jump in curve.jumps) or "none"
        lines.append(
            f"  {name:<9} {curve.rmse:7.2f} {curve.mae:7.2f} {curve.largest:8.2f} "
            f"{curve.barrier:8.1f} {curve.fine_barrier:13.1f}  {jumps}"
        )
    return "\n".join(lines)


def draw(results: dict[str, Result], picture: Path, *, model: str) -> None:
    """Draw energies along the paths, and below them errors at the geometries of the paths."""
    figure = Figure(figsize=(5.6 * len(results), 5.8), layout="constrained")
    figure.suptitle(f"Two paths of acetylacetone: PBE-D3 and {model}")
    axes = figure.subplots(2, len(results), height_ratios=[2.6, 1.0], sharex="col", squeeze=False)
    for (name, result), (above, below) in zip(results.items(), axes.T, strict=True):
        for choice, curve in result.curves.items():
            look = LOOKS[choice]
            x, fine = _broken(result.fine_x, curve)
            above.plot(x, fine, label=f"model, fragments {choice}", **look)
            for place, jump in curve.jumps:
                after = curve.fine[result.fine_x.index(place)]
                above.plot([place, place], [after - jump, after], ls=":", **look)
            errors = np.subtract(curve.frames, result.dft)
            below.plot(result.x, errors, "o-", ms=3.0, **look)
        above.plot(result.x, result.dft, "o", ms=4.5, mfc="white", mec=INK, zorder=4, label=LEVEL)
        below.axhline(0.0, color=INK, lw=0.8)
        errors_of = ", ".join(f"{c} {curve.rmse:.1f}" for c, curve in result.curves.items())
        above.set_title(f"{PATHS[name].title} (RMSE: {errors_of} meV)", fontsize="medium")
        below.set_xlabel(PATHS[name].axis)
        below.margins(y=0.2)
        for panel in (above, below):
            panel.grid(color="#e2e8f0", lw=0.6)
            panel.set_axisbelow(True)
            panel.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("relative energy (meV)")
    axes[1, 0].set_ylabel(f"model - {LEVEL}\n(meV)")
    figure.align_ylabels()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(picture, dpi=150)


def _broken(x: Sequence[float], curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Return the fine curve with a gap where its fragments change."""
    places = [list(x).index(place) for place, _ in curve.jumps]
    return np.insert(x, places, np.nan), np.insert(curve.fine, places, np.nan)


def run(model: Path, folder: Path, *, n_between: int = POINTS_BETWEEN) -> dict[str, Result]:
    """Evaluate, print, draw and write both paths."""
    potential = s3.load(model, dtype="float64")
    results = {}
    for name, path in PATHS.items():
        frames: Any = ase.io.read(DATA / path.file, ":")
        results[name] = evaluate_path(potential, frames, path.coordinate, n_between=n_between)
        print(describe(path.title, results[name]))
    folder.mkdir(parents=True, exist_ok=True)
    draw(results, folder / "paths.png", model=model.name)
    tables = {name: asdict(result) for name, result in results.items()}
    (folder / "paths.json").write_text(json.dumps(tables, indent=1) + "\n")
    print(f"{folder / 'paths.png'}, {folder / 'paths.json'}")
    return results


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("-o", "--output", type=Path, default=Path("paths"), metavar="DIR")
    parser.add_argument("--points", type=int, default=POINTS_BETWEEN, metavar="N")
    arguments = parser.parse_args()
    run(arguments.model, arguments.output, n_between=arguments.points)


if __name__ == "__main__":
    main()
