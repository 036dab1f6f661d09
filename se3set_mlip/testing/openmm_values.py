"""Energies and forces as OpenMM hands them out, on each platform of this machine.

Imported where OpenMM is asked for; OpenMM is optional. Everything comes back in eV and eV/Å.
"""

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
import openmm
from openmm import unit

from se3set_mlip.engines.openmm_force import create_force
from se3set_mlip.engines.openmm_torch import create_torch_force
from se3set_mlip.errors import InputError, MissingDependencyError
from se3set_mlip.export.torchscript import bind
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.potential.potential import Potential
from se3set_mlip.testing.subject import Array, Specimen, Values
from se3set_mlip.units import ANGSTROM_PER_NANOMETER, KJ_PER_MOL_PER_EV

_PRECISE = ("CUDA", "OpenCL", "HIP")
"""Platforms that compute in single precision unless told otherwise."""


def platform_names() -> list[str]:
    """Return the platforms of this machine that can make a context, the slowest first."""
    found = []
    for index in range(openmm.Platform.getNumPlatforms()):
        platform = openmm.Platform.getPlatform(index)
        system = openmm.System()
        system.addParticle(1.0)
        try:
            openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
        except openmm.OpenMMException:  # its library is here, its hardware is not
            continue
        found.append(str(platform.getName()))
    return found


def python_force_values(
    potential: Potential, fragmentation: Fragmentation, specimens: Sequence[Specimen], name: str
) -> list[Values]:
    """Return what a ``PythonForce`` computes on a platform.

    Parameters
    ----------
    potential
        The potential, on its device.
    fragmentation
        Of the specimens.
    specimens
        Geometries of the same atoms in the same cell.
    name
        Of the platform.

    Raises
    ------
    InputError
        For a cell that OpenMM cannot take.
    """
    force = create_force(
        potential,
        fragmentation,
        periodic=_is_periodic(specimens[0]),
        device=str(potential.device),
    )
    return _values(force, specimens, name)


def torch_force_values(
    potential: Potential, fragmentation: Fragmentation, specimens: Sequence[Specimen], name: str
) -> list[Values]:
    """Return what a ``TorchForce`` computes; arguments and errors as above.

    Raises
    ------
    MissingDependencyError
        If openmmtorch cannot be imported.
    """
    if importlib.util.find_spec("openmmtorch") is None:  # compiling takes seconds: ask before
        raise MissingDependencyError(
            "openmmtorch is not installed: pip install 'se3set-mlip[torchforce]' in an environment "
            "of its own"
        )
    module = bind(potential, fragmentation, periodic=_is_periodic(specimens[0]))
    return _values(create_torch_force(module), specimens, name)


def _is_periodic(specimen: Specimen) -> bool:
    """Return whether a structure is periodic; OpenMM knows all directions or none."""
    pbc = specimen.atoms.pbc
    if pbc.any() and not pbc.all():
        raise InputError(
            f"pbc = {pbc.tolist()}; OpenMM knows boxes that are periodic in all directions or none"
        )
    return bool(pbc.all())


def _values(force: Any, specimens: Sequence[Specimen], name: str) -> list[Values]:
    """Return energies and forces of specimens with one force."""
    system = openmm.System()
    for mass in specimens[0].atoms.get_masses():
        system.addParticle(mass)
    if _is_periodic(specimens[0]):
        cell = np.asarray(specimens[0].atoms.cell) / ANGSTROM_PER_NANOMETER
        try:
            system.setDefaultPeriodicBoxVectors(*cell)
        except openmm.OpenMMException as error:
            raise InputError(
                f"OpenMM refuses the cell ({error}); it wants lower triangular, reduced vectors"
            ) from error
    system.addForce(force)
    platform = openmm.Platform.getPlatformByName(name)
    properties = {"Precision": "double"} if name in _PRECISE else {}
    integrator = openmm.VerletIntegrator(0.001)
    context = openmm.Context(system, integrator, platform, properties)
    return [_computed(context, specimen.atoms.positions) for specimen in specimens]


def _computed(context: openmm.Context, positions: Array) -> Values:
    """Return the energy and forces of a context at positions in Å."""
    context.setPositions(positions / ANGSTROM_PER_NANOMETER)
    state = context.getState(energy=True, forces=True)
    kilojoule = unit.kilojoule_per_mole
    energy = state.getPotentialEnergy().value_in_unit(kilojoule) / KJ_PER_MOL_PER_EV
    forces = state.getForces(asNumpy=True).value_in_unit(kilojoule / unit.angstrom)
    return Values(float(energy), np.array(forces, dtype=np.float64) / KJ_PER_MOL_PER_EV)
