"""Checks of settings: a value that cannot be right is an error that says what would be."""

import difflib
from collections.abc import Iterable

from se3set_mlip.errors import ConfigError


def require(
    condition: bool,  # noqa: FBT001 - it reads as the subject of the sentence
    name: str,
    value: object,
    expected: str,
) -> None:
    """Raise a ConfigError that names the setting, its value and what was expected."""
    if not condition:
        raise ConfigError(f"{name} = {value!r}; expected {expected}; correct the value")


def require_positive(config: object, names: Iterable[str], section: str) -> None:
    """Raise a ConfigError for the first of these settings that is neither None nor above zero."""
    for name in names:
        value = getattr(config, name)
        require(value is None or value > 0, f"{section}.{name}", value, "a positive number")


def require_choice(value: str, choices: tuple[str, ...], name: str) -> None:
    """Raise a ConfigError with the nearest choice when ``value`` is none of ``choices``."""
    if value not in choices:
        nearest = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.0)[0]
        raise ConfigError(
            f"{name} = {value!r}; expected one of {', '.join(choices)}; did you mean {nearest!r}?"
        )
