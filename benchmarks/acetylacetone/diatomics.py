"""Write the curves of the diatomics of H, C and O to ``data``.

A potential learned from one molecule says nothing about two bare atoms. These frames, with forces
only, give it the shape that such a pair has: a wall, one minimum, and no force far apart. They are
Morse curves

    V(r) = D_e ((1 - exp(-a (r - r_e)))^2 - 1),    a = omega_e sqrt(mu / (2 D_e))

with the spectroscopic constants of the ground states: r_e and omega_e from K. P. Huber and
G. Herzberg, Constants of Diatomic Molecules (1979), as in the NIST Chemistry WebBook; D_e is D_0
from there plus half of omega_e. Where the force exceeds 20 eV/Å the wall between nuclei takes over
(``repulsion: zbl``), and there are no frames. One file has equal weights, to learn the wells; in
one faint forces weigh most, to learn the way out without a ripple; and one asks for small relative
errors from the wall to the end.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import ase.io
import numpy as np
from ase import Atoms, units
from ase.data import atomic_masses, atomic_numbers

LARGEST_FORCE, LARGEST_FORCE_FINE = 20.0, 60.0  # eV/Å
WEIGHT = 0.003  # of a structure in the loss: errors of 0.4 eV/Å count as those of 0.02 elsewhere
FAINT, LEAST_WEIGHT = 0.3, 0.05  # eV/Å: weights of 1 for forces far below; and far above
FOLDER = Path(__file__).parent / "data"


class Diatomic(NamedTuple):
    """Spectroscopic constants of one ground state."""

    symbols: tuple[str, str]
    smiles: str
    distance: float  # r_e, Å
    dissociation: float  # D_0, eV
    wavenumber: float  # omega_e, 1/cm


DIATOMICS = (
    Diatomic(("H", "H"), "[H:1][H:2]", 0.74144, 4.47813, 4401.21),
    Diatomic(("C", "H"), "[C:1][H:2]", 1.1199, 3.465, 2858.5),
    Diatomic(("O", "H"), "[O:1][H:2]", 0.96966, 4.392, 3737.76),
    Diatomic(("C", "C"), "[C:1]=[C:2]", 1.24253, 6.21, 1854.71),
    Diatomic(("C", "O"), "[C:1]=[O:2]", 1.128323, 11.09, 2169.81),
    Diatomic(("O", "O"), "[O:1]=[O:2]", 1.20752, 5.116, 1580.19),
)


def force(diatomic: Diatomic, distances: np.ndarray) -> np.ndarray:
    """Return -dV/dr in eV/Å at distances in Å."""
    first, second = (atomic_masses[atomic_numbers[s]] for s in diatomic.symbols)
    reduced_mass = first * second / (first + second)  # u
    quantum = diatomic.wavenumber * units.invcm  # hbar omega, eV
    depth = diatomic.dissociation + 0.5 * quantum
    # omega in radians per unit of time of ASE, in which masses are in u and energies in eV
    omega = 2.0 * np.pi * units._c * 100.0 * diatomic.wavenumber / units.s  # noqa: SLF001
    a = omega * np.sqrt(reduced_mass / (2.0 * depth))  # 1/Å
    x = np.exp(-a * (distances - diatomic.distance))
    slope: np.ndarray = 2.0 * depth * a * x * (x - 1.0)
    return slope


def frames(
    distances: np.ndarray, weight: Callable[[float], float], *, largest: float = LARGEST_FORCE
) -> list[Atoms]:
    """Return all structures with forces up to ``largest``, and weights given by the forces."""
    made = []
    for diatomic in DIATOMICS:
        for distance, value in zip(distances, force(diatomic, distances), strict=True):
            if abs(value) > largest:
                continue
            atoms = Atoms(diatomic.symbols, [[0.0, 0.0, 0.0], [0.0, 0.0, distance]])
            atoms.arrays["REF_forces"] = np.array([[0.0, 0.0, -value], [0.0, 0.0, value]])
            atoms.info["mapped_smiles"] = diatomic.smiles
            atoms.info["config_weight"] = weight(value)
            made.append(atoms)
    return made


def fine_weight(value: float) -> float:
    """Return a weight that asks for small relative errors, faint or strong as the force may be."""
    faint = sum(top * f**2 / (f**2 + value**2) for f, top in ((FAINT, 1.0), (0.1 * FAINT, 20.0)))
    return round(faint + LEAST_WEIGHT * min(1.0, (LARGEST_FORCE / value) ** 2), 6)


def write(name: str, structures: list[Atoms]) -> None:
    """Write a file of structures."""
    ase.io.write(FOLDER / name, structures, format="extxyz")
    print(f"{len(structures)} structures in {FOLDER / name}")


if __name__ == "__main__":
    near = np.arange(0.45, 2.5, 0.05)
    write(
        "diatomics.xyz",
        frames(np.concatenate([near, np.arange(2.5, 6.3, 0.2)]), lambda _: WEIGHT),
    )
    write(
        "diatomics_relative.xyz",
        frames(
            np.concatenate([near, np.arange(2.5, 6.05, 0.1)]),
            lambda value: round(FAINT**2 / (FAINT**2 + value**2) + LEAST_WEIGHT, 6),
        ),
    )
    write(
        "diatomics_fine.xyz",
        frames(
            np.concatenate([np.arange(0.4, 2.5, 0.05), np.arange(2.5, 6.05, 0.1)]),
            fine_weight,
            largest=LARGEST_FORCE_FINE,
        ),
    )
