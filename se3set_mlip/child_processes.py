"""Processes of a pool that do not outlive the one that started them."""

import multiprocessing
import os
import threading
from multiprocessing.process import BaseProcess


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, however that ended.

    To be called in a process of a pool, as its initializer: what waits for a task does not notice
    that there will be none, and would wait for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(process: BaseProcess) -> None:
    """Wait for the end of a process, and end this one."""
    process.join()
    os._exit(1)
