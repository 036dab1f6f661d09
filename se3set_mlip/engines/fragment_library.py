"""Fragments of many systems at once: a key travels with each system, and keys become one batch.

An engine that runs many systems side by side reorders, swaps and copies them between two
evaluations, so that "the same system as before" cannot be told by its place. What a system was when
its fragments were found travels with it as a number,

    key = the first 63 bits of SHA-256(numbers, pbc, charge, bonds, fragments, groups, parents,
          charges of fragments),

and by its key a system gets the same fragments back wherever it went. Bonds may stretch on the way:
the energy stays one smooth surface, as with ``on_bond_change="keep"``, see :mod:`.bond_policy`.
Lengths are in Å.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from se3set_mlip.engines.fragment_batch import FragmentBatch, KnownSystem, join, known_system
from se3set_mlip.errors import InputError, TopologyError
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.potential.fragment_cache import FragmentCache
from se3set_mlip.potential.potential import Potential
from se3set_mlip.topology.molecule import Topology


@dataclass(frozen=True)
class Structure:
    """One structure of an engine, with what a :class:`FragmentCache` reads of it.

    Parameters
    ----------
    numbers
        Atomic numbers, (n_atoms,).
    positions
        (n_atoms, 3), Å.
    cell, pbc
        Lattice vectors as rows, (3, 3), Å, and which are periodic, (3,).
    charge
        Total charge; None: not stated, taken as neutral.
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64]
    pbc: NDArray[np.bool_]
    charge: float | None = None

    @property
    def info(self) -> dict[str, Any]:
        """The charge, where ASE's ``Atoms`` have it."""
        return {"charge": 0 if self.charge is None else self.charge}


class FragmentLibrary:
    """Finds the fragments of systems, and keeps them under their keys.

    Parameters
    ----------
    potential
        Whose fragments they are; also the device and the dtype.
    """

    def __init__(self, potential: Potential) -> None:
        self._potential = potential
        self._cache = FragmentCache(potential.config.fragmentation)
        self._known: dict[int, KnownSystem] = {}

    def fragmentation(self, key: int) -> Fragmentation:
        """Return the fragments under a key that this library gave."""
        return self._known[key].fragmentation

    def add(self, structure: Any, *, topology: Topology | None = None) -> int:
        """Find the fragments of a structure and return their key.

        Parameters
        ----------
        structure
            A :class:`Structure`, or an ASE ``Atoms``.
        topology
            Its chemistry, where it is known.

        Raises
        ------
        InputError
            If the structure cannot be right.
        TopologyError
            If no bonding pattern fits the geometry and the charge.
        """
        fragmentation = self._cache.find(structure, topology=topology)
        periodic = bool(np.any(structure.pbc))
        system = self._potential.system(
            structure.numbers,
            structure.positions,
            fragmentation,
            cell=np.asarray(structure.cell) if periodic else None,
            pbc=structure.pbc if periodic else None,
        )
        key = fragmentation_key(fragmentation, structure.pbc)
        if key not in self._known:
            self._known[key] = known_system(fragmentation, system)
        return key

    def find(self, structure: Structure, carried: int | None) -> int:
        """Return the key of a structure that may carry one already.

        Parameters
        ----------
        structure
            The structure.
        carried
            The key that came with it, perhaps from another process; None: it has none.

        Raises
        ------
        InputError
            If the structure is not of the atoms, periodicity or charge that it had when it got its
            key; also as for :meth:`add`.
        TopologyError
            If the key is unknown here, and bonds are no longer those under which it was made; also
            as for :meth:`add`.
        """
        if carried is None or carried not in self._known:
            key = self.add(structure)
            if carried not in (None, key):
                raise TopologyError(
                    f"it carries the fragments {carried}, which this model does not know, and its "
                    "bonds now lead to others; show the model the geometry of the start with "
                    "initialize_state, or remove the key to begin anew from here"
                )
            return key
        known = self._known[carried]
        topology = known.fragmentation.topology
        flags = known.system.pbc.squeeze(0).tolist()
        charge = topology.charge if structure.charge is None else structure.charge
        for what, found, expected in (
            ("atomic numbers", structure.numbers.tolist(), list(topology.numbers)),
            ("pbc", structure.pbc.tolist(), flags),
            ("charge", charge, topology.charge),
        ):
            if found != expected:
                raise InputError(
                    f"it has {what} {found!s:.60}, and carries the fragments of a system with "
                    f"{expected!s:.60}; make a new state for other atoms"
                )
        return carried

    def batch(self, keys: Sequence[int]) -> FragmentBatch:
        """Return the fragments of systems, given by their keys.

        Parameters
        ----------
        keys
            One for each system.
        """
        return join([self._known[key] for key in keys], keys)


def fragmentation_key(fragmentation: Fragmentation, pbc: ArrayLike) -> int:
    """Return the key of a fragmentation in a cell that is periodic in some directions.

    Parameters
    ----------
    fragmentation
        The fragments.
    pbc
        Three flags.

    Returns
    -------
    int
        At least 0 and below 2**63; the same in every process.
    """
    topology = fragmentation.topology
    parts: list[ArrayLike] = [
        [topology.n_atoms, len(topology.bonds), topology.charge],
        np.asarray(pbc, dtype=bool),
        topology.numbers,
        topology.bonds,
        fragmentation.fragment_index,
        fragmentation.group_index,
        fragmentation.parents,
        fragmentation.fragment_charges,
    ]
    content = np.concatenate([np.asarray(part, dtype="<i8").reshape(-1) for part in parts])
    return int.from_bytes(hashlib.sha256(content.tobytes()).digest()[:8], "big") >> 1
