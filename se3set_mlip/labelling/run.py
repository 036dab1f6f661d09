"""Files of structures in, one file of labelled structures out, with what made them.

Beside ``NAME.xyz`` lies ``NAME.json``: level of theory, program, version, settings, hashes of the
sources, and each structure that failed with its reason. Until both are there, ``NAME.partial``
holds what is done, and the same call goes on from it.
"""

import hashlib
import io
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
from tqdm import tqdm

from se3set_mlip.errors import DatasetError, InputError, Se3SetError
from se3set_mlip.labelling.journal import Journal
from se3set_mlip.labelling.methods import Label, ReferenceMethod, provenance
from se3set_mlip.labelling.workers import Task, compute_all
from se3set_mlip.topology.geometry import as_positions, close_pairs
from se3set_mlip.training.state import write_atomically, write_json

COLLISION_ANGSTROM = 0.3
_OLD_LABELS = ("REF_energy", "REF_forces", "REF_stress", "REF_virial", "REF_virials")


@dataclass(frozen=True)
class LabelledFile:
    """What a run of :func:`label_file` left."""

    path: Path
    """Structures with ``REF_energy`` (eV), ``REF_forces`` (eV/Å), in the order of the sources."""
    record: Path
    """How they came about, JSON."""
    n_labelled: int
    failures: dict[int, str]
    """Reasons by index, counted over all sources from 0."""


def label_file(
    sources: Sequence[Path],
    output: Path,
    *,
    method: ReferenceMethod,
    charge: int | None = None,
    processes: int | None = None,
    progress: bool = True,
    echo: Callable[[str], None] = tqdm.write,
) -> LabelledFile:
    """Compute energies and forces of all structures in files.

    Parameters
    ----------
    sources
        Files in any format of ASE. ``info["charge"]`` of a structure is its charge.
    output
        The extended XYZ file to write, ``.xyz`` or ``.extxyz``.
    method
        :class:`.XTB` or :class:`.DFT`.
    charge
        Of structures that do not say it; 0 by default.
    processes
        How many structures at a time; as many as there are cores by default.
    progress
        Whether a bar is shown.
    echo
        Takes lines about the run.

    Raises
    ------
    DatasetError
        If a file cannot be read, the output is there already or is begun with other settings, or
        every structure failed.
    InputError
        For periodic structures, coordinates that are not finite, atoms on top of each other.
    MissingDependencyError
        If the program of the method is not installed.
    """
    record = output.with_suffix(".json")
    _check_output(output, record)
    made = provenance(method)
    frames = [frame for source in sources for frame in _read(source)]
    charges = [_charge(frame, k, charge) for k, frame in enumerate(frames)]
    hashes = [[source.name, hashlib.sha256(source.read_bytes()).hexdigest()] for source in sources]
    if any(name in frame.info or name in frame.arrays for frame in frames for name in _OLD_LABELS):
        echo("the structures are labelled already; these labels are replaced")
    output.parent.mkdir(parents=True, exist_ok=True)
    processes = processes or _cores()
    tasks = [
        Task(k, frame.numbers.astype(np.int64), frame.positions, charges[k])
        for k, frame in enumerate(frames)
    ]
    began = time.perf_counter()
    header = {"method": made, "sources": hashes, "charge": charge}
    with Journal(output.with_suffix(".partial"), header) as journal:
        before = len(journal.outcomes)
        _compute(method, tasks, journal, processes=processes, progress=progress, echo=echo)
    failures = {k: found for k, found in sorted(journal.outcomes.items()) if isinstance(found, str)}
    if len(failures) == len(frames):
        reason, n = Counter(failures.values()).most_common(1)[0]
        raise DatasetError(f"no structure could be labelled; {n} of {len(frames)}: {reason}")
    labelled = [
        _labelled(frame, found, charges[k])
        for k, frame in enumerate(frames)
        if isinstance(found := journal.outcomes[k], Label)
    ]
    _write(output, labelled)
    about = {
        "structures": len(frames),
        "labelled": len(labelled),
        "failures": {str(k): reason for k, reason in failures.items()},
        "sources_sha256": hashes,
        "charge_where_not_said": charge or 0,
        "sha256": hashlib.sha256(output.read_bytes()).hexdigest(),
        "structures_of_last_start": len(frames) - before,
        "wall_time_of_last_start_s": time.perf_counter() - began,
        "processes": processes,
    }
    write_json(record, made | about)
    journal.path.unlink()
    return LabelledFile(output, record, len(labelled), failures)


