"""Trajectories on disk, frame by frame, in ASE's formats."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ase
import ase.io
from ase.io.trajectory import Trajectory

from se3set_mlip.errors import InputError


@contextmanager
def open_trajectory(path: Path | None) -> Iterator[Callable[[ase.Atoms], None]]:
    """Open a file for frames; an old one is replaced.

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
    if path.suffix == ".traj":
        with Trajectory(path, "w") as trajectory:
            yield trajectory.write
        return
    if path.suffix not in (".xyz", ".extxyz"):
        raise InputError(f"trajectory {path}; give a name that ends in .traj, .xyz or .extxyz")
    path.unlink(missing_ok=True)
    yield lambda frame: ase.io.write(path, frame, format="extxyz", append=True)
