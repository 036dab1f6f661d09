"""Reference methods: a molecule -> its energy and forces by quantum chemistry.

GFN2-xTB and GFN1-xTB come from tblite, density functionals from PySCF; both are optional packages.
Molecules are closed-shell and not periodic. Programs think in Hartree and Bohr; here all is in eV
and Å.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from se3set_mlip.elements import formula
from se3set_mlip.errors import ConfigError, MissingDependencyError, Se3SetError
from se3set_mlip.units import ANGSTROM_PER_BOHR, EV_PER_HARTREE

XTB_LEVELS = ("GFN2-xTB", "GFN1-xTB", "IPEA1-xTB")


class LabelError(Se3SetError, RuntimeError):
    """A structure that the method could not compute, and why."""


class Label(NamedTuple):
    """What a method found for a structure."""

    energy: float
    """Total energy in eV."""
    forces: NDArray[np.float64]
    """(n_atoms, 3), eV/Å."""


Compute = Callable[[NDArray[np.int64], NDArray[np.float64], int], Label]
"""Atomic numbers (n_atoms,), positions (n_atoms, 3) in Å, total charge -> label."""


class ReferenceMethod(Protocol):
    """A method with its settings; small enough to travel to other processes."""

    package: ClassVar[str]
    """The package on PyPI that computes it."""

    @property
    def level_of_theory(self) -> str:
        """What is computed, as a paper would say it."""
        ...

    def start(self) -> Compute:
        """Import the program, and return what computes a structure in this process.

        Raises
        ------
        MissingDependencyError
            If it is not installed.
        ConfigError
            If a setting is unknown to it.
        """
        ...


def provenance(method: ReferenceMethod) -> dict[str, Any]:
    """Return what must be known of a method to compute the same again.

    Raises
    ------
    MissingDependencyError
        If its program is not installed.
    """
    try:
        found = version(method.package)
    except PackageNotFoundError as error:
        raise _missing(method.package) from error
    settings = asdict(method)  # type: ignore[call-overload]  # methods are dataclasses
    return {
        "level_of_theory": method.level_of_theory,
        "program": method.package,
        "version": found,
        "settings": settings,
    }


@dataclass(frozen=True)
class XTB:
    """Extended tight binding, by tblite.

    Parameters
    ----------
    level
        ``"GFN2-xTB"`` (C. Bannwarth et al., J. Chem. Theory Comput. 15, 1652 (2019)),
        ``"GFN1-xTB"`` or ``"IPEA1-xTB"``.
    accuracy
        Of the self-consistent charges, smaller is better. With 1 forces are converged to some
        hundredths of a meV/Å.

    Raises
    ------
    ConfigError
        For an unknown level, or an accuracy that is not above zero.
    """

    package: ClassVar[str] = "tblite"
    level: str = "GFN2-xTB"
    accuracy: float = 0.1

    def __post_init__(self) -> None:
        """Validate the settings."""
        if self.level not in XTB_LEVELS:
            raise ConfigError(f"level = {self.level!r}; expected one of {', '.join(XTB_LEVELS)}")
        if not self.accuracy > 0.0:
            raise ConfigError(f"accuracy = {self.accuracy}; expected a number above zero, as 0.1")

    @property
    def level_of_theory(self) -> str:
        """The name of the parametrisation."""
        return self.level

    def start(self) -> Compute:
        """Import tblite, see :class:`ReferenceMethod`."""
        try:
            from tblite.interface import Calculator  # noqa: PLC0415 - optional, and slow
        except ImportError as error:
            raise _missing(self.package) from error

        def compute(
            numbers: NDArray[np.int64], positions: NDArray[np.float64], charge: int
        ) -> Label:
            """Return the label of a structure."""
            _check_closed_shell(numbers, charge)
            try:
                calculator = Calculator(
                    self.level, numbers, positions / ANGSTROM_PER_BOHR, charge=float(charge)
                )
                calculator.set("verbosity", 0)
                calculator.set("accuracy", self.accuracy)
                found = calculator.singlepoint()
            except RuntimeError as error:
                raise LabelError(str(error)) from error
            return _in_ev(found.get("energy"), found.get("gradient"))

        return compute


@dataclass(frozen=True)
class DFT:
    """Restricted Kohn-Sham density functional theory, by PySCF.

    Parameters
    ----------
    functional, basis
        By their names in PySCF.
    cartesian
        Six d functions instead of five, as the Pople basis sets of ANI-1x and 3BPA are used.
    grid_level
        Of the integration grid, 0 to 9.
    density_fitting
        Faster, with an error of some 0.01 mHartree per atom.
    max_memory_mb
        What PySCF may use in each process.
    """

    package: ClassVar[str] = "pyscf"
    functional: str = "wb97x"
    basis: str = "6-31g*"
    cartesian: bool = True
    grid_level: int = 3
    density_fitting: bool = False
    max_memory_mb: int = 4000

    @property
    def level_of_theory(self) -> str:
        """Functional and basis set."""
        return f"{self.functional}/{self.basis}"

    def start(self) -> Compute:
        """Import PySCF, see :class:`ReferenceMethod`."""
        try:
            from pyscf import dft, gto  # noqa: PLC0415 - optional, and slow
        except ImportError as error:
            raise _missing(self.package) from error
        try:
            dft.libxc.parse_xc(self.functional)
            gto.basis.load(self.basis, "H")
        except Exception as error:  # PySCF has no error of its own for a name that it does not know
            raise ConfigError(
                f"PySCF does not know {self.level_of_theory} ({error}); correct functional or basis"
            ) from error

        def compute(
            numbers: NDArray[np.int64], positions: NDArray[np.float64], charge: int
        ) -> Label:
            """Return the label of a structure."""
            _check_closed_shell(numbers, charge)
            molecule = gto.M(
                atom=list(zip(numbers.tolist(), positions.tolist(), strict=True)),
                unit="Angstrom",
                basis=self.basis,
                cart=self.cartesian,
                charge=charge,
                verbose=0,
                max_memory=self.max_memory_mb,
            )
            field = dft.RKS(molecule, xc=self.functional)
            field.grids.level = self.grid_level
            if self.density_fitting:
                field = field.density_fit()
            energy = field.kernel()
            if not field.converged:
                raise LabelError(f"no convergence in {field.max_cycle} cycles")
            return _in_ev(energy, field.nuc_grad_method().kernel())

        return compute


def _in_ev(energy: Any, gradient: Any) -> Label:
    """Return the label of an energy in Hartree and a gradient in Hartree/Bohr.

    Raises
    ------
    LabelError
        If one is not finite.
    """
    forces = -np.asarray(gradient, dtype=np.float64) * (EV_PER_HARTREE / ANGSTROM_PER_BOHR)
    label = Label(float(energy) * EV_PER_HARTREE, forces)
    if not (np.isfinite(label.energy) and np.isfinite(forces).all()):
        raise LabelError("energy or forces are not finite")
    return label


def _check_closed_shell(numbers: NDArray[np.int64], charge: int) -> None:
    """Refuse an odd number of electrons.

    Raises
    ------
    LabelError
        If it is odd.
    """
    if (int(numbers.sum()) - charge) % 2:
        raise LabelError(
            f"{formula(numbers.tolist())} with charge {charge} has an odd number of electrons; "
            'correct info["charge"], radicals are not computed'
        )


def _missing(package: str) -> MissingDependencyError:
    """Return the error of a program that is not installed."""
    return MissingDependencyError(
        f"labels need {package}, which is not installed: pip install 'se3set-mlip[label]'"
    )
