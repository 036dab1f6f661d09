"""What callers pass -> NumPy arrays and numbers, or an error that says what was passed instead.

NumPy reads strings as numbers, drops imaginary parts and takes ``"no"`` for true. Here only numbers
are numbers and only true, false, 1 and 0 are flags. Å.
"""

import operator
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from se3set_mlip.errors import InputError

LARGEST_COORDINATE_ANGSTROM = 1e8  # where the last digit of a float64 is 1e-8 Å

_UNREADABLE = (TypeError, ValueError, OverflowError, RuntimeError)  # RuntimeError: torch's tensors


def real_array(values: ArrayLike, *, what: str, expected: str) -> NDArray[np.float64]:
    """Return a new float64 array of real numbers.

    Parameters
    ----------
    values
        Integers or floats, in any shape.
    what
        Name of the values, plural, for messages.
    expected
        What was expected, for messages.

    Raises
    ------
    InputError
        For ragged or masked arrays, strings, bools, complex numbers, dates and other objects.
    """
    try:
        array = np.asarray(values)
        # An array of objects may hold numbers, such as fractions.
        if array.dtype.kind in "iufO" and not np.ma.is_masked(values):
            return array.astype(np.float64)
    except _UNREADABLE as error:
        raise InputError(f"{what} are not an array of numbers ({error}); {expected}") from error
    raise InputError(
        f"{what} are not an array of numbers but of type {array.dtype} "
        f"({type(values).__name__}); {expected}"
    )


def integer_array(values: ArrayLike, *, what: str, expected: str) -> NDArray[Any]:
    """Return an array of integers, of the integer type that it has; see :func:`real_array`."""
    try:
        array = np.asarray(values)
    except _UNREADABLE as error:
        raise InputError(f"{what} are not an array of integers ({error}); {expected}") from error
    if array.ndim == 1 and len(array) and array.dtype.kind not in "iu":
        raise InputError(f"{what} have type {array.dtype}; {expected}")
    return array


def three_flags(values: ArrayLike, *, what: str) -> NDArray[np.bool_]:
    """Return three bools from one or three; 1 and 0 are bools too.

    Raises
    ------
    InputError
        For another shape, or values that are neither true nor false.
    """
    expected = "expected one bool or three"
    try:
        array = np.asarray(values)
    except _UNREADABLE as error:
        raise InputError(f"{what} = {values!r} cannot be read ({error}); {expected}") from error
    if array.shape not in ((), (3,)):
        raise InputError(f"{what} has shape {array.shape}; {expected}")
    if array.dtype.kind not in "biu" or not np.isin(array, (0, 1)).all():
        raise InputError(f"{what} = {values!r} is neither true nor false; {expected}")
    return np.broadcast_to(array.astype(bool), (3,)).copy()


def real_number(value: Any, *, what: str, expected: str) -> float:
    """Return a float that is a number.

    Raises
    ------
    InputError
        For bools, strings and other objects, and for NaN.
    """
    if not isinstance(value, Real) or isinstance(value, bool) or value != value:  # noqa: PLR0124
        raise InputError(f"{what} = {value!r} is no real number; {expected}")
    try:
        return float(value)
    except OverflowError as error:
        raise InputError(f"{what} is too large ({error}); {expected}") from error


def whole_number(value: Any, *, what: str, expected: str) -> int:
    """Return an int.

    Raises
    ------
    InputError
        For bools, floats, strings and other objects.
    """
    try:
        if isinstance(value, bool):
            raise TypeError("a bool")
        return operator.index(value)
    except TypeError as error:
        raise InputError(f"{what} = {value!r} is no whole number; {expected}") from error
