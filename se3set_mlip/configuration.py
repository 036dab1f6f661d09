"""Configurations: frozen dataclasses to and from plain dictionaries (JSON, YAML).

One rule for all of them: a key that is not a field is an error that names the nearest known key,
and a nested dataclass field is built from a nested dictionary.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from se3set_mlip.errors import ConfigError

T = TypeVar("T")

_SOURCES: dict[Any, tuple[type, ...]] = {tuple: (tuple, list), dict: (dict,)}


def _nested_dataclass(annotation: Any) -> type | None:
    """Return the dataclass in ``annotation`` (itself or inside ``X | None``), if there is one."""
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for part in typing.get_args(annotation):
            if dataclasses.is_dataclass(part) and isinstance(part, type):
                return part
    return None


def _check_value(annotation: Any, value: Any, where: str, *, text: bool = True) -> Any:
    """Return ``value`` as ``annotation`` wants it: floats from ints.

    With ``text``, what comes from YAML and JSON is understood too: tuples from lists, dataclasses
    from mappings, floats from strings.
    """
    nested = _nested_dataclass(annotation)
    if text and nested is not None and isinstance(value, Mapping):
        return config_from_dict(nested, value, where=where)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for part in typing.get_args(annotation):
            try:
                return _check_value(part, value, where, text=text)
            except ConfigError:  # noqa: PERF203 - the next alternative may fit
                continue
        raise ConfigError(f"{where} = {value!r} is none of {annotation}; correct the value")
    origin = typing.get_origin(annotation)
    if origin in (tuple, dict) and isinstance(value, _SOURCES[origin] if text else origin):
        return _check_items(annotation, value, where, text=text)
    # YAML reads 1e-3 as a string.
    if annotation is float and (type(value) is int or (text and isinstance(value, str))):
        return _float(value, where)
    plain = typing.get_origin(annotation) or annotation
    boolean_for_number = isinstance(value, bool) and plain in (int, float)
    if isinstance(plain, type) and (boolean_for_number or not isinstance(value, plain)):
        raise ConfigError(
            f"{where} = {value!r} is of type {type(value).__name__}, expected {plain.__name__}; "
            "correct the value"
        )
    return value


def _check_items(annotation: Any, value: Any, where: str, *, text: bool) -> Any:
    """Return a tuple or dictionary whose items are as ``annotation`` wants them."""
    part = typing.get_args(annotation)
    if isinstance(value, dict):
        return {
            _check_value(part[0], key, where, text=text): _check_value(
                part[1], item, f"{where}.{key}", text=text
            )
            for key, item in value.items()
        }
    return tuple(_check_value(part[0], item, where, text=text) for item in value)


def _float(value: int | str, where: str) -> float:
    """Return a whole number or a string as a float."""
    try:
        return float(value)
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{where} = {value!r:.80} is not a float ({error}); correct the value"
        ) from error


def check_field_types(config: Any) -> None:
    """Raise unless every field of a configuration is of the type that is declared.

    Called first in ``__post_init__``, so that what follows can compare numbers. Whole numbers pass
    for floats, bools pass for neither.

    Parameters
    ----------
    config
        A dataclass object.

    Raises
    ------
    ConfigError
        Naming the field, its value and the expected type.
    """
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        name = f"{type(config).__name__}.{field.name}"
        _check_value(hints[field.name], getattr(config, field.name), name, text=False)


def config_from_dict(kind: type[T], values: Mapping[str, Any], *, where: str = "") -> T:
    """Build the frozen dataclass ``kind`` from a mapping.

    Parameters
    ----------
    kind
        A dataclass type.
    values
        Field names to values; nested dataclasses as nested mappings.
    where
        Path of this mapping in the whole configuration, for messages.

    Raises
    ------
    ConfigError
        For an unknown key (the nearest known key is named), a missing one, or a wrong type.
    """
    if not dataclasses.is_dataclass(kind):
        raise TypeError(f"{kind} is not a dataclass")
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where or kind.__name__} must be a mapping, got {values!r}")
    hints = typing.get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(kind) if field.init]
    for key in values:
        if key not in known:
            nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)
            hint = f"did you mean {nearest[0]!r}? " if nearest else ""
            raise ConfigError(
                f"unknown key {key!r} in {where or kind.__name__}; {hint}"
                f"known keys: {', '.join(known)}"
            )
    arguments = {
        key: _check_value(hints[key], value, f"{where}.{key}" if where else key)
        for key, value in values.items()
    }
    try:
        return typing.cast(T, kind(**arguments))
    except TypeError as error:
        raise ConfigError(f"{where or kind.__name__}: {error}") from error


def config_to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration dataclass as nested dictionaries ready for JSON."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def _plain(value: Any) -> Any:
    """Return ``value`` with dataclasses and tuples as dictionaries and lists."""
    if dataclasses.is_dataclass(value):
        return config_to_dict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
