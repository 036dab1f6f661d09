"""Errors that the package raises for its users' mistakes and the world's.

Every error is a :class:`Se3SetError` and also the builtin that a caller would expect, so that
``except ValueError`` keeps working. A message says what is wrong, the value, what was expected and
what to do about it.
"""


class Se3SetError(Exception):
    """Base of all errors raised by this package."""


class InputError(Se3SetError, ValueError):
    """Numbers, positions, cells or settings that cannot be right."""


class TopologyError(Se3SetError, ValueError):
    """The chemistry of a structure cannot be determined."""


class ConfigError(Se3SetError, ValueError):
    """A configuration has an unknown key or a value out of range."""


class DatasetError(Se3SetError, ValueError):
    """A dataset lacks labels, mixes units or cannot be read."""


class ArtifactError(Se3SetError, ValueError):
    """A model file is broken, foreign, or of a newer version."""


class MissingDependencyError(Se3SetError, ImportError):
    """An optional package is needed and not installed."""
