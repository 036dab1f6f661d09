"""OpenMM forces: nm in, kJ/mol and kJ/mol/nm out; a whole system or a subset of its particles.

:func:`create_force` makes, of one potential,

- a ``PythonForce``, which works with every torch, copies and serialises; or openmm-torch's
  ``PythonTorchForce`` where the installed one has it;
- openmm-torch's ``TorchForce``, of a potential that ``se3set_mlip.export`` bound to the system: no
  Python at each step.

``type(force).__name__`` says which it is.

OpenMM takes atoms for one molecule where some force declares a bond between them: for the box, and
for a barostat, which moves whole molecules. These forces declare none; :func:`declare_molecules`
does, with springs of no strength.

A serialised ``PythonForce`` is a Python pickle: loading a ``system.xml`` runs what it says. Load
only files that you trust.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from se3set_mlip.engines.bond_policy import CHECK_INTERVAL, BondPolicy
from se3set_mlip.engines.openmm_computation import SE3SetComputation, SE3SetTensorComputation
from se3set_mlip.engines.openmm_fragments import find_fragments
from se3set_mlip.engines.openmm_package import app, openmm, unit
from se3set_mlip.engines.openmm_torch import create_torch_force, python_torch_force
from se3set_mlip.engines.uncertainty import WatchedCommittee
from se3set_mlip.errors import ConfigError, InputError, MissingDependencyError
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.potential.checkpoint import checkpoint_bytes, load_checkpoint
from se3set_mlip.potential.committee import Committee
from se3set_mlip.potential.inputs import check_electrons_known
from se3set_mlip.potential.potential import Potential
from se3set_mlip.shipped import find_model
from se3set_mlip.topology.molecule import Topology

MOLECULES = "SE3Set molecules"
"""The name of the force that tells OpenMM who belongs together."""
KINDS = ("auto", "PythonForce", "PythonTorchForce")


def create_force(
    potential: Potential | str | Path | torch.jit.ScriptModule,
    topology: Fragmentation | Topology | app.Topology | None = None,
    *,
    positions: Any = None,
    kind: str = "auto",
    particles: Sequence[int] | None = None,
    periodic: bool | None = None,
    device: str = "cpu",
    dtype: str | None = None,
    embed: bool = True,
    on_bond_change: str = "keep",
    check_interval: int = CHECK_INTERVAL,
    memory_gib: float | None = None,
) -> "openmm.Force":
    """Make a force that computes a potential.

    Parameters
    ----------
    potential
        A potential, or the path of a checkpoint; a committee too, and the thresholds of a
        :class:`~se3set_mlip.engines.uncertainty.WatchedCommittee`. A compiled potential is compiled
        anew where the force is first computed. A potential that ``se3set_mlip.export`` bound to the
        system needs nothing else, and becomes a ``TorchForce``.
    topology
        What the force acts on: fragments, a topology, or an OpenMM ``Topology`` with its bonds.
    positions
        Reference geometry for the fragments, a quantity or an array in nm: of the topology's
        atoms. Not needed with fragments, nor for potentials whose fragments do not depend on it:
        those with implicit overlap and no merging of small groups.
    kind
        ``"PythonForce"``; ``"PythonTorchForce"``, which hands tensors over and which openmm-torch
        1.5 does not have yet; ``"auto"``: the second where it is installed, else the first.
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
    openmm.Force
        ``type(force).__name__`` tells its kind. The attribute ``computation`` is what a Python
        force calls, a :class:`SE3SetComputation`, with the ``topology_changes``. OpenMM's copies of
        the force do not have the attribute.

    Raises
    ------
    ConfigError
        For another ``kind`` or ``on_bond_change``, or an interval below 1.
    InputError
        If there is no topology; if topology, positions and particles do not fit each other or the
        potential; for virtual sites; for bonds between particles inside and outside.
    TopologyError
        If no bonding pattern fits the topology.
    ArtifactError
        If the checkpoint cannot be read.
    MissingDependencyError
        For a subset of particles before OpenMM 8.6, or a ``PythonTorchForce`` that is not there.

    Notes
    -----
    OpenMM always asks a ``PythonForce`` for energy and forces, even where it uses the energy alone
    (a Monte Carlo barostat, ``getState(energy=True)``). Each counts as an evaluation. A barostat
    wants to know the molecules: see :func:`declare_molecules`. A jump of the
    energy within a trial move would decide on the move: no ``"reperceive"`` with a barostat.
    """
    if isinstance(potential, torch.jit.ScriptModule):
        return create_torch_force(potential, on_bond_change=on_bond_change)
    if topology is None:
        raise InputError(
            "topology is missing; pass the fragments, a topology, or an OpenMM topology of the "
            "particles"
        )
    force_class, computation_class = _classes(kind)
    policy = BondPolicy(on_bond_change=on_bond_change, check_interval=check_interval)
    path = None if isinstance(potential, Potential) else find_model(potential).absolute()
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
    check_electrons_known(fragmentation.topology, potential.metadata)
    computation = computation_class(
        _contents(potential) if embed or path is None else path,
        fragmentation,
        periodic=periodic,
        device=device,
        dtype=dtype or str(potential.dtype).removeprefix("torch."),
        policy=policy,
        memory_gib=memory_gib,
        uncertainty=potential.policy if isinstance(potential, WatchedCommittee) else None,
        compiled=potential.is_compiled,
    )
    force = force_class(computation)
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


def _contents(potential: Potential) -> bytes | tuple[bytes, ...]:
    """Return the checkpoint of a potential, or those of all members of a committee."""
    if isinstance(potential, Committee):
        return tuple(checkpoint_bytes(member) for member in potential.members)
    return checkpoint_bytes(potential)


def _classes(kind: str) -> tuple[Any, type[SE3SetComputation]]:
    """Return OpenMM's class of this kind, and what it calls."""
    if kind not in KINDS:
        raise ConfigError(f"kind = {kind!r}, expected one of {', '.join(KINDS)}")
    with_tensors = None if kind == "PythonForce" else python_torch_force()
    if with_tensors is not None:
        return with_tensors, SE3SetTensorComputation
    if kind == "PythonTorchForce":
        raise MissingDependencyError(
            "kind = 'PythonTorchForce' needs an openmm-torch that has it, newer than 1.5; choose "
            "'auto' or 'PythonForce'"
        )
    return openmm.PythonForce, SE3SetComputation


