"""Errors of a MACE model on a file of labelled frames, as ``se3set evaluate`` gives them for ours.

    python benchmarks/water/evaluate_mace.py MODEL [--frames runs/water/data/test.xyz]

The model stays in its environment (``benchmarks/trust/README.md``) and is asked through a pipe,
``benchmarks/trust/remote.py``; labels, units and errors are those of this package.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from programs import ROOT
from provenance import provenance
from tqdm import tqdm

from se3set_mlip.training import LabelConfig
from se3set_mlip.training.datasets import read_frames
from se3set_mlip.training.metrics import Predictions, compute_metrics

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "trust"))  # for the pipe
from remote import RemoteCalculator  # noqa: E402


def main() -> None:
    """Evaluate, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, help="a .model file of MACE")
    parser.add_argument("--frames", type=Path, default=ROOT / "runs" / "water" / "data/test.xyz")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float64")
    parser.add_argument("--python", type=Path, default=ROOT / ".venvs" / "mace" / "bin" / "python")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "test_mace.json")
    options = parser.parse_args()
    for path in (options.model, options.frames, options.python):
        if not path.exists():
            sys.exit(f"there is no {path}; see README.md beside this script for how to make it")
    frames = read_frames(options.frames, LabelConfig()).frames
    arguments = {
        "model_paths": str(options.model.resolve()),
        "device": "cpu",
        "default_dtype": options.dtype,
    }
    remote = RemoteCalculator(options.python, "mace.calculators:MACECalculator", arguments)
    start = time.perf_counter()
    answers = [remote.evaluate([frame.atoms])[0] for frame in tqdm(frames, unit="frame")]
    remote.close()
    energies = [[f.energy, a.energy] for f, a in zip(frames, answers, strict=True)]
    forces = [np.stack([f.forces, a.forces], -1) for f, a in zip(frames, answers, strict=True)]
    found = Predictions(
        names=tuple(frame.name for frame in frames),
        energy=np.array(energies),
        n_atoms=np.array([len(frame.atoms) for frame in frames], dtype=np.float64),
        forces=np.concatenate(forces),
        numbers=np.concatenate([frame.atoms.numbers for frame in frames]).astype(np.int64),
        stress=np.zeros((0, 3, 3, 2)),
    )
    errors = compute_metrics(found, n_structures=len(frames))
    for name, value in errors.items():
        if isinstance(value, float):
            print(f"{name:36s} {value:.6g}")
    about = {
        "model": options.model.name,
        "frames": options.frames.name,
        "dtype": options.dtype,
        "wall_time_s": time.perf_counter() - start,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(errors | about | provenance(), indent=2)
    options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
