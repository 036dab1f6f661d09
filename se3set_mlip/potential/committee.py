"""A committee: several potentials of one kind, evaluated as one that knows how far they differ.

Its energy is the mean, and its forces are the slope of that; how far the members differ tells how
far training has left the answer open, see :mod:`.spread`. What all members share, such as a
reference method or a cutoff that is too short, does not show in it.

Query by committee: H. S. Seung, M. Opper, H. Sompolinsky, Proc. 5th Annual Workshop on
Computational Learning Theory, 287 (1992), doi:10.1145/130385.130417.
"""

import copy
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from se3set_mlip.errors import ConfigError
from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.potential.candidate_cache import CandidateCache
from se3set_mlip.potential.potential import Potential
from se3set_mlip.potential.potential_module import PotentialOutput
from se3set_mlip.potential.results import Evaluation, Metadata, split_output
from se3set_mlip.potential.spread import mean_evaluation, mean_output
from se3set_mlip.topology.molecule import Topology


class Committee(Potential):
    """Several potentials as one: it computes their mean, and tells how far they differ.

    Wherever a potential is evaluated a committee may take its place. It has no file of its own: its
    members have theirs.

    Parameters
    ----------
    potentials
        Two or more, for the same elements and with the same settings of the fragmentation, in one
        precision and on one device. Networks may be of different sizes.

    Attributes
    ----------
    members
        The potentials.

    Raises
    ------
    ConfigError
        For fewer than two potentials, or for potentials that do not go together.
    """

    def __init__(self, potentials: Sequence[Potential]) -> None:
        self.members = tuple(potentials)
        _check_members(self.members)
        theories = {member.metadata.level_of_theory for member in self.members}
        metadata = Metadata(
            description=f"mean of {len(self.members)} potentials",
            level_of_theory=theories.pop() if len(theories) == 1 else "unknown",
            charges=_common_charges(self.members),
            closed_shells=any(member.metadata.closed_shells for member in self.members),
        )
        modules = torch.nn.ModuleList([member.module for member in self.members])
        super().__init__(modules, self.members[0].config, metadata)
        self.is_compiled = all(member.is_compiled for member in self.members)
        self._caches: WeakKeyDictionary[CandidateCache, tuple[CandidateCache, ...]] | None = None

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of networks and positions."""
        return self.members[0].dtype

    @property
    def reference_energies(self) -> torch.Tensor:
        """Mean reference energies of the elements, (119,) by atomic number, eV, float64."""
        return torch.stack([member.reference_energies for member in self.members]).mean(dim=0)

    def to(
        self, *, device: torch.device | str | None = None, dtype: torch.dtype | str | None = None
    ) -> "Committee":
        """Return the committee on another device or in another dtype; see :meth:`Potential.to`.

        Raises
        ------
        InputError
            For an unknown dtype, a device that is not there, or another dtype of a TorchScript
            model.
        """
        members = [member.to(device=device, dtype=dtype) for member in self.members]
        if all(new is old for new, old in zip(members, self.members, strict=True)):
            return self
        return self._of(members)

    def compiled(self) -> "Committee":
        """Return a committee whose members are compiled; see :meth:`Potential.compiled`.

        Raises
        ------
        InputError
            For a TorchScript model.
        """
        return self._of([member.compiled() for member in self.members])

    def __deepcopy__(self, memo: dict[int, Any]) -> "Committee":
        """Copy all members."""
        return self._of([copy.deepcopy(member, memo) for member in self.members])

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but candidates, which can be found again."""
        return self.__dict__ | {"_caches": None}

    def _of(self, members: Sequence[Potential]) -> "Committee":
        """Return the same kind of committee with other members."""
        return Committee(members)

    def compute(
        self,
        system: System,
        *,
        forces: bool = True,
        stress: bool = False,
        cache: CandidateCache | None = None,
        memory_gib: float | None = None,
    ) -> PotentialOutput:
        """Compute the mean for a batch; arguments and errors are those of a potential.

        Parameters
        ----------
        system
            The structures.
        forces, stress
            What to compute besides energies.
        cache
            Keeps candidates from one call to the next; every member but the first gets one more of
            its kind, for as long as this one lives.
        memory_gib
            What the evaluation of one member may take in GiB.
        """
        members = self.compute_members(
            system, forces=forces, stress=stress, cache=cache, memory_gib=memory_gib
        )
        output = mean_output(members)
        self._look_at(system, members, output)
        return output

    def _look_at(
        self, system: System, members: Sequence[PotentialOutput], output: PotentialOutput
    ) -> None:
        """Do nothing with what was computed; a committee that minds its spread does."""

    def compute_members(
        self,
        system: System,
        *,
        forces: bool = True,
        stress: bool = False,
        cache: CandidateCache | None = None,
        memory_gib: float | None = None,
    ) -> list[PotentialOutput]:
        """Compute a batch with each member; see :func:`.mean_output`, :func:`.spread_of`.

        Parameters
        ----------
        system, forces, stress, cache, memory_gib
            As in :meth:`compute`.
        """
        return [
            member.compute(system, forces=forces, stress=stress, cache=own, memory_gib=memory_gib)
            for member, own in zip(self.members, self._caches_for(cache), strict=True)
        ]

    def _caches_for(self, cache: CandidateCache | None) -> tuple[CandidateCache | None, ...]:
        """Return a cache for each member: that of the caller, and others that go with it."""
        if cache is None:
            return (None,) * len(self.members)
        if self._caches is None:
            self._caches = WeakKeyDictionary()
        others = self._caches.get(cache)
        if others is None:
            others = tuple(CandidateCache(cache.skin_angstrom) for _ in self.members[1:])
            self._caches[cache] = others
        return cache, *others

    def _evaluate_batch(
        self,
        system: System,
        sizes: Sequence[int],
        *,
        forces: bool,
        stress: bool,
        memory_gib: float | None,
    ) -> list[Evaluation]:
        """Return the mean evaluations of the structures of a batch, which know their spread."""
        members = self.compute_members(system, forces=forces, stress=stress, memory_gib=memory_gib)
        found = (split_output(output, sizes) for output in members)
        return [mean_evaluation(evaluations) for evaluations in zip(*found, strict=True)]

    def hessian(
        self,
        structure: Any,
        *,
        topology: Topology | None = None,
        memory_gib: float | None = None,
    ) -> np.ndarray:
        """Return the mean of the members' Hessians; see :meth:`Potential.hessian`.

        Parameters
        ----------
        structure
            An ASE ``Atoms``, or a :class:`System` of one structure.
        topology
            Chemistry of the ``Atoms``.
        memory_gib
            What the calculation for one member may take in GiB.

        Returns
        -------
        numpy.ndarray
            (3 n_atoms, 3 n_atoms) float64, eV/Å^2.
        """
        found = [
            member.hessian(structure, topology=topology, memory_gib=memory_gib)
            for member in self.members
        ]
        return np.mean(found, axis=0)