def declare_molecules(
    system: openmm.System, topology: app.Topology, *, particles: Iterable[int] | None = None
) -> None:
    """Tell OpenMM which atoms are one molecule, by springs of no strength on the bonds.

    A Monte Carlo barostat then moves molecules as wholes when it scales the box, and positions come
    wrapped by molecules. Without it each atom is a molecule of its own, bonds are scaled with
    the box, and next to no trial move is taken.

    Parameters
    ----------
    system
        The system; a force of no energy is added.
    topology
        Its topology, with bonds.
    particles
        Declare the bonds between these alone; None: all.
    """
    chosen = None if particles is None else set(particles)
    springs = openmm.HarmonicBondForce()
    springs.setName(MOLECULES)
    for bond in topology.bonds():
        i, j = bond[0].index, bond[1].index
        if chosen is None or (i in chosen and j in chosen):
            springs.addBond(i, j, 0.1, 0.0)
    if springs.getNumBonds():
        system.addForce(springs)


def create_system(topology: app.Topology, force: openmm.Force) -> openmm.System:
    """Make a system of all atoms of a topology: masses, box vectors, a force, who is a molecule.

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
    declare_molecules(system, topology)
    return system


def _in_nanometers(values: Any) -> NDArray[np.float64]:
    """Return a quantity or an array in nm as an array of float64."""
    if unit.is_quantity(values):
        values = values.value_in_unit(unit.nanometer)
    return np.array(values, dtype=np.float64)
