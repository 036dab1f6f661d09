"""What a network must offer to be evaluated part by part, within a memory ceiling.

A network is a sequence of stages. In each, an atom hears from its sources only what they were at
the end of the stage before; so a stage can be computed for some atoms at a time, given the features
of these and of their sources.
"""

from typing import Any, Protocol

import torch

from se3set_mlip.hypergraph.hypergraph import Hypergraph


class StagedNetwork(Protocol):
    """A network in stages; ``forward`` of a whole hypergraph is all of them, in order."""

    @property
    def n_stages(self) -> int:
        """How many stages there are."""
        ...

    def embed(self, numbers: torch.Tensor, charge: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of atoms before the first stage, each (n_atoms, ...).

        Parameters
        ----------
        numbers
            Atomic numbers, (n_atoms,) int64.
        charge
            Total formal charge of each atom's fragment, (n_atoms,) int64.
        """
        ...

    def geometry(self, hypergraph: Hypergraph) -> Any:
        """Return what all stages share of pairs; differentiable in the hypergraph's vectors."""
        ...

    def stage(
        self,
        k: int,
        atoms: list[torch.Tensor],
        incidences: list[torch.Tensor],
        geometry: Any,
        hypergraph: Hypergraph,
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
        """Run stage ``k``.

        Parameters
        ----------
        k
            From 0.
        atoms
            Features after the stage before, each (n_local, ...): first those of the ``n_atoms``
            atoms of ``hypergraph.numbers``, then those of further atoms that ``pair_source`` names.
        incidences
            Features of the incidences after the stage before, each (n_incidences, ...); empty
            before the first stage, and always where a network keeps none.
        geometry
            From :meth:`geometry`, of the same hypergraph.
        hypergraph
            The incidences of the ``n_atoms`` atoms, and their pairs.

        Returns
        -------
        tuple
            New features of the ``n_atoms`` atoms and of the incidences, and this stage's share of
            the atomic energies, (n_atoms,) in network units.
        """
        ...