def _common_charges(members: Sequence[Potential]) -> tuple[int, ...]:
    """Return the charges that all potentials were trained on, of those that know."""
    known = [set(member.metadata.charges) for member in members if member.metadata.charges]
    return tuple(sorted(set.intersection(*known))) if known else ()


def _check_members(members: Sequence[Potential]) -> None:
    """Raise unless the potentials can compute the same systems together."""
    if len(members) < 2:
        raise ConfigError(
            f"a committee of {len(members)} potentials; give at least two, trained alike but for "
            "the seed"
        )
    for number, member in enumerate(members):
        if not isinstance(member, Potential):
            raise ConfigError(
                f"member {number} of the committee is a {type(member).__name__}; give potentials, "
                "as se3set_mlip.load returns them"
            )
    first = members[0]
    for number, member in enumerate(members[1:], start=1):
        for what, expected, found in (
            ("elements", first.elements, member.elements),
            ("fragmentation", first.config.fragmentation, member.config.fragmentation),
            ("dtype", first.dtype, member.dtype),
            ("device", first.device, member.device),
        ):
            if expected != found:
                remedy = (
                    "load all members alike, with the same dtype and device"
                    if what in ("dtype", "device")
                    else "train all members with the same settings of the potential"
                )
                raise ConfigError(
                    f"member {number} of the committee has {what} = {found}, member 0 has "
                    f"{expected}; {remedy}"
                )
