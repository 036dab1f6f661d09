"""ASE's calculator: atoms -> energy, forces, stress in eV, eV/Å, eV/Å^3 (ASE's own units).

The topology and the fragments are found once and kept while the atoms are the same: the same
elements, boundary conditions and charge. Dynamics must not change them on the way, or the energy
would jump; the hypergraph is built anew from them at every geometry.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import (
    Calculator,
    PropertyNotImplementedError,
    all_changes,
)
from ase.data import chemical_symbols
from ase.geometry import find_mic
from ase.stress import full_3x3_to_voigt_6_stress

from se3set_mlip.elements import COVALENT_RADII
from se3set_mlip.errors import InputError
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.potential.checkpoint import load_checkpoint
from se3set_mlip.potential.fragment_cache import FragmentCache
from se3set_mlip.potential.potential import Potential
from se3set_mlip.topology.molecule import Topology


class SE3SetCalculator(Calculator):
    """Energies, forces and stress of a SE3Set potential, for ASE.

    Parameters
    ----------
    potential
        A potential (see ``se3set_mlip.load``), or the path of a checkpoint.
    device
        Where to compute, such as ``"cpu"`` or ``"cuda"``.
    dtype
        ``"float64"`` (relaxations, vibrations) or ``"float32"`` (faster).
    topology
        Who is bonded to whom, in the order of the atoms. None: it is found from the first
        geometry that is computed.
    charge
        Total charge in elementary charges, for finding the topology. None:
        ``atoms.info["charge"]``, else the sum of the initial charges.

    Raises
    ------
    InputError
        From ``calculate``: if the atoms do not fit the topology or the charge given here, for
        unknown elements, coincident atoms or values that are not finite.
    TopologyError
        From ``calculate``: if no bonding pattern fits the first geometry and the charge.
    ArtifactError
        If the checkpoint cannot be read.

    Notes
    -----
    ``stress`` is the derivative of the energy by strain over the volume, positive where the cell
    wants to shrink (ASE's sign), and is defined for cells that are periodic in all directions. One
    warning is given when a bond of the topology is far longer than bonds are.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012

    def __init__(
        self,
        potential: Potential | str | Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | str = "float64",
        topology: Topology | None = None,
        charge: int | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(potential, Potential):
            potential = load_checkpoint(potential)
        if topology is not None and charge not in (None, topology.charge):
            raise InputError(
                f"charge = {charge}, the topology's formal charges sum to {topology.charge}; give "
                "the topology alone"
            )
        self.potential = potential.to(device=device, dtype=dtype)
        self._topology = topology
        self._charge = charge
        self._identity: tuple[Any, ...] | None = None
        self._fragmentation: Fragmentation | None = None
        self._bonds_watched = True

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what changed since the last calculation; a new charge is a change."""
        changes: list[str] = super().check_state(atoms, tol=tol)
        if not changes and self._identity != self._identify(atoms):
            changes.append("numbers")
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute the properties that ASE asks for, and no derivative that it does not.

        Parameters
        ----------
        atoms
            The structure.
        properties
            Names out of ``implemented_properties``.
        system_changes
            What changed since the last call.

        Raises
        ------
        ase.calculators.calculator.PropertyNotImplementedError
            For the stress of atoms that are not periodic in all directions.
        """
        super().calculate(atoms, list(properties), list(system_changes))
        atoms = self.atoms
        stress = "stress" in properties
        if stress and not atoms.pbc.all():
            raise PropertyNotImplementedError(
                f"stress needs atoms that are periodic in all directions, these have pbc = "
                f"{atoms.pbc.tolist()}; set atoms.pbc = True and a cell"
            )
        fragmentation = self.fragmentation(atoms)
        system = self.potential.system(
            atoms.numbers,
            atoms.positions,
            fragmentation,
            cell=atoms.cell.array,
            pbc=atoms.pbc,
        )
        output = self.potential.compute(
            system, forces=stress or "forces" in properties, stress=stress
        )
        energy = float(output.energy)
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": output.atomic_energies.cpu().numpy(),
        }
        if stress or "forces" in properties:
            self.results["forces"] = output.forces.cpu().numpy().astype(np.float64)
        if stress:
            tensor = output.stress.squeeze(0).cpu().numpy().astype(np.float64)
            self.results["stress"] = full_3x3_to_voigt_6_stress(tensor)
        self._watch_bonds(atoms, fragmentation.topology)

    def fragmentation(self, atoms: Atoms) -> Fragmentation:
        """Return the fragments of the atoms: those in use, or new ones if the atoms are others.

        Parameters
        ----------
        atoms
            The structure.

        Raises
        ------
        InputError
            If the atoms are not those of the topology that the calculator was made with.
        TopologyError
            If no bonding pattern fits the geometry and the charge.
        """
        identity = self._identify(atoms)
        if self._fragmentation is None or identity != self._identity:
            self._check_topology(atoms)
            cache = FragmentCache(self.potential.config.fragmentation)
            self._fragmentation = cache.find(self._with_charge(atoms), topology=self._topology)
            self._identity = identity
            self._bonds_watched = True
        return self._fragmentation

    def _identify(self, atoms: Atoms) -> tuple[Any, ...]:
        """Return what a topology depends on, besides the geometry at which it was found."""
        return atoms.numbers.tobytes(), atoms.pbc.tobytes(), atoms.info.get("charge")

    def _check_topology(self, atoms: Atoms) -> None:
        """Raise unless the atoms fit the topology and the charge that were given."""
        charge = atoms.info.get("charge")
        given = self._charge if self._topology is None else self._topology.charge
        if charge is not None and given is not None and charge != given:
            raise InputError(
                f'atoms.info["charge"] = {charge}, the calculator was made for charge {given}; '
                "correct one of them"
            )
        if self._topology is None:
            return
        expected, found = np.array(self._topology.numbers), atoms.numbers
        if len(found) != len(expected):
            what = f"{len(found)} atoms, the topology given to the calculator {len(expected)}"
        elif (found != expected).any():
            atom = int(np.flatnonzero(found != expected)[0])
            what = (
                f"{chemical_symbols[found[atom]]} as atom {atom}, the topology given to the "
                f"calculator {chemical_symbols[expected[atom]]}"
            )
        else:
            return
        raise InputError(
            f"the atoms changed under the calculator: they have {what}; make a calculator for "
            "these atoms, or give no topology and let it be found"
        )

    def _with_charge(self, atoms: Atoms) -> Atoms:
        """Return the atoms with the calculator's charge in their info."""
        if self._charge is None or self._topology is not None:
            return atoms
        atoms = atoms.copy()
        atoms.info["charge"] = self._charge
        return atoms

    def _watch_bonds(self, atoms: Atoms, topology: Topology) -> None:
        """Warn, once, when a bond of the topology is broken."""
        if not self._bonds_watched or topology.bonds_hold(
            atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc
        ):
            return
        self._bonds_watched = False
        bonds = np.array(topology.bonds)  # (n_bonds, 2)
        vectors = atoms.positions[bonds[:, 1]] - atoms.positions[bonds[:, 0]]
        _, lengths = find_mic(vectors, atoms.cell, atoms.pbc)  # (n_bonds,)
        radii = np.array([COVALENT_RADII[n] for n in topology.numbers])[bonds].sum(axis=1)
        worst = int(np.argmax(lengths / radii))
        i, j = topology.bonds[worst]
        warnings.warn(
            f"bond {atoms.symbols[i]}{i}-{atoms.symbols[j]}{j} is {lengths[worst]:.2f} Å long: the "
            "topology no longer describes these atoms, and the potential was not made for broken "
            "bonds; if the bond was meant to break, make a new calculator for the new molecules",
            stacklevel=3,
        )
