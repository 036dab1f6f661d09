"""A trained potential becomes a shipped model: its card's words, a structure, test structures.

    python benchmarks/organic/ship.py runs/organic/small_all_4_1/best.safetensors gfn2-small

Writes ``models/NAME.safetensors``, caffeine relaxed by GFN2-xTB as ``models/NAME.xyz``, and, if
there are none, twenty structures of the test part with their labels as
``tests/data/organic/unseen_20.xyz``.
"""

import argparse
import dataclasses
from pathlib import Path

import ase.io
import numpy as np
from ase.optimize import LBFGS
from molecules import FILE
from subjects import conformers, gfn2

import se3set_mlip as s3
from se3set_mlip.potential.checkpoint import save_checkpoint
from se3set_mlip.potential.potential import Potential

ROOT = Path(__file__).parents[2]
CAFFEINE = "Cn1cnc2c1c(=O)n(C)c(=O)n2C"
LARGEST_TEST = 30
"""Atoms of the test structures."""


def main() -> None:
    """Write all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("name")
    options = parser.parse_args()
    trained = s3.load(options.checkpoint)
    _method, separator, size = options.name.partition("-")
    if not separator:
        parser.error(f"{options.name}: call it METHOD-SIZE")
    metadata = dataclasses.replace(
        trained.metadata,
        description=f"SE3Set, density interaction, {size}: organic "
        "molecules of H, C, N, O, F, P, S and Cl, closed shells, charges -1, 0 and 1",
        training_data="molecules and geometries made for it, benchmarks/organic; a few among water "
        "from SPICE",
        license="MIT",
        authors="The se3set-mlip authors",
    )
    target = ROOT / "models" / f"{options.name}.safetensors"
    save_checkpoint(target, Potential(trained.module, trained.config, metadata))
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")

    atoms = conformers(CAFFEINE, 1)[1][0]
    atoms.calc = gfn2(0)
    LBFGS(atoms, logfile=None).run(fmax=0.01, steps=300)
    atoms.calc = None
    atoms.info = {}
    ase.io.write(target.with_suffix(".xyz"), atoms, format="extxyz")

    unseen = ROOT / "tests" / "data" / "organic" / "unseen_20.xyz"
    if unseen.exists():
        return
    frames = ase.io.read(FILE.parent / "test_gfn2.xyz", ":")
    small = [frame for frame in frames if len(frame) <= LARGEST_TEST]
    chosen = np.random.default_rng(1).choice(len(small), size=20, replace=False)
    unseen.parent.mkdir(parents=True, exist_ok=True)
    ase.io.write(unseen, [small[k] for k in sorted(chosen)], format="extxyz")


if __name__ == "__main__":
    main()
