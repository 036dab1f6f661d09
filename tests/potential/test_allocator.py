"""Freed memory stays with the process, unless the user decided otherwise."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is asked for anything"
)

# Counts the pages that the system hands out while tensors of 40 MB come and go.
PROGRAM = """
import resource, torch
from se3set_mlip.potential.allocator import keep_freed_memory
asked = keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
counts = []
for _ in range(25):
    before = faults()
    torch.ones(10_000_000).mul(2.0)
    counts.append(faults() - before)
# Of the last 15 rounds all but two: small blocks may come to lie where a large one was, which then
# has to move once.
counts = sorted(counts[10:])
print(asked, counts[-3] if asked else counts[2])
"""
PAGES = 2 * 40_000_000 // 4096  # two tensors


def run(setting: dict[str, str]) -> tuple[str, int]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    environment.pop("SE3SET_RETURN_MEMORY", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**environment, **setting, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    asked, faults = done.stdout.split()
    return asked, int(faults)


def test_memory_that_came_once_is_not_asked_for_again():
    asked, faults = run({})
    assert asked == "True"
    assert faults < 0.05 * PAGES


@pytest.mark.parametrize("name", ["SE3SET_RETURN_MEMORY", "MALLOC_TRIM_THRESHOLD_"])
def test_the_user_decides(name):
    asked, faults = run({name: "100000"})
    assert asked == "False"
    assert faults > 0.5 * PAGES  # the library gives memory back by itself
