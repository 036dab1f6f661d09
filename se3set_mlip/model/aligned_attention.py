"""Attention of atoms to incidences in frames aligned with the edges: the fast way.

The same function, with the same weights, as the plain
:class:`~se3set_mlip.model.attention.SourceAttention`. Features are rotated into the frame of each
pair, everything up to the attention's weighted values happens there, and only these are rotated
back: gates and norms of channels do not notice a rotation.
"""

import torch
from e3nn import o3

from se3set_mlip.hypergraph.hypergraph import Hypergraph
from se3set_mlip.model.aligned import AlignedMap, AlignedProduct, couples_equal_m
from se3set_mlip.model.attention import SourceAttention, weighted_softmax
from se3set_mlip.model.tensor_product import EdgeCoupling


def can_align(edge_coupling: EdgeCoupling, irreps_head: o3.Irreps) -> bool:
    """Return whether attention over these products can be computed in aligned frames.

    Parameters
    ----------
    edge_coupling
        Gives irreps and paths; all must couple equal m.
    irreps_head
        Irreps of one head; all irreps of the features must be among them.
    """
    irreps_in, irreps_sh = edge_coupling.irreps_in, edge_coupling.irreps_sh
    heads = [ir for _, ir in irreps_head]
    same = heads == [ir for _, ir in irreps_in]
    return same and couples_equal_m(edge_coupling.paths, irreps_in, irreps_sh)


class AlignedSourceAttention(SourceAttention):
    """Atoms to incidences (V2E) in aligned frames; weights as its base class.

    Parameters
    ----------
    irreps
        Irreps of atom and incidence features.
    irreps_head, n_heads
        Irreps of one head, and how many.
    edge_coupling
        Gives the paths of the products; see :func:`can_align`.
    """

    def __init__(
        self, irreps: o3.Irreps, irreps_head: o3.Irreps, n_heads: int, edge_coupling: EdgeCoupling
    ) -> None:
        super().__init__(irreps, irreps_head, n_heads, edge_coupling)
        self.aligned_product = AlignedProduct(edge_coupling)
        self.aligned_map = AlignedMap(edge_coupling)
        self.degree: list[int] = [ir.l for _, ir in irreps]
        self.lmax = max(self.degree)
        # For each |m|: the channels of the heads by irrep, and how many irreps have none.
        self.widths_m: list[list[int]] = [
            [mul * n_heads for mul, ir in irreps_head if ir.l >= m] for m in range(self.lmax + 1)
        ]
        self.skipped: list[int] = [len(self.degree) - len(widths) for widths in self.widths_m]
        self.n_logits = self.heads.n_alpha * n_heads

    def gated_by_m(
        self, mapped: list[list[torch.Tensor]], scalars: torch.Tensor
    ) -> list[torch.Tensor]:
        """Return the gated message by |m|, ``[(n, 1, channels), (n, 2, channels), ...]``.

        Parameters
        ----------
        mapped
            By irrep and |m|; the scalars among them are not used.
        scalars
            What the gate takes as scalars, (n, 1, scalars and gates).
        """
        gate = self.heads.gate
        active, gates = scalars.split([gate.n_scalars, scalars.shape[2] - gate.n_scalars], dim=2)
        active = torch.nn.functional.silu(active) * gate.scale_scalar
        gates = torch.sigmoid(gates) * gate.scale_gate
        out: list[torch.Tensor] = []
        for m in range(self.lmax + 1):
            parts: list[torch.Tensor] = []
            for o, degree in enumerate(self.degree):
                if degree >= m and o > 0:
                    parts.append(mapped[o][m])
            if len(parts) == 0:  # scalars alone
                out.append(active)
            else:
                part = torch.cat(parts, dim=2)
                part = part * gates[:, :, gates.shape[2] - part.shape[2] :]
                out.append(torch.cat([active, part], dim=2) if m == 0 else part)
        return out

    def by_irrep(self, by_m: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return aligned values of the heads ``[(n, 2l+1, mul)]`` from values by |m|."""
        parts: list[list[torch.Tensor]] = []
        for m, value in enumerate(by_m):
            parts.append(value.split(self.widths_m[m], dim=2))
        out: list[torch.Tensor] = []
        for o, degree in enumerate(self.degree):
            pieces: list[torch.Tensor] = []
            for m in range(degree + 1):
                pieces.append(parts[m][o - self.skipped[m]])  # noqa: PERF401 - TorchScript
            out.append(torch.cat(pieces, dim=1) if degree > 0 else pieces[0])
        return out

    def forward(
        self,
        x: list[torch.Tensor],
        h: list[torch.Tensor],
        edges: list[torch.Tensor],
        radial_weights: torch.Tensor,
        hypergraph: Hypergraph,
    ) -> list[torch.Tensor]:
        """Return the update of the incidence features ``[(n_incidences, 2l+1, mul)]``.

        Parameters
        ----------
        x, h
            Features of atoms and of incidences.
        edges
            Rotations of each pair into its frame, by degree; see :mod:`.frames`.
        radial_weights
            Weights of each pair for paths and channels of the first product.
        hypergraph
            Pairs and their weights.
        """
        aligned: list[torch.Tensor] = []
        for k, message in enumerate(self.messages(x, h, hypergraph)):
            degree = self.degree[k]
            aligned.append(torch.bmm(edges[degree], message) if degree > 0 else message)

        # First product, then logits and gate in one map: both act on the scalars.
        product = self.aligned_product(aligned, radial_weights)
        weights = self.heads.to_gate.matrices()
        weights[0] = torch.cat([self.heads.to_logits.matrices()[0], weights[0]], dim=1)
        mapped = self.aligned_product.linear(product, weights)
        bias = torch.cat([self.heads.to_logits.bias, self.heads.to_gate.bias])
        scalars = mapped[0][0] + bias
        n_gate = scalars.shape[2] - self.n_logits
        logits, scalars = scalars.split([self.n_logits, n_gate], dim=2)
        alpha = weighted_softmax(
            self.heads.logits_of(logits.squeeze(1)),
            hypergraph.pair_weight,
            hypergraph.incidence_absence,
            hypergraph.pair_incidence,
        )

        # Second product and values: one matrix for each |m|.
        gated = self.gated_by_m(mapped, scalars)
        matrices = self.aligned_map.matrices(
            self.second_product.weight, self.heads.to_value.matrices()
        )
        values = self.by_irrep([torch.matmul(part, matrices[m]) for m, part in enumerate(gated)])
        values[0] = values[0] + self.heads.to_value.bias
        weighted: list[torch.Tensor] = []
        for k, value in enumerate(self.heads.weighted(values, alpha)):
            degree = self.degree[k]
            back = torch.bmm(edges[degree].transpose(1, 2), value) if degree > 0 else value
            weighted.append(back)
        return self.heads.joined(weighted, hypergraph.pair_incidence, h[0].shape[0])
