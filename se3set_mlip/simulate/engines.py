"""Engines by name; OpenMM, which is optional, is imported only when it is asked for."""

from se3set_mlip.errors import InputError
from se3set_mlip.simulate.ase_engine import ase_samples
from se3set_mlip.simulate.dynamics import Engine

ENGINES = ("ase", "openmm")


def find_engine(name: str) -> Engine:
    """Return the engine of a name.

    Raises
    ------
    InputError
        For an unknown name.
    MissingDependencyError
        If OpenMM is wanted and not installed.
    """
    if name not in ENGINES:
        raise InputError(f"engine {name!r}; expected one of {', '.join(ENGINES)}")
    if name == "ase":
        return ase_samples
    from se3set_mlip.simulate.openmm_engine import openmm_samples  # noqa: PLC0415 - optional

    return openmm_samples
