"""Relaxation: a structure becomes the nearest minimum of the potential."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE, LBFGS

from se3set_mlip.engines.ase_calculator import SE3SetCalculator
from se3set_mlip.engines.bond_policy import CHECK_INTERVAL, TopologyChange
from se3set_mlip.errors import InputError
from se3set_mlip.potential.potential import Potential
from se3set_mlip.simulate.clashes import check_no_clash
from se3set_mlip.simulate.trajectory import open_trajectory
from se3set_mlip.topology.molecule import Topology

OPTIMIZERS = {"bfgs": BFGS, "lbfgs": LBFGS, "fire": FIRE}


@dataclass(frozen=True)
class Relaxation:
    """The end of a relaxation."""

    atoms: ase.Atoms
    """The structure, with energy and forces as stored results."""
    converged: bool
    n_steps: int
    energy: float
    """eV."""
    max_force: float
    """Largest norm of a force in eV/Å."""
    topology_changes: tuple[TopologyChange, ...] = ()


def relax(
    potential: Potential,
    atoms: ase.Atoms,
    *,
    max_force: float = 0.01,
    max_steps: int = 500,
    optimizer: str = "bfgs",
    cell: bool = False,
    topology: Topology | None = None,
    on_bond_change: str = "keep",
    check_interval: int = CHECK_INTERVAL,
    memory_gib: float | None = None,
    trajectory: Path | None = None,
    on_step: Callable[[int, float, float], None] | None = None,
) -> Relaxation:
    """Relax a structure.

    Parameters
    ----------
    potential
        The potential.
    atoms
        Where to start; not changed.
    max_force
        Converged when no force is longer than this, eV/Å.
    max_steps
        Give up after so many steps.
    optimizer
        ``"bfgs"``, ``"lbfgs"`` or ``"fire"``, from ASE.
    cell
        Relax the cell of a periodic structure too.
    topology
        Chemistry, if known; else it is perceived from the coordinates.
    on_bond_change, check_interval
        What to do when bonds change, and how often ``"reperceive"`` looks; see
        :class:`~se3set_mlip.engines.bond_policy.BondPolicy`.
    memory_gib
        What one evaluation may take in GiB; None: what makes it fast.
    trajectory
        File for all steps in a format of ASE (``.traj``, ``.xyz``), see :mod:`.trajectory`.
    on_step
        Called with the number of the step, the energy (eV) and the largest force (eV/Å).

    Returns
    -------
    Relaxation

    Raises
    ------
    InputError
        For an unknown optimizer, ``cell`` without periodic boundaries, or atoms inside each other.
    ConfigError
        For an unknown ``on_bond_change``, or an interval below 1.
    TopologyError
        If the chemistry cannot be found; for a broken bond, with ``on_bond_change="error"``.
    """
    if optimizer not in OPTIMIZERS:
        raise InputError(f"optimizer {optimizer!r}; expected one of {', '.join(OPTIMIZERS)}")
    if cell and not atoms.pbc.all():
        raise InputError(
            "the cell of a structure without periodic boundaries cannot be relaxed; leave the "
            "option out or set pbc"
        )
    check_no_clash(atoms, topology)
    moving = atoms.copy()
    moving.calc = SE3SetCalculator(
        potential,
        device=potential.device,
        dtype=potential.dtype,
        topology=topology,
        on_bond_change=on_bond_change,
        check_interval=check_interval,
        memory_gib=memory_gib,
    )
    driver = OPTIMIZERS[optimizer](FrechetCellFilter(moving) if cell else moving, logfile=None)
    converged = False
    with open_trajectory(trajectory) as write:
        for step, is_converged in enumerate(driver.irun(fmax=max_force, steps=max_steps)):
            frozen = _with_results(moving)
            write(frozen)
            if on_step is not None:
                on_step(step, float(frozen.get_potential_energy()), _longest(frozen))
            converged = bool(is_converged)
    return Relaxation(
        atoms=frozen,
        converged=converged,
        n_steps=driver.get_number_of_steps(),
        energy=float(frozen.get_potential_energy()),
        max_force=_longest(frozen),
        topology_changes=moving.calc.topology_changes,
    )


def _with_results(atoms: ase.Atoms) -> ase.Atoms:
    """Return a copy that remembers its energy and forces."""
    frozen = atoms.copy()
    frozen.calc = SinglePointCalculator(
        frozen, energy=atoms.get_potential_energy(), forces=atoms.get_forces()
    )
    return frozen


def _longest(atoms: ase.Atoms) -> float:
    """Return the largest norm of a force in eV/Å."""
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max())
