"""Errors of the acetylacetone model with each geometry's own fragments and with the other's.

The enol's proton sits on either oxygen and moves in dynamics, while the fragments stay those of the
start. This evaluates the test set with the fragments of both tautomers:

    python benchmarks/acetylacetone/tautomers.py [MODEL]
"""

import sys
from pathlib import Path

import numpy as np
from ase.io import read

import se3set_mlip as s3

HERE = Path(__file__).parent
MODEL = HERE.parents[1] / "models" / "acetylacetone.safetensors"


def main() -> None:
    """Print root-mean-square errors for both choices of fragments."""
    potential = s3.load(sys.argv[1] if len(sys.argv) > 1 else MODEL)
    frames = read(HERE / "data" / "test_MD_300K.xyz", ":")
    topologies = [s3.Topology.from_coordinates(f.numbers, f.positions) for f in frames]
    tautomers = sorted(set(topologies), key=lambda topology: topology.bonds)
    assert len(tautomers) == 2
    print(f"{len(frames)} structures, {topologies.count(tautomers[0])} of the first tautomer")
    errors: dict[str, list[tuple[float, np.ndarray]]] = {"own": [], "other": []}
    for tautomer in tautomers:
        for frame, own, result in zip(
            frames, topologies, potential.evaluate(frames, topology=tautomer), strict=True
        ):
            errors["own" if own == tautomer else "other"].append(
                (result.energy - frame.get_potential_energy(), result.forces - frame.get_forces())
            )
    for name, found in errors.items():
        energy = 1000.0 * np.sqrt(np.mean([e**2 for e, _ in found]))
        force = 1000.0 * np.sqrt(np.mean([f**2 for _, f in found]))
        print(f"{name:>5} fragments: energy {energy:6.2f} meV, forces {force:6.2f} meV/Å (RMSE)")


if __name__ == "__main__":
    main()
