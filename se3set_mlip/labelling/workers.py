"""Structures computed by several processes: one thread each, and a crash costs one structure.

A program of quantum chemistry may end its process (memory, a fault in compiled code). Then the pool
is gone, and nobody knows which structure it was: those under way are computed again one at a time,
and one that ends its process a second time counts as failed.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from se3set_mlip.child_processes import end_with_parent
from se3set_mlip.labelling.methods import Compute, Label, LabelError, ReferenceMethod

AHEAD = 4
"""Structures that wait for each process, so that none is idle."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What libraries take the number of their threads from."""
CRASHED = "the program ended its process"


@dataclass(frozen=True)
class Task:
    """A structure: its index, atomic numbers (n_atoms,), positions (n_atoms, 3) in Å, charge."""

    index: int
    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    charge: int


Outcome = tuple[int, Label | str]
"""The index of a structure; its label, or why there is none."""

_process: dict[str, Compute] = {}
"""What this process computes with, once it has been prepared."""


def _prepare(method: ReferenceMethod) -> None:
    """Make this process ready.

    Ctrl-C reaches all processes; the one that started them decides.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    _process["compute"] = method.start()


def _compute(task: Task) -> Outcome:
    """Compute a structure in a prepared process."""
    try:
        return task.index, _process["compute"](task.numbers, task.positions, task.charge)
    except LabelError as error:
        return task.index, str(error)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Start processes with one thread each.

    Their libraries read the number when they are loaded, which is before anything can be said to
    them; threads of many processes on the same cores would slow all down tenfold.
    """
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _pool(method: ReferenceMethod, processes: int) -> Iterator[ProcessPoolExecutor]:
    """Open a pool; spawned, since forked processes inherit threads that do not run."""
    context = multiprocessing.get_context("spawn")
    with (
        one_thread_each(),
        ProcessPoolExecutor(
            processes, mp_context=context, initializer=_prepare, initargs=(method,)
        ) as pool,
    ):
        yield pool


def compute_all(
    method: ReferenceMethod, tasks: Iterable[Task], *, processes: int
) -> Iterator[Outcome]:
    """Yield the outcome of each structure as it comes, in no order.

    Parameters
    ----------
    method
        What computes.
    tasks
        The structures.
    processes
        How many at a time.

    Raises
    ------
    MissingDependencyError, ConfigError
        As :meth:`.ReferenceMethod.start`, before any work.
    """
    method.start()
    left = iter(tasks)
    suspects: list[Task] = []
    while True:
        under_way: dict[Future[Outcome], Task] = {}
        with _pool(method, processes) as pool:
            try:
                yield from _drain(pool, left, under_way, limit=AHEAD * processes)
            except BrokenProcessPool:
                suspects = list(under_way.values())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            else:
                return
        for task in suspects:
            yield _alone(method, task)


def _drain(
    pool: ProcessPoolExecutor,
    left: Iterator[Task],
    under_way: dict[Future[Outcome], Task],
    *,
    limit: int,
) -> Iterator[Outcome]:
    """Yield outcomes until nothing is left; ``under_way`` holds what is not yielded yet.

    With one process they come in the order of the tasks.
    """
    exhausted = False
    while under_way or not exhausted:
        while not exhausted and len(under_way) < limit:
            task = next(left, None)
            if task is None:
                exhausted = True
                break
            try:
                under_way[pool.submit(_compute, task)] = task
            except BrokenProcessPool:
                under_way[Future()] = task
                raise
        finished, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in [future for future in under_way if future in finished]:  # as submitted
            outcome = future.result()
            del under_way[future]
            yield outcome


def _alone(method: ReferenceMethod, task: Task) -> Outcome:
    """Compute a structure in a process of its own."""
    with _pool(method, 1) as pool:
        try:
            return pool.submit(_compute, task).result()
        except BrokenProcessPool:
            return task.index, CRASHED
