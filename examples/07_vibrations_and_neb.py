"""Vibrations of acetylacetone, and the way of its proton from one oxygen to the other.

Frequencies come from the analytic Hessian. The images of a nudged elastic band must lie on one
energy surface, so they share one calculator and with it the fragments of the first image.
"""

import argparse
from pathlib import Path

import ase.io
import matplotlib.pyplot as plt
import numpy as np
from ase.mep import NEB
from ase.optimize import BFGS
from ase.vibrations import VibrationsData

import se3set_mlip as s3

MODELS = Path(__file__).parent.parent / "models"
DONOR, ACCEPTOR, PROTON = 6, 2, 14

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default=MODELS / "acetylacetone.safetensors")
parser.add_argument("--structure", default=MODELS / "acetylacetone.xyz")
parser.add_argument("--images", type=int, default=7, help="between both ends")
parser.add_argument("--steps", type=int, default=300, help="give up a relaxation after so many")
parser.add_argument("--output", default="07_vibrations_and_neb.png")
arguments = parser.parse_args()

calculator = s3.SE3SetCalculator(arguments.model, dtype="float64")


def relax(atoms, fmax: float) -> None:
    """Relax a structure or a band."""
    if not BFGS(atoms, logfile=None).run(fmax=fmax, steps=arguments.steps):
        print(f"not converged after {arguments.steps} steps")


def vibrations(atoms: ase.Atoms) -> VibrationsData:
    """Return the vibrations of a structure from its Hessian."""
    return VibrationsData.from_2d(atoms, calculator.get_hessian(atoms))


# One well, and the other: the proton mirrored in the plane between both oxygens.
first = ase.io.read(arguments.structure)
first.calc = calculator
relax(first, fmax=0.001)
last = first.copy()
last.calc = calculator
way = last.positions[ACCEPTOR] - last.positions[DONOR]
way /= np.linalg.norm(way)
middle = 0.5 * (last.positions[ACCEPTOR] + last.positions[DONOR])
last.positions[PROTON] -= 2.0 * ((last.positions[PROTON] - middle) @ way) * way
relax(last, fmax=0.001)

images = [first, *(first.copy() for _ in range(arguments.images)), last]
for image in images:
    image.calc = calculator
band = NEB(images, k=0.5, climb=True, allow_shared_calculator=True, method="improvedtangent")
band.interpolate()
relax(band, fmax=0.01)

energies = np.array([image.get_potential_energy() for image in images])
relative = 1000.0 * (energies - energies[0])
top = int(np.argmax(energies))
print(f"barrier {relative[top]:.1f} meV, the other well {relative[-1]:+.1f} meV")

well, saddle = vibrations(first), vibrations(images[top])
print("frequencies of the well (1/cm):", *np.round(well.get_frequencies()[6:].real).astype(int))
over = saddle.get_frequencies()[0].imag
print(f"over the saddle point: {over:.0f}i 1/cm")
# Below zero: the well's O-H stretch, which the saddle point lacks, holds more than the barrier.
zero_point = 1000.0 * (saddle.get_zero_point_energy() - well.get_zero_point_energy())
print(f"barrier with harmonic zero-point energies: {relative[top] + zero_point:.1f} meV")

figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.4), layout="constrained")
transfer = [i.get_distance(DONOR, PROTON) - i.get_distance(ACCEPTOR, PROTON) for i in images]
left.plot(transfer, relative, "o-", color="#2b6cb0")
left.set_xlabel("d(O-H) - d(H...O) (Å)")
left.set_ylabel("energy (meV)")
left.set_title("proton transfer", fontsize="medium")
for row, data in enumerate((well, saddle)):
    found = data.get_frequencies()
    shown = np.where(found.imag > found.real, -found.imag, found.real)
    right.vlines(shown, row + 0.1, row + 0.9, lw=0.9, color="#2b6cb0" if row == 0 else "#dd6b20")
right.set_yticks([0.5, 1.5], ["well", "saddle point"])
right.set_xlabel("frequency (1/cm); imaginary ones below zero")
right.set_title("harmonic vibrations", fontsize="medium")
figure.savefig(arguments.output, dpi=150)
print(f"picture in {arguments.output}")
