"""Are the labels in the units that they are said to be in? Nothing is converted here.

Three tests, each with a wide margin:

1. Energies less reference energies are binding energies: a few eV per atom, in no material more
   than 10. A structure beyond 25 eV per atom is in another unit than its references.
2. No total energy exceeds that of all electrons, and an energy that is 1/27.2 of it is in Hartree.
   The energy of a neutral atom is estimated by E(Z) = -0.768745 Z^(7/3) + Z^2/2 - 0.269900 Z^(5/3)
   Hartree (J. Schwinger, Phys. Rev. A 24, 2353 (1981)), within 1 % beyond helium.
3. The RMS force of molecules is about 1 eV/Å at 300 K and grows as the root of the temperature.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from se3set_mlip.errors import DatasetError
from se3set_mlip.training.datasets import Frame
from se3set_mlip.training.labels import EV_PER_ENERGY_UNIT, FloatArray
from se3set_mlip.training.references import composition_matrix, rms_force, with_energies
from se3set_mlip.units import EV_PER_HARTREE, KCAL_PER_MOL_PER_EV

MAXIMUM_BINDING_EV_PER_ATOM = 25.0
MAXIMUM_RMS_FORCE_EV_PER_ANGSTROM = 15.0
_ALL_ELECTRON_EXCESS = 1.5
_HARTREE_TOLERANCE = 0.03


def all_electron_energy_ev(number: int) -> float:
    """Return the estimated total energy of a neutral atom in eV."""
    z = float(number)
    hartree = -0.768745 * math.pow(z, 7 / 3) + 0.5 * z**2 - 0.269900 * math.pow(z, 5 / 3)
    return EV_PER_HARTREE * hartree


def check_energies(frames: Sequence[Frame], references: Mapping[int, float]) -> None:
    """Refuse energies that cannot be in the same unit as the reference energies, or not in eV.

    Parameters
    ----------
    frames
        Structures of one purpose.
    references
        Atomic number -> eV; must cover all elements.

    Raises
    ------
    DatasetError
        Naming the structure, its value, the unit that it may be in, and the remedy.
    """
    labelled, energies = with_energies(frames)
    if not labelled:
        return
    elements = tuple(references)
    counts = composition_matrix(labelled, elements)
    sizes = counts.sum(axis=1)
    expected = counts @ np.array([references[z] for z in elements])
    binding = (energies - expected) / sizes
    all_electron = np.array([all_electron_energy_ev(z) for z in elements])
    _check_size(labelled, energies, counts @ all_electron)
    worst = int(np.argmax(np.abs(binding)))
    if abs(binding[worst]) > MAXIMUM_BINDING_EV_PER_ATOM:
        raise DatasetError(
            f"the energy of {labelled[worst].name}, {energies[worst]:.4f}, lies "
            f"{binding[worst]:.1f} eV per atom from the reference energies (sum "
            f"{expected[worst]:.4f} eV); expected less than {MAXIMUM_BINDING_EV_PER_ATOM:g} eV per "
            "atom, so the units are mixed"
            f"{_guess_unit(energies[worst], expected[worst], sizes[worst])}; write all energies in "
            "one unit and name it in data.labels.energy_unit"
        )


def _guess_unit(energy: float, expected: float, n_atoms: float) -> str:
    """Return words on the unit in which an energy would agree best with the reference energies."""
    if energy * expected <= 0.0:
        return ""
    guesses: list[tuple[float, float, str]] = []
    for unit, factor in EV_PER_ENERGY_UNIT.items():
        for ratio, gap, whose in (
            (energy * factor / expected, energy * factor - expected, "energy"),
            (energy / (expected * factor), energy - expected * factor, "reference energies"),
        ):
            guesses.append((abs(math.log(ratio)), abs(gap), f": the {whose} may be in {unit}"))
    _, difference, words = min(guesses)
    return words if difference / n_atoms < MAXIMUM_BINDING_EV_PER_ATOM else ""


def _check_size(frames: Sequence[Frame], energies: FloatArray, all_electron: FloatArray) -> None:
    """Refuse energies beyond those of all electrons, and those that are theirs in Hartree."""
    ratio = float(np.median(energies / all_electron))
    value = f"the energy of {frames[0].name}, {energies[0]:.4f} eV,"
    if ratio > _ALL_ELECTRON_EXCESS:
        raise DatasetError(
            f"{value} exceeds that of all its electrons, about {all_electron[0]:.2f} eV; it may be "
            "in kcal/mol or kJ/mol: name the unit in data.labels.energy_unit"
        )
    if abs(ratio * EV_PER_HARTREE - 1.0) < _HARTREE_TOLERANCE:
        raise DatasetError(
            f"{value} is that of all its electrons in Hartree "
            f"({all_electron[0] / EV_PER_HARTREE:.4f}); set data.labels.energy_unit to 'Hartree', "
            "or data.check_units to false if it is in eV"
        )


def check_forces(frames: Sequence[Frame]) -> None:
    """Refuse forces whose RMS is not that of molecules or solids in eV/Å.

    Raises
    ------
    DatasetError
        Naming the value and the remedy.
    """
    rms = rms_force(frames)
    if rms is not None and rms > MAXIMUM_RMS_FORCE_EV_PER_ANGSTROM:
        raise DatasetError(
            f"the RMS force is {rms:.1f} eV/Å, expected less than "
            f"{MAXIMUM_RMS_FORCE_EV_PER_ANGSTROM:g}; in kcal/mol/Å it would be "
            f"{rms / KCAL_PER_MOL_PER_EV:.2f} eV/Å: name the unit in data.labels.forces_unit, or "
            "set data.check_units to false"
        )


def check_disjoint(parts: Mapping[str, Sequence[Frame]]) -> None:
    """Refuse structures that occur in two parts (training, validation, test).

    Raises
    ------
    DatasetError
        Naming the first such pair and how many there are.
    """
    owners: dict[str, tuple[str, str]] = {}
    shared: list[str] = []
    for part, frames in parts.items():
        for frame in frames:
            owner = owners.setdefault(frame.identity, (part, frame.name))
            if owner[0] != part:
                shared.append(f"{frame.name} ({part}) is {owner[1]} ({owner[0]})")
    if shared:
        raise DatasetError(
            f"{len(shared)} structures occur in two parts of the data, first: {shared[0]}; errors "
            "would look too small; remove them from one of the files"
        )
