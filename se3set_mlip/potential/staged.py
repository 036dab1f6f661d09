"""A network part by part, forward and backward: exact, and linear in atoms.

A network is a sequence of stages (:mod:`se3set_mlip.model.stages`), in each of which an atom needs
the features of its sources after the stage before. So

1. forward: stage by stage, part by part, without a graph; only features after stages are kept;
2. backward: from the last stage to the first, each part is computed again with a graph, and its
   derivatives are added to those by the features before the stage, by vectors and by weights.

What a graph takes at a time is that of one part. The price: all but the last stage run twice.
"""

import torch

from se3set_mlip.hypergraph.hypergraph import Hypergraph
from se3set_mlip.hypergraph.parts import Arrangement, Part
from se3set_mlip.model.stages import StagedNetwork
from se3set_mlip.potential.derivatives import pullback


class Features:
    """Features of all atoms and of all incidences between two stages, or derivatives by them.

    Parameters
    ----------
    atoms
        Each (n_atoms, ...).
    incidences
        Each (n_incidences, ...), in the order of the arrangement; maybe none.
    """

    def __init__(self, atoms: list[torch.Tensor], incidences: list[torch.Tensor]) -> None:
        self.atoms = atoms
        self.incidences = incidences

    def zeros(self) -> "Features":
        """Return zeros of the same shapes."""
        return Features(
            [torch.zeros_like(value) for value in self.atoms],
            [torch.zeros_like(value) for value in self.incidences],
        )

    def of(self, part: Part) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return copies of what a stage needs: of the part's atoms, sources and incidences."""
        return (
            [value[part.atoms] for value in self.atoms],
            [value[part.incidences].clone() for value in self.incidences],
        )

    def of_own(self, part: Part) -> list[torch.Tensor]:
        """Return what a stage computes: of the part's atoms and incidences."""
        own = part.atoms[: part.n_atoms]
        return [value[own] for value in self.atoms] + [
            value[part.incidences] for value in self.incidences
        ]

    def put(self, part: Part, rows: list[torch.Tensor]) -> None:
        """Store what a stage has computed of a part, in the order of :meth:`of_own`."""
        own = part.atoms[: part.n_atoms]
        for value, new in zip(self.atoms, rows, strict=False):
            value[own] = new
        for value, new in zip(self.incidences, rows[len(self.atoms) :], strict=True):
            value[part.incidences] = new


