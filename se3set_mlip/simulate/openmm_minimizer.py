"""Minimising in OpenMM with short steps, for learned potentials and poor starts.

OpenMM's ``LocalEnergyMinimizer`` tries a step of 1 nm over all atoms first and takes it back when
the energy rises, as a force field's does. A learned potential knows nothing of such geometries, and
its energy there may be lower. Here no atom moves by more than 0.1 Å at a time, by ASE's LBFGS;
energies and forces are those of the context, so a mixed system is minimised as a whole.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import ase
import numpy as np
import openmm
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms
from ase.optimize import LBFGS
from openmm import unit

from se3set_mlip.errors import InputError
from se3set_mlip.units import ANGSTROM_PER_NANOMETER, KJ_PER_MOL_PER_EV

MAX_STEP_ANGSTROM = 0.1


class Minimization(NamedTuple):
    """The end of a minimisation."""

    converged: bool
    n_steps: int
    energy: float
    """eV."""
    max_force: float
    """Largest norm of a force on a particle that may move, eV/Å."""


def minimize_energy(
    context: "openmm.Context",
    *,
    max_force: float = 0.05,
    max_steps: int = 1000,
    on_step: Callable[[int, float, float], None] | None = None,
) -> Minimization:
    """Move the particles of a context to the nearest minimum, in steps of at most 0.1 Å.

    Parameters
    ----------
    context
        Of any system without constraints; such as ``simulation.context``. Its positions change,
        nothing else does. Particles without mass stay where they are.
    max_force
        Converged when no force is longer than this, eV/Å (0.05 eV/Å are 48 kJ/mol/nm).
    max_steps
        Give up after so many steps.
    on_step
        Called with the number of the step, the energy (eV) and the largest force (eV/Å).

    Returns
    -------
    Minimization

    Raises
    ------
    InputError
        If the system has constraints or virtual sites, or a setting is not above zero.
    """
    system = context.getSystem()
    _check(system, max_force, max_steps)
    masses = [system.getParticleMass(k) / unit.dalton for k in range(system.getNumParticles())]
    state = context.getState(positions=True)
    positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    atoms = ase.Atoms(positions=positions, numbers=np.zeros(len(masses), dtype=int))
    atoms.set_constraint(FixAtoms([k for k, mass in enumerate(masses) if mass == 0.0]))
    atoms.calc = _Context(context)
    driver = LBFGS(atoms, maxstep=MAX_STEP_ANGSTROM, logfile=None)
    converged = False
    for step, is_converged in enumerate(driver.irun(fmax=max_force, steps=max_steps)):
        converged = bool(is_converged)
        if on_step is not None:
            on_step(step, atoms.get_potential_energy(), _longest(atoms))
    return Minimization(
        converged, driver.get_number_of_steps(), atoms.get_potential_energy(), _longest(atoms)
    )


class _Context(Calculator):
    """The energy of a context (all its forces) as ASE asks for it."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, context: "openmm.Context") -> None:
        super().__init__()
        self.context = context

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Move the particles of the context, and ask it."""
        super().calculate(atoms, properties, system_changes)
        self.context.setPositions(self.atoms.positions / ANGSTROM_PER_NANOMETER)
        state = self.context.getState(energy=True, forces=True)
        per_nm = unit.kilojoule_per_mole / unit.nanometer
        forces = state.getForces(asNumpy=True).value_in_unit(per_nm)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        self.results = {
            "energy": energy / KJ_PER_MOL_PER_EV,
            "forces": np.array(forces) / (KJ_PER_MOL_PER_EV * ANGSTROM_PER_NANOMETER),
        }


def _check(system: "openmm.System", max_force: float, max_steps: int) -> None:
    """Refuse what cannot be minimised here.

    Raises
    ------
    InputError
        As :func:`minimize_energy`.
    """
    if system.getNumConstraints():
        raise InputError(
            f"the system has {system.getNumConstraints()} constraints, which are not kept here; "
            "make it with constraints=None and rigidWater=False, or use OpenMM's "
            "LocalEnergyMinimizer"
        )
    if any(system.isVirtualSite(k) for k in range(system.getNumParticles())):
        raise InputError(
            "the system has virtual sites, which are not moved here; use OpenMM's "
            "LocalEnergyMinimizer, or a model without them"
        )
    if not max_force > 0.0 or max_steps < 1:
        raise InputError(
            f"max_force = {max_force} and max_steps = {max_steps}; both must be above zero"
        )


def _longest(atoms: ase.Atoms) -> float:
    """Return the largest norm of a force on an atom that may move, eV/Å."""
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max())
