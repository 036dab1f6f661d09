"""OpenMM forces: nm in, kJ/mol and kJ/mol/nm out; a whole system or a subset of its particles.

Two forces, one potential:

- :func:`create_force` makes a ``PythonForce``: works with every torch, copies and serialises.
- :func:`create_torch_force` makes openmm-torch's ``TorchForce`` from a potential that
  ``se3set_mlip.export`` bound to the system: no Python at each step.

OpenMM may wrap atoms into the box one by one, since these forces declare no bonds; the hypergraph
makes fragments whole again, so positions are passed on as they come.

A serialised ``PythonForce`` is a Python pickle: loading a ``system.xml`` runs what it says. Load
only files that you trust.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from se3set_mlip.engines.bond_policy import CHECK_INTERVAL, BondPolicy, TopologyChange
from se3set_mlip.engines.bond_watch import BondWatch
from se3set_mlip.engines.openmm_fragments import find_fragments
from se3set_mlip.errors import (
    ArtifactError,
    ConfigError,
    InputError,
    MissingDependencyError,
    Se3SetError,
)
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.potential.checkpoint import checkpoint_bytes, load_checkpoint, potential_from_bytes
from se3set_mlip.potential.potential import Potential
from se3set_mlip.topology.molecule import Topology
from se3set_mlip.units import ANGSTROM_PER_NANOMETER, KJ_PER_MOL_PER_EV

try:
    import openmm
    from openmm import app, unit
except ImportError as error:
    raise MissingDependencyError(
        "the OpenMM engine needs OpenMM 8.5 or newer: pip install 'se3set-mlip[openmm]'"
    ) from error


class SE3SetComputation:
    """What a ``PythonForce`` calls: a state in, energy and forces out.

    It pickles as the bytes of a checkpoint, or as the path of one with its checksum, and loads the
    potential when it is first called.

    Parameters
    ----------
    checkpoint
        The bytes of a checkpoint, or the path of one.
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
        checkpoint: bytes | Path,
        fragmentation: Fragmentation,
        *,
        periodic: bool,
        device: str = "cpu",
        dtype: str | None = None,
        policy: BondPolicy | None = None,
        memory_gib: float | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.periodic = periodic
        self.device = device
        self.dtype = dtype
        self.checksum = hashlib.sha256(self._read()).hexdigest()
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

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but the loaded potential."""
        return self.__dict__ | {"_potential": None, "failure": None}

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

        Notes
        -----
        OpenMM passes the message of an error on as an ``OpenMMException``.
        """
        self.failure = None
        try:
            return self._compute(state)
        except Se3SetError as error:
            self.failure = error
            raise

    def _compute(self, state: Any) -> tuple[float, NDArray[np.float64]]:
        """Return the energy in kJ/mol and the forces in kJ/mol/nm of an OpenMM state."""
        positions = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
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

    def _read(self) -> bytes:
        """Return the bytes of the checkpoint."""
        if isinstance(self.checkpoint, bytes):
            return self.checkpoint
        try:
            return self.checkpoint.read_bytes()
        except OSError as error:
            raise ArtifactError(
                f"this force reads its potential from {self.checkpoint}, which cannot be read "
                f"({error.strerror}); put the checkpoint back there, or create the force with "
                "embed=True"
            ) from error

    def _load(self) -> Potential:
        """Return the potential, from the checkpoint at the first call."""
        if self._potential is None:
            content = self._read()
            if hashlib.sha256(content).hexdigest() != self.checksum:
                raise ArtifactError(
                    f"{self.checkpoint!r} is not the checkpoint that this force was made with: its "
                    f"SHA-256 should be {self.checksum}; put that file back, or make the force anew"
                )
            self._potential = potential_from_bytes(content, device=self.device, dtype=self.dtype)
        return self._potential