class StagedEvaluation:
    """Evaluates a network on the parts of a hypergraph.

    Parameters
    ----------
    network
        A network in stages.
    arrangement
        The whole hypergraph.
    parts
        Its parts.
    """

    def __init__(self, network: StagedNetwork, arrangement: Arrangement, parts: list[Part]) -> None:
        self.network = network
        self.arrangement = arrangement
        self.parts = parts
        whole = arrangement.hypergraph
        self._n_incidences = whole.incidence_atom.shape[0]
        self._energies = whole.pair_vector.new_zeros(whole.numbers.shape[0])
        self._gradients = [torch.zeros_like(value) for value in differentiable(whole)]

    def energies(self) -> torch.Tensor:
        """Return the energy of each atom in network units, (n_atoms,)."""
        self._forward(self.network.n_stages)
        return self._energies

    def derivatives(self, scale: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the energies of atoms, and the derivatives of their sum times ``scale``.

        Returns
        -------
        energies
            (n_atoms,) in network units.
        derivatives
            By what :func:`differentiable` names, rows as in the hypergraph before it was arranged.
        """
        last = self.network.n_stages - 1
        kept = self._forward(last)
        outer: Features | None = None
        for k in range(last, -1, -1):
            outer = self._backward(k, kept.pop(), outer, scale)
        pairs, incidences = self.arrangement.pairs, self.arrangement.incidences
        out = []
        for gradient, order in zip(
            self._gradients, (pairs, pairs, incidences, incidences), strict=True
        ):
            out.append(torch.empty_like(gradient).index_copy_(0, order, gradient))
        return self._energies, out

    def _forward(self, n_stages: int) -> list[Features]:
        """Run stages without a graph; return the features before each of them and after."""
        whole = self.arrangement.hypergraph
        with torch.no_grad():
            kept = [Features(self.network.embed(whole.numbers, whole.charge), [])]
            for k in range(n_stages):
                after: Features | None = None
                for part in self.parts:
                    atoms, incidences = kept[-1].of(part)
                    geometry = self.network.geometry(part.hypergraph)
                    atoms, incidences, share = self.network.stage(
                        k, atoms, incidences, geometry, part.hypergraph
                    )
                    self._energies[part.atoms[: part.n_atoms]] += share
                    if after is None:
                        after = self._room(atoms, incidences)
                    after.put(part, atoms + incidences)
                assert after is not None
                kept.append(after)
        return kept

    def _room(self, atoms: list[torch.Tensor], incidences: list[torch.Tensor]) -> Features:
        """Return room for the features of all, like those of one part."""
        n_atoms = self.arrangement.hypergraph.numbers.shape[0]
        return Features(
            [value.new_empty((n_atoms, *value.shape[1:])) for value in atoms],
            [value.new_empty((self._n_incidences, *value.shape[1:])) for value in incidences],
        )

    def _backward(
        self, k: int, before: Features, outer: Features | None, scale: torch.Tensor
    ) -> Features:
        """Differentiate stage ``k``; return the derivatives by the features before it.

        ``outer`` are those by the features after it; None for the last stage, whose energies are
        not known yet.
        """
        inner = before.zeros()
        moving = k > 0  # what atoms are made of does not depend on positions
        for part in self.parts:
            atoms, incidences = before.of(part)
            graph = with_leaves(part.hypergraph)
            for value in incidences + (atoms if moving else []):
                value.requires_grad_(True)
            with torch.enable_grad():
                geometry = self.network.geometry(graph)
                new_atoms, new_incidences, share = self.network.stage(
                    k, atoms, incidences, geometry, graph
                )
            outputs, weights = [share], [scale.to(share.dtype).expand_as(share)]
            if outer is None:
                self._energies[part.atoms[: part.n_atoms]] += share.detach()
            else:
                outputs += new_atoms + new_incidences
                weights += outer.of_own(part)
            del new_atoms, new_incidences, geometry, share
            leaves = differentiable(graph)
            found = pullback(outputs, weights, leaves + incidences + (atoms if moving else []))
            self._add(part, found[: len(leaves)])
            found = found[len(leaves) :]
            for whole, gradient in zip(inner.incidences, found, strict=False):
                whole[part.incidences] = gradient
            for whole, gradient in zip(inner.atoms, found[len(incidences) :], strict=False):
                whole.index_add_(0, part.atoms, gradient)
        return inner

    def _add(self, part: Part, gradients: list[torch.Tensor]) -> None:
        """Add derivatives by vectors and weights of a part to those of the whole."""
        rows = (part.pairs, part.pairs, part.incidences, part.incidences)
        for whole, here, gradient in zip(self._gradients, rows, gradients, strict=True):
            whole[here] += gradient


def differentiable(hypergraph: Hypergraph) -> list[torch.Tensor]:
    """Return what depends on positions: vectors and weights of pairs, weights of incidences."""
    return [
        hypergraph.pair_vector,
        hypergraph.pair_weight,
        hypergraph.incidence_weight,
        hypergraph.incidence_absence,
    ]


def with_leaves(hypergraph: Hypergraph) -> Hypergraph:
    """Return a hypergraph by whose vectors and weights one can differentiate."""
    return Hypergraph(
        numbers=hypergraph.numbers,
        charge=hypergraph.charge,
        incidence_atom=hypergraph.incidence_atom,
        incidence_weight=hypergraph.incidence_weight.detach().requires_grad_(True),
        incidence_absence=hypergraph.incidence_absence.detach().requires_grad_(True),
        pair_source=hypergraph.pair_source,
        pair_incidence=hypergraph.pair_incidence,
        pair_vector=hypergraph.pair_vector.detach().requires_grad_(True),
        pair_weight=hypergraph.pair_weight.detach().requires_grad_(True),
    )
