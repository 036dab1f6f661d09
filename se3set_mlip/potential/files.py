"""Model files from anywhere: read within bounds, and networks built within bounds.

A path may name anything, and a file may ask for a network of any size. What is read is a regular
file of limited length; no tensor that is built is far larger than the weights in the file.
"""

import math
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from se3set_mlip.errors import ArtifactError

MOST_FILE_BYTES = 4 * 2**30
ADVICE = "give the path of a checkpoint or of an exported model"


def read_model_file(path: str | Path) -> bytes:
    """Return the bytes of a model file.

    Parameters
    ----------
    path
        A regular file, or a link to one, of at most 4 GiB.

    Raises
    ------
    ArtifactError
        If there is no such file, it cannot be read, or it is something else (a folder, a device).
    """
    try:
        place = Path(path)
        status = place.stat()
        if not stat.S_ISREG(status.st_mode) and not place.is_dir():  # a folder has its own message
            raise ArtifactError(f"cannot read model file {path}: it is no regular file; {ADVICE}")
        if status.st_size > MOST_FILE_BYTES:
            raise ArtifactError(
                f"model file {path} has {status.st_size} bytes, expected at most "
                f"{MOST_FILE_BYTES}; {ADVICE}"
            )
        return place.read_bytes()
    except OSError as error:
        raise ArtifactError(f"cannot read model file {path}: {error.strerror}; {ADVICE}") from error
    except (TypeError, ValueError) as error:  # not a path at all; a null in it
        raise ArtifactError(f"model file {path!r:.80} is no path ({error}); {ADVICE}") from error


class _LengthLimit(TorchDispatchMode):
    """Looks at the shapes of new tensors before they are made."""

    def __init__(self, most_numbers: int) -> None:
        super().__init__()
        self.most_numbers = most_numbers

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation of torch, unless the tensor that it makes from a shape is too large."""
        size = args[0] if args and isinstance(args[0], list | tuple) else ()
        if size and all(isinstance(length, int) for length in size):
            check_length(math.prod(size), self.most_numbers)
        return func(*args, **(kwargs or {}))


def check_length(length: int, most: int) -> None:
    """Raise ``MemoryError`` for a length that settings ask for and weights do not bear out."""
    if length > most:
        raise MemoryError(
            f"its settings ask for {length} numbers in one place, where its weights allow {most}"
        )


@contextmanager
def limited_lengths(most_numbers: int) -> Iterator[None]:
    """Raise ``MemoryError`` before a tensor with more numbers than this is made from a shape."""
    with _LengthLimit(most_numbers):
        yield


def check_settings_fit(settings: Any, most: int, *, longest: int) -> None:
    """Raise ``MemoryError`` for settings with a whole number above ``most``, also inside text.

    Parameters
    ----------
    settings
        Nested dictionaries and lists, as JSON gives them.
    most
        Numbers in the weights: no width of a network is above it.
    longest
        Most items of a list.
    """
    if isinstance(settings, dict | list):
        check_length(len(settings), longest)
        for item in settings.values() if isinstance(settings, dict) else settings:
            check_settings_fit(item, most, longest=longest)
    elif isinstance(settings, str):  # irreps
        for digits in re.findall(r"[0-9]+", settings):
            check_length(int(digits[:20]), most)
    elif isinstance(settings, int):
        check_length(settings, most)
