"""What is under test: any ASE calculator, or a potential of this package, which can do more.

Checks take a subject and specimens (atoms with the bonds they are held to). A calculator gives
energies and forces one by one; a potential is evaluated in batches, knows where its memberships
change, and lets its candidate skin be set. Energies in eV, forces in eV/Å, stress in eV/Å^3 (ASE's
sign).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from se3set_mlip.topology.molecule import Topology

Array = NDArray[np.float64]


class Values(NamedTuple):
    """Energy and derivatives of one structure."""

    energy: float
    """eV."""
    forces: Array
    """(n_atoms, 3), eV/Å."""
    stress: Array | None = None
    """(3, 3), eV/Å^3, if asked for."""


@dataclass(frozen=True)
class Specimen:
    """A structure to be checked on.

    Parameters
    ----------
    atoms
        ASE ``Atoms``.
    topology
        The bonds it is held to, in the order of the atoms; None: whatever the subject perceives.
    """

    atoms: Any
    topology: Topology | None = None


class Subject(Protocol):
    """A potential under test."""

    name: str
    """For tables and pictures."""

    single_precision: bool
    """Whether it computes in float32: wider tolerances then."""

    numbers: tuple[int, ...]
    """Atomic numbers that it knows; empty if unknown."""

    def values(self, specimens: Sequence[Specimen], *, stress: bool = False) -> list[Values]:
        """Return energies and derivatives of structures."""
        ...

    def calculator(self, topology: Topology | None = None) -> Any:
        """Return an ASE calculator of it, with the bonds given held."""
        ...

    def boundaries(self, specimen: Specimen) -> tuple[float, ...] | None:
        """Return numbers that change where a membership or neighbour appears, fills or vanishes.

        None if the subject cannot tell; steps are then searched for in the energy itself.
        """
        ...
