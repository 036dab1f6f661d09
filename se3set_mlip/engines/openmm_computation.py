"""What OpenMM's Python forces call: a state in, energy and forces in its units out.

nm in, kJ/mol and kJ/mol/nm out. OpenMM may wrap atoms into the box one by one; the hypergraph makes
fragments whole again, so positions are passed on as they come.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from se3set_mlip.engines.bond_policy import BondPolicy, TopologyChange
from se3set_mlip.engines.bond_watch import BondWatch
from se3set_mlip.engines.openmm_package import unit
from se3set_mlip.engines.uncertainty import UncertaintyPolicy, WatchedCommittee
from se3set_mlip.errors import ArtifactError, Se3SetError
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.potential.checkpoint import potential_from_bytes
from se3set_mlip.potential.potential import Potential
from se3set_mlip.potential.spread import Spread
from se3set_mlip.units import ANGSTROM_PER_NANOMETER, KJ_PER_MOL_PER_EV


class SE3SetComputation:
    """What a ``PythonForce`` calls: a state in, energy and forces out.

    It pickles as the bytes of a checkpoint, or as the path of one with its checksum, and loads the
    potential when it is first called.

    Parameters
    ----------
    checkpoint
        The bytes of a checkpoint, or the path of one; for a committee the bytes of every member's.
    fragmentation
        Fragments of the particles that the force acts on.
    periodic
        Whether the particles lie in OpenMM's periodic box.
    device
        Where to compute.
    dtype
        Precision of the network, ``"float32"`` or ``"float64"``; None: the checkpoint's.
    policy
        What to do when bonds change; None: keep the fragments. A copy, as a serialised system
        makes one, goes on from the fragments in use.
    memory_gib
        What one evaluation may take in GiB; None: what makes it fast.
    uncertainty
        Thresholds of a committee's spread, in eV/Å; None: there are none.
    compiled
        Whether the network is compiled when it is loaded, see :meth:`.Potential.compiled`.

    Attributes
    ----------
    failure
        The error that ended the last call, of which OpenMM passes on the message alone; or None.

    Raises
    ------
    ArtifactError
        If the checkpoint cannot be read; when called, also if the file has changed since.
    """

    def __init__(
        self,
        checkpoint: bytes | Path | tuple[bytes, ...],
        fragmentation: Fragmentation,
        *,
        periodic: bool,
        device: str = "cpu",
        dtype: str | None = None,
        policy: BondPolicy | None = None,
        memory_gib: float | None = None,
        uncertainty: UncertaintyPolicy | None = None,
        compiled: bool = False,
    ) -> None:
        self.uncertainty = uncertainty
        self.compiled = compiled
        self.checkpoint = checkpoint
        self.periodic = periodic
        self.device = device
        self.dtype = dtype
        self.checksum = _checksum(self._read())
        self.failure: Se3SetError | None = None
        self._watch = BondWatch(policy or BondPolicy(), fragmentation, memory_gib=memory_gib)
        self._potential: Potential | None = None

    @property
    def fragmentation(self) -> Fragmentation:
        """The fragments in use."""
        return self._watch.fragmentation

    @property
    def topology_changes(self) -> tuple[TopologyChange, ...]:
        """What ``"reperceive"`` has done, in order."""
        return tuple(self._watch.topology_changes)

    @property
    def spread(self) -> Spread | None:
        """Spread of a committee in the last evaluation, in eV and eV/Å; None: there is none."""
        return self._potential.spread if isinstance(self._potential, WatchedCommittee) else None

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but the loaded potential."""
        return self.__dict__ | {"_potential": None, "failure": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take everything; what earlier versions wrote has no ``compiled``."""
        self.__dict__ |= {"compiled": False} | state

    def __call__(self, state: Any) -> tuple[float, NDArray[np.float64]]:
        """Compute an OpenMM state.

        Parameters
        ----------
        state
            An ``openmm.State`` with positions, and with box vectors if periodic.

        Returns
        -------
        energy
            In kJ/mol.
        forces
            In kJ/mol/nm, (n_particles, 3).

        Raises
        ------
        InputError
            For coincident particles, values that are not finite, or a box that has collapsed.
        TopologyError
            For a broken bond, if the policy says so.
        UncertaintyError
            If a committee's spread is above ``stop_above``.

        Notes
        -----
        OpenMM passes the message of an error on as an ``OpenMMException``.
        """
        positions = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        return self._compute(state, positions)

    def _compute(
        self, state: Any, positions: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the energy in kJ/mol and the forces in kJ/mol/nm at positions in nm."""
        self.failure = None
        try:
            return self._evaluate(state, positions)
        except Se3SetError as error:
            self.failure = error
            raise

    def _evaluate(
        self, state: Any, positions: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]:
        """Do so, whatever happens."""
        cell = None
        if self.periodic:
            box = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer)
            cell = box * ANGSTROM_PER_NANOMETER
        output = self._watch.compute(
            self._load(),
            positions * ANGSTROM_PER_NANOMETER,
            cell=cell,
            pbc=(self.periodic,) * 3,
        )
        forces = output.forces.to("cpu", torch.float64).numpy()
        return (
            float(output.energy) * KJ_PER_MOL_PER_EV,
            forces * (KJ_PER_MOL_PER_EV * ANGSTROM_PER_NANOMETER),
        )

    def _read(self) -> tuple[bytes, ...]:
        """Return the bytes of the checkpoint, or of all members'."""
        if isinstance(self.checkpoint, tuple):
            return self.checkpoint
        if isinstance(self.checkpoint, bytes):
            return (self.checkpoint,)
        try:
            return (self.checkpoint.read_bytes(),)
        except OSError as error:
            raise ArtifactError(
                f"this force reads its potential from {self.checkpoint}, which cannot be read "
                f"({error.strerror}); put the checkpoint back there, or create the force with "
                "embed=True"
            ) from error

    def _load(self) -> Potential:
        """Return the potential, from the checkpoint at the first call."""
        if self._potential is None:
            contents = self._read()
            if _checksum(contents) != self.checksum:
                raise ArtifactError(
                    f"{self.checkpoint!r} is not the checkpoint that this force was made with: its "
                    f"SHA-256 should be {self.checksum}; put that file back, or make the force anew"
                )
            members = [
                potential_from_bytes(content, device=self.device, dtype=self.dtype)
                for content in contents
            ]
            if self.compiled:
                members = [member.compiled() for member in members]
            self._potential = (
                WatchedCommittee(members, self.uncertainty) if len(members) > 1 else members[0]
            )
        return self._potential


def _checksum(contents: tuple[bytes, ...]) -> str:
    """Return the SHA-256 of the bytes of all checkpoints."""
    return hashlib.sha256(b"".join(contents)).hexdigest()


class SE3SetTensorComputation(SE3SetComputation):
    """What openmm-torch's ``PythonTorchForce`` calls: it passes positions as a tensor.

    Parameters and errors are those of :class:`SE3SetComputation`.
    """

    def __call__(  # type: ignore[override]
        self, state: Any, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute an OpenMM state.

        Parameters
        ----------
        state
            An ``openmm.State``, for the box vectors.
        positions
            In nm, (n_particles, 3), on any device.

        Returns
        -------
        energy
            In kJ/mol, a scalar, float64.
        forces
            In kJ/mol/nm, (n_particles, 3), of the device and the precision of the positions.
        """
        points = positions.detach().to("cpu", torch.float64).numpy()
        energy, forces = self._compute(state, points)
        return torch.tensor(energy, dtype=torch.float64), torch.from_numpy(forces).to(positions)
