"""What computed a number: the processor and the versions of programs, kept with every result."""

import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def processor() -> str:
    """Return the name of the processor, and its number of threads."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {max(1, len(names))} threads"


def revision() -> str:
    """Return the revision of this repository, and whether files differ; empty outside of one."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def provenance() -> dict[str, str]:
    """Return all of it."""
    versions = {name: version(name) for name in ("torch", "ase")}
    return {"processor": processor(), "revision": revision(), **versions}


def write_result(path: Path, found: dict[str, Any], *, indent: int | None = 1) -> None:
    """Write what was found, and what computed it, as JSON; make the folder if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found | provenance(), indent=indent)
    path.write_text(text + "\n", encoding="utf-8")