def create_force(
    potential: Potential | str | Path,
    topology: Fragmentation | Topology | app.Topology,
    *,
    positions: Any = None,
    particles: Sequence[int] | None = None,
    periodic: bool | None = None,
    device: str = "cpu",
    dtype: str | None = None,
    embed: bool = True,
    on_bond_change: str = "keep",
    check_interval: int = CHECK_INTERVAL,
    memory_gib: float | None = None,
) -> "openmm.PythonForce":
    """Make a ``PythonForce`` that computes a potential.

    Parameters
    ----------
    potential
        A potential, or the path of a checkpoint.
    topology
        What the force acts on: fragments, a topology, or an OpenMM ``Topology`` with its bonds.
    positions
        Reference geometry for the fragments, a quantity or an array in nm: of the topology's
        atoms. Not needed with fragments, nor for potentials whose fragments do not depend on it:
        those with implicit overlap and no merging of small groups.
    particles
        Indices of the particles that the force acts on, in the order of the fragments' atoms; None:
        all particles of the system. With an OpenMM ``Topology``: the atoms to pick out of it.
    periodic
        Whether to use OpenMM's periodic box; None: as an OpenMM ``Topology`` says, else False.
    device
        Where to compute, such as ``"cpu"`` or ``"cuda"``.
    dtype
        Precision of the network, ``"float32"`` or ``"float64"``; None: the potential's.
    embed
        Serialise the checkpoint with the force; False: only its path and checksum, for which
        ``potential`` must be a path.
    on_bond_change
        ``"keep"`` the fragments for ever and warn, once, when a bond is broken; raise an
        ``"error"`` then; or ``"reperceive"`` the topology, see :mod:`.bond_policy`.
    check_interval
        Evaluations from one check of ``"reperceive"`` to the next.
    memory_gib
        What one evaluation may take in GiB, besides what the process holds already; large systems
        are computed in parts that fit. None: what makes it fast.

    Returns
    -------
    openmm.PythonForce
        Its attribute ``computation`` is what it calls, a :class:`SE3SetComputation`, with the
        ``topology_changes``. OpenMM's copies of the force do not have the attribute.

    Raises
    ------
    ConfigError
        For another ``on_bond_change``, or an interval below 1.
    InputError
        If topology, positions and particles do not fit each other or the potential; for virtual
        sites; for bonds between particles inside and outside.
    TopologyError
        If no bonding pattern fits the topology.
    ArtifactError
        If the checkpoint cannot be read.
    MissingDependencyError
        For a subset of particles before OpenMM 8.6.

    Notes
    -----
    OpenMM always asks a ``PythonForce`` for energy and forces, even where it uses the energy alone
    (a Monte Carlo barostat, ``getState(energy=True)``). Each counts as an evaluation. A jump of the
    energy within a trial move would decide on the move: no ``"reperceive"`` with a barostat.
    """
    policy = BondPolicy(on_bond_change=on_bond_change, check_interval=check_interval)
    path = None if isinstance(potential, Potential) else Path(potential).absolute()
    if path is None and not embed:
        raise InputError(
            "embed = False stores the path of a checkpoint, and a potential in memory has none; "
            "pass the path instead of the potential, or set embed=True"
        )
    if not isinstance(potential, Potential):
        potential = load_checkpoint(potential)
    box = topology.getPeriodicBoxVectors() if isinstance(topology, app.Topology) else None
    if periodic is None:
        periodic = box is not None
    fragmentation = find_fragments(
        potential,
        topology,
        positions_nm=None if positions is None else _in_nanometers(positions),
        particles=particles,
        box_nm=_in_nanometers(box) if periodic and box is not None else None,
    )
    computation = SE3SetComputation(
        checkpoint_bytes(potential) if embed or path is None else path,
        fragmentation,
        periodic=periodic,
        device=device,
        dtype=dtype or str(potential.dtype).removeprefix("torch."),
        policy=policy,
        memory_gib=memory_gib,
    )
    force = openmm.PythonForce(computation)
    if particles is not None:
        if not hasattr(force, "setParticles"):
            raise MissingDependencyError(
                f"OpenMM {openmm.__version__} applies a PythonForce to all particles only; upgrade "
                "to OpenMM 8.6 or newer for a subset, or leave particles out"
            )
        force.setParticles([int(index) for index in particles])
    force.setUsesPeriodicBoundaryConditions(periodic)
    force.setName("SE3Set")
    force.computation = computation
    return force


