"""Compare a potential with reference energies and forces, structure by structure."""

import argparse
from pathlib import Path

import ase.io
import numpy as np

import se3set_mlip as s3

HERE = Path(__file__).parent

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default=HERE.parent / "models" / "acetylacetone.safetensors")
parser.add_argument("--structures", default=HERE / "data" / "acetylacetone_30.xyz")
arguments = parser.parse_args()

structures = ase.io.read(arguments.structures, index=":")
potential = s3.load(arguments.model)
results = potential.evaluate(structures, forces=True, batch_size=10)

energy_errors = np.array(
    [
        result.energy - atoms.info["REF_energy"]
        for result, atoms in zip(results, structures, strict=True)
    ]
)
force_errors = np.concatenate(
    [
        result.forces - atoms.arrays["REF_forces"]
        for result, atoms in zip(results, structures, strict=True)
    ]
)
print(f"{len(structures)} structures")
print(f"energy RMSE {1000 * np.sqrt(np.mean(energy_errors**2)):.2f} meV")
print(f"force RMSE  {1000 * np.sqrt(np.mean(force_errors**2)):.2f} meV/Å")
worst = int(np.argmax(np.abs(energy_errors)))
print(f"worst energy: structure {worst}, {1000 * energy_errors[worst]:+.2f} meV")
# The same numbers, by element too: se3set evaluate MODEL FILE.xyz --json errors.json
