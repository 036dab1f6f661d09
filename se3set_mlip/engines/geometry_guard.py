"""Geometries of a batch of systems -> an error or a warning, before numbers are made of them.

Everything is seen from the lengths of bonds, in Å, at the cost of one transfer from the device.
What counts as a broken bond is told in :mod:`.bond_policy`.
"""

import warnings

import torch

from se3set_mlip.engines.bond_policy import BondPolicy, bond_name
from se3set_mlip.engines.fragment_batch import FragmentBatch
from se3set_mlip.errors import ConfigError, InputError, TopologyError
from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.topology.molecule import BROKEN_FACTOR


class GeometryGuard:
    """Looks at each geometry of a batch.

    Parameters
    ----------
    on_bond_change
        ``"keep"``: warn, once for each chemistry, when a bond is broken; ``"error"``: raise then.

    Raises
    ------
    ConfigError
        For another choice. New fragments on the way, ``"reperceive"``, would let energies jump
        between two steps of one of the systems.
    """

    def __init__(self, on_bond_change: str) -> None:
        self._policy = BondPolicy(on_bond_change=on_bond_change)
        if on_bond_change == "reperceive":
            raise ConfigError(
                "on_bond_change = 'reperceive' is not for batches: energies would jump between two "
                "steps of a system; give 'keep' or 'error'"
            )
        self._warned: set[int] = set()

    def check(self, batch: FragmentBatch, system: System) -> None:
        """Raise or warn if a geometry cannot be right or a bond is broken.

        Parameters
        ----------
        batch
            The fragments.
        system
            Their geometry.

        Raises
        ------
        InputError
            For positions that are not finite, or a cell too small for its bonds.
        TopologyError
            For a broken bond, with ``"error"``.
        """
        lengths = batch.lengths(system)
        infinite = ~torch.isfinite(system.positions).all(dim=1)
        broken = lengths > batch.limits
        unclear = torch.zeros_like(broken)
        if bool(system.pbc.any()):
            unclear = lengths > batch.largest_lengths(system)
        flags = torch.stack([infinite.any(), unclear.any(), broken.any()]).tolist()
        if flags[0]:
            atom = int(infinite.nonzero()[0])
            raise InputError(
                f"atom {atom - _first_atom(system, atom)} of system {int(system.structure[atom])} "
                f"has the position {system.positions[atom].tolist()}, not finite; the simulation "
                "has blown up, restart it from an earlier state with a smaller time step"
            )
        if flags[1]:
            worst = int(unclear.nonzero()[0])
            raise InputError(
                f"{_describe(batch, system, worst)} is {float(lengths[worst]):.2f} Å long, more "
                "than half of the cell's smallest height, so its nearest image is not clear; use a "
                "larger cell"
            )
        if flags[2]:
            worst = int((lengths / batch.limits).argmax())
            what = (
                f"bond {_describe(batch, system, worst)} is {float(lengths[worst]):.2f} Å long, "
                f"bonds hold up to {BROKEN_FACTOR} times the sum of covalent radii, here "
                f"{float(batch.limits[worst]):.2f} Å: the topology no longer describes the system, "
                "and the potential was not made for broken bonds"
            )
            self._broken(what, int(batch.atom_keys[batch.pairs[worst, 0]]))

    def _broken(self, what: str, key: int) -> None:
        """Raise or warn, as the policy says."""
        if self._policy.on_bond_change == "error":
            raise TopologyError(f"{what}; relax the start or take a shorter time step")
        if key not in self._warned:
            self._warned.add(key)
            warnings.warn(what, stacklevel=4)


def _first_atom(system: System, atom: int) -> int:
    """Return the first atom of the structure of an atom."""
    return int((system.structure < system.structure[atom]).sum())


def _describe(batch: FragmentBatch, system: System, pair: int) -> str:
    """Return a pair of atoms as people write it, such as ``O5-H11 of system 2``."""
    i, j = batch.pairs[pair].tolist()
    first = _first_atom(system, i)
    name = bond_name(system.numbers[first:].tolist(), (i - first, j - first))
    return f"{name} of system {int(system.structure[i])}"
