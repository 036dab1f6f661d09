"""OpenMM itself, or an error that says how to get it."""

from se3set_mlip.errors import MissingDependencyError

try:
    import openmm
    from openmm import app, unit
except ImportError as error:
    raise MissingDependencyError(
        "the OpenMM engine needs OpenMM 8.5 or newer: pip install 'se3set-mlip[openmm]'"
    ) from error

__all__ = ["app", "openmm", "unit"]
