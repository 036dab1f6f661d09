"""Processes that compute with tblite, one thread each."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

from se3set_mlip.child_processes import end_with_parent
from se3set_mlip.labelling.workers import one_thread_each


@contextmanager
def processes(number: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of so many processes, by default one for each core."""
    cores = len(os.sched_getaffinity(0))
    with (
        one_thread_each(),
        ProcessPoolExecutor(
            number or cores, mp_context=get_context("spawn"), initializer=end_with_parent
        ) as pool,
    ):
        yield pool
