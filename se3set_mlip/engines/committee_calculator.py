"""ASE's calculator of a committee: the mean of several potentials, and how far they differ.

>>> atoms.calc = CommitteeCalculator(["1.safetensors", "2.safetensors"])  # doctest: +SKIP
>>> atoms.get_forces(), atoms.calc.results["forces_std"]  # doctest: +SKIP

What the numbers mean is told in :mod:`se3set_mlip.potential.spread`, what comes of thresholds in
:mod:`.uncertainty`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from se3set_mlip.engines.ase_calculator import SE3SetCalculator
from se3set_mlip.engines.bond_policy import CHECK_INTERVAL
from se3set_mlip.engines.uncertainty import (
    UncertaintyError,
    UncertaintyPolicy,
    WatchedCommittee,
)
from se3set_mlip.errors import ConfigError
from se3set_mlip.potential.checkpoint import load_checkpoint
from se3set_mlip.potential.committee import Committee
from se3set_mlip.potential.potential import Potential
from se3set_mlip.topology.molecule import Topology

if TYPE_CHECKING:
    from ase import Atoms

_FORCE_SPREADS = ("forces_std", "forces_std_norm")


class CommitteeCalculator(SE3SetCalculator):
    """Mean energies, forces and stress of several potentials, with standard deviations.

    Besides what :class:`SE3SetCalculator` has, ``results`` holds ``energy_std`` (eV), and where
    forces are computed ``forces_std`` ((n_atoms, 3), eV/Å, of each component) and
    ``forces_std_norm`` ((n_atoms,), its norm): sample standard deviations over the members.

    Parameters
    ----------
    potentials
        A committee, or two or more potentials or paths of checkpoints. Thresholds of a
        :class:`~se3set_mlip.engines.uncertainty.WatchedCommittee` hold if none are given here.
    device, dtype, topology, charge, on_bond_change, check_interval, memory_gib
        As in :class:`SE3SetCalculator`; the ceiling of memory is for one member at a time.
    warn_above
        Warn each time that the largest ``forces_std_norm`` rises above this, eV/Å; None: never.
    stop_above
        Raise an error above this, eV/Å; None: never.
    save_to
        Where to write the atoms before that error is raised, in a format of ASE, with their
        momenta and, in extended XYZ, ``forces_std``; None: nowhere.

    Raises
    ------
    ConfigError
        For fewer than two potentials or such as do not go together; for thresholds that are no
        positive numbers or in the wrong order; for ``save_to`` without ``stop_above``.
    UncertaintyError
        From ``calculate``, if forces are asked for: the spread is above ``stop_above``. In dynamics
        the atoms are then where they were going, and their velocities in the middle of the step.
    """

    implemented_properties = [  # noqa: RUF012
        *SE3SetCalculator.implemented_properties,
        "energy_std",
        *_FORCE_SPREADS,
    ]
    potential: WatchedCommittee

    def __init__(
        self,
        potentials: Committee | Sequence[Potential | str | Path],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | str = "float64",
        topology: Topology | None = None,
        charge: int | None = None,
        on_bond_change: str = "keep",
        check_interval: int = CHECK_INTERVAL,
        memory_gib: float | None = None,
        warn_above: float | None = None,
        stop_above: float | None = None,
        save_to: str | Path | None = None,
    ) -> None:
        policy = UncertaintyPolicy(warn_above=warn_above, stop_above=stop_above)
        if isinstance(potentials, WatchedCommittee) and policy == UncertaintyPolicy():
            policy = potentials.policy
        if save_to is not None and policy.stop_above is None:
            raise ConfigError(
                f"save_to = {str(save_to)!r} is where the atoms go when the spread is above "
                "stop_above, which is not set; set it, or leave save_to out"
            )
        if isinstance(potentials, Potential | str | Path) and not isinstance(potentials, Committee):
            raise ConfigError(
                f"a committee out of one {type(potentials).__name__}; give a list of two or more, "
                "or use SE3SetCalculator"
            )
        members = potentials.members if isinstance(potentials, Committee) else potentials
        loaded = [
            member if isinstance(member, Potential) else load_checkpoint(member)
            for member in members
        ]
        alike = [member.to(device=device, dtype=dtype) for member in loaded]
        super().__init__(
            WatchedCommittee(alike, policy),
            device=device,
            dtype=dtype,
            topology=topology,
            charge=charge,
            on_bond_change=on_bond_change,
            check_interval=check_interval,
            memory_gib=memory_gib,
        )
        self.save_to = save_to

    def calculate(
        self,
        atoms: "Atoms | None" = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] | None = None,
    ) -> None:
        """Compute the properties that ASE asks for, and no derivative that it does not.

        Parameters
        ----------
        atoms
            The structure.
        properties
            Names out of ``implemented_properties``.
        system_changes
            What changed since the last call; None: everything.

        Raises
        ------
        UncertaintyError
            If forces are asked for and the spread is above ``stop_above``.
        ase.calculators.calculator.PropertyNotImplementedError
            For the stress of atoms that are not periodic in all directions.
        """
        given: dict[str, Any] = {} if system_changes is None else {"system_changes": system_changes}
        if set(properties) & set(_FORCE_SPREADS):
            properties = (*properties, "forces")
        try:
            super().calculate(atoms, properties, **given)
        except UncertaintyError as error:
            self._save(error)
            raise
        spread = self.potential.spread
        assert spread is not None
        self.results["energy_std"] = float(spread.energy_std)
        if "forces" in self.results:
            self.results["forces_std"] = spread.forces_std.cpu().numpy()
            self.results["forces_std_norm"] = spread.forces_std_norm.cpu().numpy()

    def _save(self, error: UncertaintyError) -> None:
        """Write the atoms at which the members disagree."""
        if self.save_to is None or error.geometry is None:
            return
        frame = self.atoms.copy()
        frame.info["energy_std"] = error.geometry.energy_std
        frame.arrays["forces_std"] = error.geometry.forces_std
        frame.write(self.save_to)
