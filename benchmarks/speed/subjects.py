"""Who is timed: subjects by name, where their environments are, and which a user means.

A name has two or three parts, ``family/size/route`` or ``family/route``. On the command line a name
means its subject; leading parts mean all subjects that begin so.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SIZES = ("small", "medium", "large", "published")
ROUTES = ("eager", "scripted", "compiled", "bounded")
TRAINABLE_ROUTES = ("eager",)
REFERENCE = "mace/96x0e"


@dataclass(frozen=True)
class Entry:
    """One subject.

    Attributes
    ----------
    name
        For tables and the command line.
    family
        Which module makes it, and in which environment.
    size, route
        What that module makes.
    trains
        Whether it can take training steps.
    usual
        Whether it is timed unless others are asked for.
    least_atoms
        Smaller structures are left out.
    """

    name: str
    family: str
    size: str
    route: str
    trains: bool = True
    usual: bool = True
    least_atoms: int = 0


_USUAL_SIZES = {
    "eager": SIZES,
    "scripted": ("small", "medium", "published"),
    "compiled": ("small",),  # compiling takes minutes
    "bounded": ("small",),
}
_PARTS_FROM_ATOMS = 1000
_OURS = [
    Entry(
        f"ours/{size}/{route}",
        "ours",
        size,
        route,
        trains=route in TRAINABLE_ROUTES,
        usual=size in _USUAL_SIZES[route],
        least_atoms=_PARTS_FROM_ATOMS if route == "bounded" else 0,
    )
    for size in SIZES
    for route in ROUTES
]
_PEERS = [
    Entry("mace/96x0e", "mace", "96x0e", "eager"),
    Entry("mace/128x0e+128x1o", "mace", "128x0e+128x1o", "eager"),
    Entry("mace/96x0e/compiled", "mace", "96x0e", "compiled", trains=False),
    Entry("nequip/eager", "nequip", "", "eager"),
    Entry("nequip/compiled", "nequip", "", "compiled", trains=False),
]
SUBJECTS = (*_OURS, *_PEERS)


class SelectionError(ValueError):
    """No subject goes by this name, or its environment is missing."""


def interpreter(family: str, environments: Path) -> Path:
    """Return the interpreter of a family's environment: ours is the one that runs."""
    if family == "ours":
        return Path(sys.executable)
    return environments / family / "bin" / "python"


def select(
    names: Sequence[str], *, sizes: Sequence[str], routes: Sequence[str], environments: Path
) -> tuple[list[Entry], dict[str, str]]:
    """Return the subjects that are meant, and why others were left out, by name.

    Parameters
    ----------
    names
        From the command line; none: the usual ones.
    sizes, routes
        Limit our own subjects; none: all.
    environments
        Folder of the peers' environments.

    Raises
    ------
    SelectionError
        If a name means no subject, or means one whose environment is missing.
    """
    chosen: list[Entry] = []
    left_out: dict[str, str] = {}
    for name in names:
        if not any(_means(name, entry) for entry in SUBJECTS):
            known = ", ".join(entry.name for entry in SUBJECTS)
            raise SelectionError(f"no subject begins with {name!r}; expected one of {known}")
    for entry in SUBJECTS:
        asked = [name for name in names if _means(name, entry)]
        ours = entry.family == "ours"
        explicit = entry.name in asked or (ours and bool(routes))
        if (names and not asked) or not (entry.usual or explicit):
            continue
        if ours and ((sizes and entry.size not in sizes) or (routes and entry.route not in routes)):
            continue
        python = interpreter(entry.family, environments)
        if python.exists():
            chosen.append(entry)
        elif asked:
            raise SelectionError(
                f"{entry.name} needs an environment with the interpreter {python}, which is not "
                "there; benchmarks/speed/README.md says how to make it"
            )
        else:
            left_out[entry.name] = f"no environment {python.parents[1]}"
    return chosen, left_out


def _means(name: str, entry: Entry) -> bool:
    """Tell whether a name on the command line means a subject: it alone, or all that begin so."""
    if any(name == other.name for other in SUBJECTS):
        return entry.name == name
    return entry.name.startswith(f"{name}/")
