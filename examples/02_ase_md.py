"""Langevin dynamics at 300 K in ASE, with a trajectory to look at."""

import argparse
from pathlib import Path

import ase.io
import numpy as np
from ase import units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, force_temperature

import se3set_mlip as s3

MODELS = Path(__file__).parent.parent / "models"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default=MODELS / "acetylacetone.safetensors")
parser.add_argument("--structure", default=MODELS / "acetylacetone.xyz")
parser.add_argument("--steps", type=int, default=2000)
parser.add_argument("--trajectory", default="02_ase_md.traj")
arguments = parser.parse_args()

atoms = ase.io.read(arguments.structure)
# float32 is faster, and forces are good to 1e-5: enough for dynamics with a thermostat.
atoms.calc = s3.SE3SetCalculator(s3.load(arguments.model), dtype="float32")

rng = np.random.default_rng(seed=1)
atoms.set_momenta(rng.standard_normal((len(atoms), 3)) * np.sqrt(atoms.get_masses())[:, None])
Stationary(atoms)
force_temperature(atoms, 300.0)

dynamics = Langevin(
    atoms,
    timestep=0.5 * units.fs,
    temperature_K=300.0,
    friction=0.01 / units.fs,
    fixcm=False,
    rng=rng,
    trajectory=arguments.trajectory,
    loginterval=10,
)


def report() -> None:
    """Print where the run is."""
    picoseconds = dynamics.get_time() / (1000.0 * units.fs)
    energy = atoms.get_potential_energy()
    print(f"{picoseconds:8.3f} ps  {energy:14.6f} eV  {atoms.get_temperature():7.1f} K")


dynamics.attach(report, interval=100)
dynamics.run(arguments.steps)
print(f"trajectory in {arguments.trajectory}; look at it with: ase gui {arguments.trajectory}")
