"""The structures of a dataset become fragments, each by its own bonds.

So the order of a file does not matter. In dynamics, though, the topology is that of the start, and
a proton between two oxygen atoms may have moved to the one that it is not bonded to. A structure
can therefore be trained on with the fragments of every topology of its dataset that describes it
with bonds not too long: the potential learns one energy for all of them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from se3set_mlip.errors import Se3SetError, TopologyError
from se3set_mlip.fragments.fragmentation import Fragmentation, FragmentationConfig
from se3set_mlip.potential.fragment_cache import FragmentCache, stated_topology, total_charge
from se3set_mlip.topology.molecule import Topology
from se3set_mlip.training.datasets import Frame

BOND_STRETCH_HELD = 1.6
"""A topology describes a structure with all bonds shorter than this times the sums of radii."""


def find_fragments(
    frames: Sequence[Frame], config: FragmentationConfig, *, bond_stretch: float = 0.0
) -> list[tuple[Fragmentation, ...]]:
    """Find the fragments of structures.

    Parameters
    ----------
    frames
        Structures; ``atoms.info["charge"]`` is honoured.
    config
        Settings of the fragments.
    bond_stretch
        Other topologies of the same atoms, with as many bonds, add their fragments where all bonds
        are shorter than this multiple of the sums of covalent radii.

    Returns
    -------
    list
        For each structure one fragmentation or more, its own first. A structure whose bonds cannot
        be perceived takes the fragments of another one of the same atoms whose bonds it holds.

    Raises
    ------
    Se3SetError
        When a structure has no fragments; kind and message are those of the perception, with the
        name of the structure.
    """
    cache = FragmentCache(config)
    found = [_perceive(frame, cache) for frame in frames]
    known = _known_fragments(frames, found)
    return [
        _choose(frame, own, known[_key(frame)], bond_stretch=bond_stretch)
        for frame, own in zip(frames, found, strict=True)
    ]


def perceivable(frames: Sequence[Frame], config: FragmentationConfig) -> tuple[Frame, ...]:
    """Return the structures that have fragments; see :func:`find_fragments`."""
    cache = FragmentCache(config)
    found = [_perceive(frame, cache) for frame in frames]
    known = _known_fragments(frames, found)
    return tuple(
        frame
        for frame, own in zip(frames, found, strict=True)
        if isinstance(own, Fragmentation) or _holding(frame, known[_key(frame)], BOND_STRETCH_HELD)
    )


def _known_fragments(
    frames: Sequence[Frame], found: Sequence[Fragmentation | TopologyError]
) -> dict[tuple[bytes, int], list[Fragmentation]]:
    """Return the different fragmentations of structures of the same atoms."""
    known: dict[tuple[bytes, int], list[Fragmentation]] = {}
    for frame, own in zip(frames, found, strict=True):
        others = known.setdefault(_key(frame), [])
        if isinstance(own, Fragmentation) and not any(_same(own, other) for other in others):
            others.append(own)
    return known


def _key(frame: Frame) -> tuple[bytes, int]:
    """Return what structures must share to share fragments: their atoms, in order, and charge."""
    return np.asarray(frame.atoms.numbers, dtype=np.int64).tobytes(), total_charge(frame.atoms)


def _box(atoms: Any) -> dict[str, Any]:
    """Return cell and periodicity as the topology's functions take them."""
    return {"cell": np.asarray(atoms.cell), "pbc": atoms.pbc} if np.any(atoms.pbc) else {}


def _same(first: Fragmentation, second: Fragmentation) -> bool:
    """Return whether no network can tell two fragmentations apart."""
    parts = first.fragments == second.fragments and first.groups == second.groups
    return parts and np.array_equal(first.fragment_charges, second.fragment_charges)


def _perceive(frame: Frame, cache: FragmentCache) -> Fragmentation | TopologyError:
    """Return the fragments of one structure by its own bonds, or why there are none."""
    atoms = frame.atoms
    try:
        topology = stated_topology(atoms) or Topology.from_coordinates(
            np.asarray(atoms.numbers), atoms.positions, total_charge(atoms), **_box(atoms)
        )
        return cache.find(atoms, topology=topology)
    except TopologyError as error:
        return error
    except Se3SetError as error:
        raise type(error)(f"{frame.name}: {error}") from error


def _holding(frame: Frame, known: Sequence[Fragmentation], stretch: float) -> list[Fragmentation]:
    """Return the fragmentations whose bonds hold in a structure, up to a stretch."""
    positions, box = frame.atoms.positions, _box(frame.atoms)
    return [other for other in known if other.topology.bonds_hold(positions, factor=stretch, **box)]


def _choose(
    frame: Frame,
    own: Fragmentation | TopologyError,
    known: Sequence[Fragmentation],
    *,
    bond_stretch: float,
) -> tuple[Fragmentation, ...]:
    """Return the fragmentations of one structure."""
    if isinstance(own, TopologyError):
        held = _holding(frame, known, BOND_STRETCH_HELD)
        if not held:
            raise TopologyError(
                f"{frame.name}: {own} (to train without such structures, set "
                "data.skip_unperceived to true)"
            ) from own
        own = held[0]
    n_bonds = len(own.topology.bonds)
    others = (
        other
        for other in _holding(frame, known, bond_stretch)
        if len(other.topology.bonds) == n_bonds and not _same(own, other)
    )
    return (own, *others)
