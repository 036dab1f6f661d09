"""Trajectories on disk, frame by frame, in ASE's formats."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import ase
import ase.io
from ase.io.trajectory import Trajectory

from se3set_mlip.errors import InputError

SUFFIXES = (".traj", ".xyz", ".extxyz")


@contextmanager
def open_trajectory(path: Path | None) -> Iterator[Callable[[ase.Atoms], None]]:
    """Open a file for frames; an old one is replaced, but not before there is a first frame.

    Parameters
    ----------
    path
        ``.traj`` for ASE's own format, ``.xyz`` or ``.extxyz`` for extended XYZ; None: frames go
        nowhere.

    Yields
    ------
    callable
        Writes one frame, with its stored energy and forces.

    Raises
    ------
    InputError
        For another suffix.
    """
    if path is None:
        yield lambda _frame: None
        return
    if path.suffix not in SUFFIXES:
        raise InputError(f"trajectory {path}; give a name that ends in {', '.join(SUFFIXES)}")
    n_written = 0
    with ExitStack() as stack:
        writer: Trajectory | None = None

        def write(frame: ase.Atoms) -> None:
            nonlocal n_written, writer
            if path.suffix == ".traj":
                writer = writer or stack.enter_context(Trajectory(path, "w"))
                writer.write(frame)
            else:
                ase.io.write(path, frame, format="extxyz", append=n_written > 0)
            n_written += 1

        yield write
