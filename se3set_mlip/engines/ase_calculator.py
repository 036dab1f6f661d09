"""ASE's calculator: atoms -> energy, forces, stress in eV, eV/Å, eV/Å^3 (ASE's own units).

The topology and the fragments are found once and kept while the atoms are the same: the same
elements, boundary conditions, charge and stated bonds. The hypergraph is built anew from them at
every geometry, out of candidates that are searched for only when an atom has moved far enough.
When bonds change on the way, the energy of new fragments would jump: see :mod:`.bond_policy`.
"""

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
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from se3set_mlip.engines.bond_policy import CHECK_INTERVAL, BondPolicy, TopologyChange
from se3set_mlip.engines.bond_watch import BondWatch
from se3set_mlip.errors import InputError
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.potential.checkpoint import load_checkpoint
from se3set_mlip.potential.chunked import check_memory
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
    on_bond_change
        ``"keep"`` the fragments for ever and warn, once, when a bond is broken; raise an
        ``"error"`` then; or ``"reperceive"`` the topology, see :mod:`.bond_policy`.
    check_interval
        Evaluations from one check of ``"reperceive"`` to the next.
    memory_gib
        What one evaluation may take in GiB, besides what the process holds already; large systems
        are computed in parts that fit. None: what makes it fast.

    Raises
    ------
    ConfigError
        For another ``on_bond_change``, or an interval below 1.
    InputError
        For a ceiling that is no positive number. From ``calculate``: if the atoms do not fit the
        topology or the charge given here, for unknown elements, coincident atoms or values that are
        not finite, or for a ceiling that is too low.
    TopologyError
        From ``calculate``: if no bonding pattern fits the first geometry and the charge; for a
        broken bond, with ``on_bond_change="error"``.
    ArtifactError
        If the checkpoint cannot be read.

    Notes
    -----
    ``stress`` is the derivative of the energy by strain over the volume, positive where the cell
    wants to shrink (ASE's sign), and is defined for cells that are periodic in all directions.

    With ``"reperceive"`` the energy depends on the way to a geometry, and may change between two
    evaluations of the same one: not for finite differences, nor for Monte Carlo moves.

    The images of a nudged elastic band must lie on one energy surface, so all of them, and both
    ends, need the same fragments: give them one calculator, made for the first image, with
    ``ase.mep.NEB(..., allow_shared_calculator=True)``. With calculators of their own, images on
    either side of a proton transfer would find bonds of their own. ``"reperceive"`` is not for
    bands.

    Vibrations without differences come from :meth:`get_hessian`::

        ase.vibrations.VibrationsData.from_2d(atoms, atoms.calc.get_hessian(atoms))
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
        on_bond_change: str = "keep",
        check_interval: int = CHECK_INTERVAL,
        memory_gib: float | None = None,
    ) -> None:
        check_memory(memory_gib)
        super().__init__()
        self._policy = BondPolicy(on_bond_change=on_bond_change, check_interval=check_interval)
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
        self._memory_gib = memory_gib
        self._identity: tuple[Any, ...] | None = None
        self._watch: BondWatch | None = None

    @property
    def topology_changes(self) -> tuple[TopologyChange, ...]:
        """What ``"reperceive"`` has done to the present atoms, in order."""
        return () if self._watch is None else tuple(self._watch.topology_changes)

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
        output = self._watch_of(atoms).compute(
            self.potential,
            atoms.positions,
            cell=atoms.cell.array,
            pbc=atoms.pbc,
            forces=stress or "forces" in properties,
            stress=stress,
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

    def get_hessian(self, atoms: Atoms | None = None) -> NDArray[np.float64]:
        """Return the second derivatives of the energy, for ``ase.vibrations.VibrationsData``.

        The fragments are those in use; constraints play no part.

        Parameters
        ----------
        atoms
            The structure; None: the one computed last.

        Returns
        -------
        numpy.ndarray
            (3 n_atoms, 3 n_atoms) in eV/Å^2, symmetric.

        Raises
        ------
        InputError
            If no structure was given or computed, for a TorchScript model, or for a ceiling of
            memory that is too low.
        TopologyError
            If no bonding pattern fits the geometry and the charge.
        """
        atoms = self.atoms if atoms is None else atoms
        if atoms is None:
            raise InputError("no structure was computed yet; give the atoms")
        system = self.potential.system(
            atoms.numbers,
            atoms.positions,
            self.fragmentation(atoms),
            cell=atoms.cell.array,
            pbc=atoms.pbc,
        )
        return self.potential.hessian(system, memory_gib=self._memory_gib)

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
        return self._watch_of(atoms).fragmentation

    def _watch_of(self, atoms: Atoms) -> BondWatch:
        """Return what holds the fragments of the atoms; a new one if the atoms are others."""
        identity = self._identify(atoms)
        if self._watch is None or identity != self._identity:
            self._check_topology(atoms)
            cache = FragmentCache(self.potential.config.fragmentation)
            fragmentation = cache.find(self._with_charge(atoms), topology=self._topology)
            self._watch = BondWatch(self._policy, fragmentation, memory_gib=self._memory_gib)
            self._identity = identity
        return self._watch

    def _identify(self, atoms: Atoms) -> tuple[Any, ...]:
        """Return what a topology depends on, besides the geometry at which it was found."""
        charge = atoms.info.get("charge")
        if charge is None:  # rounded, so that noise of partial charges is no change
            charge = round(float(atoms.get_initial_charges().sum()), 6)
        stated = atoms.info.get("mapped_smiles")
        return atoms.numbers.tobytes(), atoms.pbc.tobytes(), charge, stated

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
