"""Relax a molecule with a SE3Set potential in ASE, and look at its fragments."""

import argparse
from pathlib import Path

import ase.io
import numpy as np
from ase.optimize import BFGS

import se3set_mlip as s3

MODELS = Path(__file__).parent.parent / "models"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default=MODELS / "acetylacetone.safetensors")
parser.add_argument("--structure", default=MODELS / "acetylacetone.xyz")
parser.add_argument("--steps", type=int, default=200, help="give up after so many steps")
arguments = parser.parse_args()

# A potential knows its own settings: which elements, which fragments, which range.
potential = s3.load(arguments.model)
atoms = ase.io.read(arguments.structure)

# The chemistry is found once, from coordinates or from what you know of it, and kept.
topology = s3.Topology.from_coordinates(atoms.numbers, atoms.positions, charge=0)
found = potential.fragment(topology, atoms.positions)
print(f"{len(found.fragments)} fragments: {found.fragments}")

# float64 for relaxations and vibrations, where the last digits of the forces matter.
atoms.calc = s3.SE3SetCalculator(potential, dtype="float64", topology=topology)
print(f"before: {atoms.get_potential_energy():.6f} eV")
BFGS(atoms, logfile=None).run(fmax=0.005, steps=arguments.steps)
largest = np.linalg.norm(atoms.get_forces(), axis=1).max()
print(f"after:  {atoms.get_potential_energy():.6f} eV, largest force {largest:.4f} eV/Å")
