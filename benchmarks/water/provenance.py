"""What computed a number: the processor and the versions of programs, kept with every result."""

import platform
import subprocess
from pathlib import Path

import ase
import torch

import se3set_mlip


def processor() -> str:
    """Return the name of the processor, and its number of threads."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {len(names)} threads"


def revision() -> str:
    """Return the revision of the package that computes; empty outside of a repository."""
    folder = Path(se3set_mlip.__file__).parent
    command = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def provenance() -> dict[str, str]:
    """Return all of it."""
    return {
        "processor": processor(),
        "revision": revision(),
        "torch": torch.__version__,
        "ase": ase.__version__,
    }
