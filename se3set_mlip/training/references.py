"""Reference energies: what part of a total energy the network need not learn, E_0 = sum_Z n_Z e_Z.

All in float64 and eV, because total energies are 10^4 times larger than the wanted errors.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from se3set_mlip.elements import SYMBOLS
from se3set_mlip.errors import ConfigError, DatasetError
from se3set_mlip.potential.reference_energies import fit_reference_energies
from se3set_mlip.training.datasets import Frame, read_frames
from se3set_mlip.training.labels import FloatArray, LabelConfig


def composition_matrix(frames: Sequence[Frame], elements: Sequence[int]) -> FloatArray:
    """Return how many atoms of each element each structure has, (n_structures, n_elements)."""
    return np.array(
        [[np.count_nonzero(frame.atoms.numbers == number) for number in elements]
         for frame in frames],
        dtype=np.float64,
    ).reshape(len(frames), len(elements))  # fmt: skip


def elements_of(frames: Sequence[Frame]) -> tuple[int, ...]:
    """Return the atomic numbers that occur, ascending."""
    return tuple(sorted({int(number) for frame in frames for number in frame.atoms.numbers}))


def with_energies(frames: Sequence[Frame]) -> tuple[tuple[Frame, ...], FloatArray]:
    """Return the structures that have an energy, and their energies in eV, (n,)."""
    labelled = tuple(frame for frame in frames if frame.energy is not None)
    return labelled, np.array([frame.energy for frame in labelled], dtype=np.float64)


def fitted_energies(frames: Sequence[Frame]) -> dict[int, float]:
    """Return e_Z by least squares; see :mod:`se3set_mlip.potential.reference_energies`.

    Raises
    ------
    DatasetError
        When no structure has an energy.
    """
    labelled, energies = with_energies(frames)
    if not labelled:
        raise DatasetError(
            "reference energies cannot be fitted: no structure has an energy; give them in "
            "data.reference_energies"
        )
    return fit_reference_energies([frame.atoms.numbers for frame in labelled], energies)


def isolated_atom_energies(atoms: Sequence[Frame], *, where: str) -> dict[int, float]:
    """Return the energies of single atoms by atomic number.

    Raises
    ------
    DatasetError
        When there are none, when one has no energy, or when two of one element disagree.
    """
    found: dict[int, float] = {}
    for frame in atoms:
        number = int(frame.atoms.numbers[0])
        if frame.energy is None:
            raise DatasetError(
                f"isolated atom {frame.name} has no energy; add it or remove the atom"
            )
        if number in found and abs(found[number] - frame.energy) > 1e-6:
            raise DatasetError(
                f"two isolated {SYMBOLS[number]} atoms in {where} have energies "
                f"{found[number]:.6f} and {frame.energy:.6f} eV; keep the ground state only"
            )
        found[number] = frame.energy
    if not found:
        raise DatasetError(
            f"no isolated atoms (structures of one atom) in {where}; add them, or set "
            "data.reference_energies to 'fit' or to a mapping of symbols to eV"
        )
    return found


def _from_mapping(given: Mapping[str, float]) -> dict[int, float]:
    """Return atomic number -> eV from symbol -> eV."""
    found: dict[int, float] = {}
    for symbol, energy in given.items():
        if symbol not in SYMBOLS[1:]:
            raise ConfigError(
                f"data.reference_energies names {symbol!r}; expected symbols of elements such as "
                "'H'; correct the symbol"
            )
        if isinstance(energy, bool) or not isinstance(energy, int | float):
            raise ConfigError(
                f"data.reference_energies[{symbol!r}] = {energy!r}; expected a number in eV"
            )
        found[SYMBOLS.index(symbol)] = float(energy)
    return found


def reference_energies(
    choice: str | Mapping[str, float],
    *,
    frames: Sequence[Frame],
    isolated_atoms: Sequence[Frame],
    labels: LabelConfig,
) -> dict[int, float]:
    """Return e_Z in eV by atomic number.

    Parameters
    ----------
    choice
        A mapping of symbols to eV, ``"fit"``, ``"isolated_atoms"``, or the path of a file that
        holds isolated atoms.
    frames
        The training structures.
    isolated_atoms
        Single atoms found in the training files.
    labels
        Names and units of the labels, used for the path.

    Raises
    ------
    DatasetError
        When they cannot be had from the data.
    ConfigError
        When a mapping names no element.
    """
    if isinstance(choice, Mapping):
        found = _from_mapping(choice)
    elif choice == "fit":
        found = fitted_energies(frames)
    elif choice == "isolated_atoms":
        found = isolated_atom_energies(isolated_atoms, where="the training files")
    else:
        if not Path(choice).is_file():
            raise DatasetError(
                f"data.reference_energies = {choice!r} is neither 'fit', 'isolated_atoms' nor a "
                "file; correct it"
            )
        found = isolated_atom_energies(read_frames(choice, labels).isolated_atoms, where=choice)
    return found


def check_covered(frames: Sequence[Frame], references: Mapping[int, float], *, part: str) -> None:
    """Refuse structures with elements that have no reference energy.

    Raises
    ------
    DatasetError
        Naming the elements and the remedy.
    """
    missing = [SYMBOLS[z] for z in elements_of(frames) if z not in references]
    if missing:
        known = ", ".join(SYMBOLS[z] for z in sorted(references))
        raise DatasetError(
            f"no reference energy for {', '.join(missing)} in the {part} structures; known: "
            f"{known}; give the energies of these isolated atoms in data.reference_energies, or "
            "train on structures that hold these elements and set it to 'fit'"
        )


def mean_residual_per_atom(frames: Sequence[Frame], references: Mapping[int, float]) -> float:
    """Return the least-squares shift per atom in eV: sum n (E - E_0) / sum n^2 over structures."""
    labelled, energies = with_energies(frames)
    if not labelled:
        return 0.0
    elements = tuple(references)
    counts = composition_matrix(labelled, elements)
    sizes = counts.sum(axis=1)
    residuals = energies - counts @ np.array([references[z] for z in elements])
    return float(sizes @ residuals / (sizes @ sizes))


def rms_force(frames: Sequence[Frame]) -> float | None:
    """Return the root mean square of all force components in eV/Å, or None without forces."""
    forces = [frame.forces for frame in frames if frame.forces is not None]
    if not forces:
        return None
    return float(np.sqrt(np.mean(np.concatenate(forces) ** 2)))
