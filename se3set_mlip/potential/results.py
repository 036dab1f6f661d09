"""What a potential says of itself, and of the structures it has evaluated."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from se3set_mlip.potential.potential_module import PotentialOutput


@dataclass(frozen=True)
class Metadata:
    """What travels with a model file, for people and programs.

    Parameters
    ----------
    description
        One or two sentences.
    level_of_theory
        Method and basis of the labels, e.g. ``"PBE-D3/def2-SVP"``.
    training_data
        What it was trained on.
    license, authors
        Of the model.
    charges
        Total charges of the structures it was trained on; it refuses others. Empty: not known, and
        nothing is refused.
    closed_shells
        Whether every structure it was trained on had an even number of electrons; it refuses
        others. False: not so, or not known.
    metrics
        Errors by name, the unit in the name.
    created
        ISO date.
    package_version
        Version of this package that wrote the file.
    """

    description: str = ""
    level_of_theory: str = "unknown"
    training_data: str = ""
    license: str = ""
    authors: str = ""
    charges: tuple[int, ...] = ()
    closed_shells: bool = False
    metrics: dict[str, float] = field(default_factory=dict)
    created: str = ""
    package_version: str = ""


@dataclass(frozen=True)
class Evaluation:
    """Energy and derivatives of one structure.

    Parameters
    ----------
    energy
        eV.
    energies
        Energy of each atom, (n_atoms,) eV; they add up to ``energy``.
    forces
        (n_atoms, 3) eV/Å, if asked for.
    stress
        (3, 3) eV/Å^3, if asked for; positive under tension.
    """

    energy: float
    energies: np.ndarray
    forces: np.ndarray | None
    stress: np.ndarray | None


def split_output(output: PotentialOutput, sizes: Sequence[int]) -> list[Evaluation]:
    """Split the output of a batch into its structures.

    Parameters
    ----------
    output
        Of the whole batch.
    sizes
        Number of atoms of each structure.
    """
    energy = output.energy.cpu().numpy()
    atomic = output.atomic_energies.cpu().numpy()
    forces = output.forces.cpu().numpy() if output.forces.shape[0] else None
    stress = output.stress.cpu().numpy() if output.stress.shape[0] else None
    out, start = [], 0
    for k, size in enumerate(sizes):
        rows = slice(start, start + size)
        out.append(
            Evaluation(
                energy=float(energy[k]),
                energies=atomic[rows],
                forces=None if forces is None else forces[rows],
                stress=None if stress is None else stress[k],
            )
        )
        start += size
    return out
