"""Process-wide settings that a run changes and gives back: threads, random numbers, signals."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from typing_extensions import Self

from se3set_mlip.potential.allocator import keep_freed_memory


@contextmanager
def run_settings(*, threads: int | None, seed: int, device: str) -> Iterator[None]:
    """Seed torch and set its threads for the duration of a ``with`` block."""
    if device == "cpu":
        keep_freed_memory()
    before = torch.get_num_threads()
    cuda = range(torch.cuda.device_count()) if device.startswith("cuda") else ()
    with torch.random.fork_rng(devices=list(cuda)):
        torch.manual_seed(seed)
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


class StopRequest:
    """Notes an interrupt (ctrl-C or SIGTERM) so that the loop can stop between two steps.

    A second interrupt stops at once, as without this class. Outside the main thread, where Python
    allows no handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the handlers back."""
        self._restore()

    def _restore(self) -> None:
        """Install the handlers of before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        """Remember the request; the next one acts at once."""
        self.requested = True
        self._restore()