def _cores() -> int:
    """Return how many cores this process may use; not every system lets one ask."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _compute(
    method: ReferenceMethod,
    tasks: Sequence[Task],
    journal: Journal,
    *,
    processes: int,
    progress: bool,
    echo: Callable[[str], None],
) -> None:
    """Compute what the journal does not have yet, and say what failed."""
    left = [task for task in tasks if task.index not in journal.outcomes]
    failed = sum(isinstance(found, str) for found in journal.outcomes.values())
    with tqdm(
        total=len(tasks), initial=len(tasks) - len(left), unit="structure", disable=not progress
    ) as bar:
        for index, found in journal.add(compute_all(method, left, processes=processes)):
            if isinstance(found, str):
                failed += 1
                bar.set_postfix_str(f"{failed} failed", refresh=False)
                echo(f"structure {index}: {found}")
            bar.update()


def _check_output(output: Path, record: Path) -> None:
    """Refuse to overwrite what is there."""
    if output.suffix not in {".xyz", ".extxyz"}:
        raise DatasetError(f"{output} is no extended XYZ; name the output *.xyz or *.extxyz")
    for path in (output, record):
        if path.exists():
            raise DatasetError(f"{path} is there already; remove it, or choose another output")


def _read(source: Path) -> list[ase.Atoms]:
    """Return the structures of a file, checked."""
    try:
        frames = ase.io.read(source, ":")
    # Each of ASE's many readers raises its own errors on a file that it cannot read.
    except Exception as error:
        raise DatasetError(
            f"cannot read {source} ({type(error).__name__}: {error}); give a file in a format of "
            "ASE, such as .xyz"
        ) from error
    if not frames:
        raise DatasetError(f"{source} holds no structure; give a file that has some")
    for k, frame in enumerate(frames):
        name = f"structure {k} of {source}"
        if frame.pbc.any():
            raise InputError(f"{name} is periodic; only molecules are labelled, remove its cell")
        try:
            positions = as_positions(frame.positions, len(frame))
            close = close_pairs(positions, COLLISION_ANGSTROM, None).distances
        except Se3SetError as error:
            raise InputError(f"{name}: {error}") from error
        if len(close):
            raise InputError(
                f"{name}: two atoms are {close.min():.3f} Å apart; remove the structure"
            )
    return list(frames)


def _charge(frame: ase.Atoms, index: int, default: int | None) -> int:
    """Return the total charge of a structure."""
    value = frame.info.get("charge", default or 0)
    if float(value) != round(float(value)):
        raise InputError(f"structure {index} has charge {value}; give a whole number")
    return round(float(value))


def _labelled(frame: ase.Atoms, label: Label, charge: int) -> ase.Atoms:
    """Return a structure with its new labels and all else that it carried."""
    found = ase.Atoms(frame.numbers, frame.positions)
    kept: dict[str, Any] = {k: v for k, v in frame.info.items() if k not in _OLD_LABELS}
    found.info.update(kept | {"charge": charge, "REF_energy": label.energy})
    found.arrays["REF_forces"] = label.forces
    return found


def _write(path: Path, frames: list[ase.Atoms]) -> None:
    """Write extended XYZ in one piece."""
    stream = io.StringIO()
    ase.io.write(stream, frames, format="extxyz")
    write_atomically(path, stream.getvalue().encode())
