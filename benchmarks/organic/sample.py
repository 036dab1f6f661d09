"""Geometries for all molecules, over all cores; then one file for each part, to be labelled.

    python benchmarks/organic/sample.py --atoms 400
    se3set label runs/organic/train.xyz -o runs/organic/train_gfn2.xyz

Each molecule has a seed of its own, so that the same command finds the same geometries, however
many cores there are. Interrupt it at will: molecules that are finished are skipped.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
from geometries import Shapes
from molecules import FILE
from pool import processes
from tqdm import tqdm

FEWEST, MOST = 6, 30
"""Geometries of a molecule."""


def frames_of(index: int, molecule: dict[str, Any], atoms: int, seed: int) -> list[ase.Atoms]:
    """Return geometries of so many atoms together, with what is to be known of each.

    Raises
    ------
    ValueError
        If no conformer is found.
    """
    rng = np.random.default_rng([seed, index])
    shapes = Shapes(molecule["smiles"], rng)
    frames = min(max(round(atoms / len(shapes.numbers)), FEWEST), MOST)
    found = []
    for made in shapes.diverse(shapes.pool(frames), frames):
        frame = ase.Atoms(shapes.numbers, made.positions - made.positions.mean(axis=0))
        frame.info |= {
            "molecule": index,
            "smiles": molecule["smiles"],
            "mapped_smiles": shapes.mapped_smiles,
            "charge": molecule["charge"],
            "source": molecule["source"],
            "kind": made.kind,
        }
        found.append(frame)
    return found


def work(index: int, molecule: dict[str, Any], atoms: int, seed: int, folder: Path) -> str | None:
    """Make the file of a molecule; return why there is none."""
    try:
        found = frames_of(index, molecule, atoms, seed)
    except (ValueError, RuntimeError) as error:  # no conformer, or no convergence of the charges
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        (folder / f"{index:05d}.failed").write_text(reason + "\n", encoding="utf-8")
        return reason
    temporary = folder / f"{index:05d}.part"
    ase.io.write(temporary, found, format="extxyz")
    temporary.replace(folder / f"{index:05d}.xyz")
    return None


def done(folder: Path) -> Iterator[int]:
    """Yield molecules that are finished, or known to fail."""
    for pattern in ("*.xyz", "*.failed"):
        for path in folder.glob(pattern):
            yield int(path.stem)


def join(molecules: list[dict[str, Any]], folder: Path, output: Path) -> None:
    """Write one file for each part, and count what is in it."""
    parts: dict[str, list[ase.Atoms]] = {}
    for index, molecule in enumerate(molecules):
        path = folder / f"{index:05d}.xyz"
        if path.exists():
            parts.setdefault(molecule["part"], []).extend(ase.io.read(path, ":"))
    for part, frames in parts.items():
        ase.io.write(output / f"{part}.xyz", frames, format="extxyz")
        kinds = Counter(frame.info["kind"] for frame in frames)
        n_molecules = len({frame.info["molecule"] for frame in frames})
        print(f"{part}: {len(frames)} geometries of {n_molecules} molecules; {dict(kinds)}")


def main() -> None:
    """Make what is not there yet, then join."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--molecules", type=Path, default=FILE)
    parser.add_argument("--atoms", type=int, default=400, help="of all geometries of a molecule")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, help="default: one for each core")
    parser.add_argument("--minutes", type=float, help="stop after so long; the next start goes on")
    parser.add_argument("--output", type=Path, default=FILE.parent)
    options = parser.parse_args()
    if not options.molecules.exists():
        parser.error(f"there is no {options.molecules}; run molecules.py first")
    molecules = json.loads(options.molecules.read_text(encoding="utf-8"))
    folder = options.output / "geometries"
    folder.mkdir(parents=True, exist_ok=True)
    finished = set(done(folder))
    # In no order of size or source, so that a run that is cut short has some of everything.
    order = np.random.default_rng(options.seed).permutation(len(molecules)).tolist()
    left = [index for index in order if index not in finished]
    began = time.monotonic()
    with (
        processes(options.processes) as pool,
        tqdm(total=len(molecules), initial=len(finished), unit="molecule") as bar,
    ):
        futures = {
            pool.submit(work, k, molecules[k], options.atoms, options.seed, folder): k for k in left
        }
        for future in as_completed(futures):
            reason = future.result()
            if reason is not None:
                tqdm.write(f"{molecules[futures[future]]['smiles']}: {reason}")
            bar.update()
            if options.minutes and time.monotonic() - began > 60.0 * options.minutes:
                for left_over in futures:
                    left_over.cancel()
                break
    join(molecules, folder, options.output)


if __name__ == "__main__":
    main()
