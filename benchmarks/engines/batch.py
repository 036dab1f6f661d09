"""How much faster many structures are together than one by one.

    python benchmarks/engines/batch.py [--model acetylacetone] [--structures 32] [--rounds 5]

``Potential.evaluate`` of a list of ASE ``Atoms``, energies and forces, in batches of 1, 2, 4, ...
structures; the same structures in all. Rounds alternate between the sizes, so that what else the
machine does meets all of them, and the least processor time of each counts. Writes
``results/batch_MODEL_DTYPE.json``.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import ase.io
import numpy as np
import torch

import se3set_mlip as s3
from se3set_mlip.potential.potential import Potential
from se3set_mlip.shipped import shipped_model, shipped_structure

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from provenance import provenance  # noqa: E402 - needs the path above

RESULTS = HERE / "results"
SIZES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Timing:
    """One size of batches."""

    batch_size: int
    milliseconds: float
    """Processor time for each structure."""
    ratio: float
    """Time one by one over this."""
    largest_force_difference: float
    """From one by one, eV/Å."""


def structures(name: str, number: int) -> list[ase.Atoms]:
    """Return distorted copies of the structure that is shipped with a model."""
    found = []
    for seed in range(number):
        atoms = ase.io.read(shipped_structure(name))
        atoms.rattle(0.03, seed=seed)
        found.append(atoms)
    return found


def measure(potential: Potential, frames: list[ase.Atoms], rounds: int) -> list[Timing]:
    """Evaluate the structures in batches of all sizes, in turn.

    Parameters
    ----------
    potential
        The potential.
    frames
        The structures.
    rounds
        How often; the first round does not count.
    """
    sizes = [size for size in SIZES if size <= len(frames)]
    least = dict.fromkeys(sizes, float("inf"))
    forces = {}
    for turn in range(rounds + 1):
        for size in sizes:
            start = time.process_time()
            results = potential.evaluate(frames, batch_size=size)
            if turn > 0:
                least[size] = min(least[size], time.process_time() - start)
            forces[size] = np.concatenate([result.forces for result in results])
    return [
        Timing(
            batch_size=size,
            milliseconds=1000.0 * least[size] / len(frames),
            ratio=least[1] / least[size],
            largest_force_difference=float(np.abs(forces[size] - forces[1]).max()),
        )
        for size in sizes
    ]


def main() -> None:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="acetylacetone", help="name of a shipped model")
    parser.add_argument("--structures", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float64")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    potential = s3.load(shipped_model(arguments.model), dtype=arguments.dtype)
    timings = measure(
        potential, structures(arguments.model, arguments.structures), arguments.rounds
    )
    print("batch  ms/structure  ratio  largest difference of forces (eV/Å)")
    for timing in timings:
        print(
            f"{timing.batch_size:>5} {timing.milliseconds:>13.2f} {timing.ratio:>6.2f}  "
            f"{timing.largest_force_difference:.1e}"
        )
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"batch_{arguments.model}_{arguments.dtype}.json"
    settings = {
        "model": arguments.model,
        "dtype": arguments.dtype,
        "n_structures": arguments.structures,
        "rounds": arguments.rounds,
        "threads": 1,
    }
    result = {**settings, "sizes": [asdict(timing) for timing in timings], **provenance()}
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
