"""Memory that is freed stays with the process, for the next evaluation.

An evaluation takes tensors of many megabytes and frees them at its end. The C library of Linux
(glibc) gives such memory back to the system each time, and has to be given it again page by page:
for some hundred atoms and more this is up to half of the time of an evaluation on a CPU. So the
library is asked, once, to keep what it has. The process stays as large as its largest evaluation.

Nothing is asked where the user decided (``MALLOC_TRIM_THRESHOLD_``, ``MALLOC_MMAP_THRESHOLD_``,
``GLIBC_TUNABLES``, or ``SE3SET_RETURN_MEMORY=1``), nor of other C libraries.
"""

import ctypes
import functools
import os
import platform

_DECIDED_BY = (
    "SE3SET_RETURN_MEMORY",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_MMAP_THRESHOLD_",
    "GLIBC_TUNABLES",
)
# Numbers of the parameters in glibc's malloc.h, and values: blocks up to 1 GiB come from memory
# that is kept, of which up to 2 GiB may lie unused at its end.
_M_MMAP_THRESHOLD, _MMAP_BYTES = -3, 2**30
_M_TRIM_THRESHOLD, _TRIM_BYTES = -1, 2**31 - 1


@functools.cache
def keep_freed_memory() -> bool:
    """Ask the C library to keep freed memory; the first call in a process decides.

    Returns
    -------
    bool
        Whether it was asked and agreed.
    """
    if any(os.environ.get(name) for name in _DECIDED_BY):
        return False
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    set_parameter = ctypes.CDLL(None).mallopt
    kept = set_parameter(_M_MMAP_THRESHOLD, _MMAP_BYTES)
    return bool(kept and set_parameter(_M_TRIM_THRESHOLD, _TRIM_BYTES))