def create_torch_force(module: torch.jit.ScriptModule, *, on_bond_change: str = "keep") -> Any:
    """Make a ``TorchForce`` of a potential that is bound to the system.

    Parameters
    ----------
    module
        What ``se3set_mlip.export``'s ``bind`` or ``load_bound`` returned.
    on_bond_change
        ``"keep"`` alone: the bound program holds its fragments, and nobody watches the bonds.

    Returns
    -------
    openmmtorch.TorchForce

    Raises
    ------
    ConfigError
        For another ``on_bond_change``.
    MissingDependencyError
        If openmmtorch cannot be imported with this torch.
    InputError
        If the module is not a bound potential.

    Notes
    -----
    With OpenMM 8.6 and the wheel of openmmtorch 1.5 a system that has a ``TorchForce`` can be
    neither copied nor deserialised: the process ends (the wheel was built against OpenMM 8.5, with
    which both work). Keep the bound file and make the force from it, or use :func:`create_force`.

    The first three calls take seconds: TorchScript profiles and compiles the program.
    """
    if BondPolicy(on_bond_change=on_bond_change).on_bond_change != "keep":
        raise ConfigError(
            f"on_bond_change = {on_bond_change!r}: a TorchForce runs a compiled program that is "
            "bound to its fragments, and can only 'keep' them; use create_force"
        )
    try:
        import openmmtorch  # noqa: PLC0415
    except ImportError as error:
        raise MissingDependencyError(
            f"TorchForce needs openmmtorch, which cannot be imported with torch "
            f"{torch.__version__} ({error}): pip install 'se3set-mlip[torchforce]' in an "
            "environment of its own, or use create_force"
        ) from error
    if not isinstance(module, torch.jit.ScriptModule) or not hasattr(module, "periodic"):
        raise InputError(
            f"expected a potential bound to the system, got {type(module).__name__}; make it with "
            "se3set_mlip.export's bind or load_bound"
        )
    _register_torch_kernels()
    force = openmmtorch.TorchForce(module)
    force.setUsesPeriodicBoundaryConditions(module.periodic)
    force.setName("SE3Set")
    return force


def _register_torch_kernels() -> None:
    """Load the plugins of openmm-torch, which OpenMM cannot if it is imported before torch."""
    reference = openmm.Platform.getPlatformByName("Reference")
    if reference.supportsKernels(["CalcTorchForce"]):
        return
    folder = Path(openmm.version.openmm_library_path) / "plugins"
    for library in sorted(folder.glob("*OpenMMTorch*")):
        with suppress(openmm.OpenMMException):  # of a platform that this machine lacks
            openmm.Platform.loadPluginLibrary(str(library))
    if not reference.supportsKernels(["CalcTorchForce"]):
        raise MissingDependencyError(
            f"the plugins of openmm-torch in {folder} cannot be loaded; import torch before "
            "openmm, or reinstall openmmtorch"
        )


def create_system(topology: app.Topology, force: openmm.Force) -> openmm.System:
    """Make a system of all atoms of a topology, with masses, box vectors and one force.

    Parameters
    ----------
    topology
        OpenMM's topology; its atoms become the particles.
    force
        What :func:`create_force` or :func:`create_torch_force` made.

    Raises
    ------
    InputError
        For an atom without an element (a virtual site).
    """
    system = openmm.System()
    for atom in topology.atoms():
        if atom.element is None:
            raise InputError(
                f"atom {atom.index} ({atom.name}) has no element: virtual sites have no place in "
                "this potential; choose a model without them"
            )
        system.addParticle(atom.element.mass)
    box = topology.getPeriodicBoxVectors()
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*box)
    system.addForce(force)
    return system


def _in_nanometers(values: Any) -> NDArray[np.float64]:
    """Return a quantity or an array in nm as an array of float64."""
    if unit.is_quantity(values):
        values = values.value_in_unit(unit.nanometer)
    return np.array(values, dtype=np.float64)
