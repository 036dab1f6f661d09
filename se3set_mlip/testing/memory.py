"""Memory: hypergraphs of ever different sizes must not make the process grow.

Each step displaces all atoms at random and breathes the structure in and out, so that atoms come
into reach of fragments and leave; then the energy and forces are computed. The resident size of
the process after the first steps, when allocators have what they need, is compared with that at
the end.
"""

import ctypes
import gc
import os
import sys
from pathlib import Path

import numpy as np

from se3set_mlip.testing.results import CheckResult
from se3set_mlip.testing.subject import Specimen, Subject

NAME = "memory growth"
GROWTH_RELATIVE = 0.01
WARM_UP_STEPS = 100
FULL_STEPS = 1000
BREATH = 0.15
"""How far lengths are scaled down and up: from 0.85 to 1.15 of what they are."""
DISPLACEMENT_ANGSTROM = 0.05
_STATUS = Path("/proc/self/statm")


def resident_bytes() -> int | None:
    """Return the resident size of this process, or its peak where only that is told.

    Garbage is collected and what the allocator keeps free is given back to the system first: a
    leak could fill it unseen. A peak can only grow, so that a flat one is a flat size. None where
    neither is told (Windows).
    """
    gc.collect()
    _give_back_free_memory()
    if _STATUS.exists():
        return int(_STATUS.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) * (1 if sys.platform == "darwin" else 1024)


def _give_back_free_memory() -> None:
    """Return free pages of the heap to the system, which the C library of Linux can do."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl has not
        if trim is not None:
            trim(0)


def check_memory(
    subject: Subject, specimen: Specimen, *, n_steps: int = FULL_STEPS, seed: int = 0
) -> CheckResult:
    """Compute ever different hypergraphs and watch the resident size.

    Parameters
    ----------
    subject
        To be checked.
    specimen
        A structure; it is moved about its geometry, its cell breathes with it.
    n_steps
        How many evaluations, the first 100 of which are for warming up.
    seed
        Of the displacements.
    """
    if n_steps <= WARM_UP_STEPS:
        return CheckResult.skip(NAME, f"needs more than {WARM_UP_STEPS} steps, not {n_steps}")
    generator = np.random.default_rng(seed)
    center = specimen.atoms.positions.mean(axis=0)
    every = max(1, n_steps // 8)
    steps, sizes = [], []
    for step in range(1, n_steps + 1):
        atoms = specimen.atoms.copy()
        scale = 1.0 + BREATH * np.sin(0.1 * step)
        noise = generator.normal(scale=DISPLACEMENT_ANGSTROM, size=atoms.positions.shape)
        atoms.positions[:] = center + scale * (atoms.positions - center) + noise
        atoms.set_cell(scale * np.asarray(atoms.cell), scale_atoms=False)
        subject.values([Specimen(atoms, specimen.topology)])
        if step in (WARM_UP_STEPS, n_steps) or step % every == 0:
            size = resident_bytes()
            if size is None:
                return CheckResult.skip(NAME, "this system does not tell the size of a process")
            steps.append(step)
            sizes.append(size)
    start = sizes[steps.index(WARM_UP_STEPS)]
    return CheckResult(
        NAME,
        sizes[-1] / start - 1.0,
        GROWTH_RELATIVE,
        "relative",
        detail=f"{start / 2**20:.0f} MiB after step {WARM_UP_STEPS}, {sizes[-1] / 2**20:.0f} MiB "
        f"after step {n_steps}",
        data={"step": steps, "bytes": sizes},
    )
