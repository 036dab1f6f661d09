"""One SE3Set block: atoms speak to incidences, incidences speak to atoms.

Pre-norm residual streams, one for the incidence features h and one for the atom features x; a block
takes the streams and their normalised copies and returns the same (arXiv 2405.16511)::

    h += V2E(x, h);  h += feed_forward(norm(h));  x += E2V(x, h);  x += feed_forward(norm(x))
"""

import torch
from e3nn import o3

from se3set_mlip.hypergraph.hypergraph import Hypergraph
from se3set_mlip.model.aligned_attention import AlignedSourceAttention
from se3set_mlip.model.attention import IncidenceAttention, SourceAttention
from se3set_mlip.model.linear import EquivariantLinear, Gate
from se3set_mlip.model.norm import EquivariantLayerNorm
from se3set_mlip.model.radial import RadialNetwork
from se3set_mlip.model.tensor_product import EdgeCoupling


def add(x: list[torch.Tensor], y: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return the sum of two features."""
    return [a + b for a, b in zip(x, y)]  # noqa: B905 - TorchScript knows no strict


class Unchanged(torch.nn.Module):
    """Identity on features."""

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return ``x``."""
        return x


class FeedForward(torch.nn.Module):
    """Linear, gate, linear on features.

    Parameters
    ----------
    irreps_in, irreps_hidden, irreps_out
        Irreps before, between and after.
    """

    def __init__(
        self, irreps_in: o3.Irreps, irreps_hidden: o3.Irreps, irreps_out: o3.Irreps
    ) -> None:
        super().__init__()
        self.gate = Gate(irreps_hidden)
        self.expand = EquivariantLinear(irreps_in, self.gate.irreps_in)
        self.contract = EquivariantLinear(irreps_hidden, irreps_out)

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        """Map features ``[(n, 2l+1, mul)]``."""
        out: list[torch.Tensor] = self.contract(self.gate(self.expand(x)))
        return out


class Block(torch.nn.Module):
    """One block of the network.

    Parameters
    ----------
    irreps
        Irreps of atom and incidence features.
    irreps_out
        Irreps of the atom features that leave the block.
    irreps_head, n_heads
        Irreps of one attention head, and how many.
    irreps_hidden
        Irreps inside the feed-forward networks.
    edge_coupling
        Gives the paths of the products with directions.
    n_radial, radial_hidden
        Width of the radial basis and hidden widths of the radial network.
    joint_norm
        Whether layer norms are joint, see :mod:`.norm`.
    aligned
        Whether attention works in frames aligned with the edges, see :mod:`.aligned_attention`.
    """

    def __init__(
        self,
        *,
        irreps: o3.Irreps,
        irreps_out: o3.Irreps,
        irreps_head: o3.Irreps,
        n_heads: int,
        irreps_hidden: o3.Irreps,
        edge_coupling: EdgeCoupling,
        n_radial: int,
        radial_hidden: tuple[int, ...],
        joint_norm: bool,
        aligned: bool,
    ) -> None:
        super().__init__()
        kind = AlignedSourceAttention if aligned else SourceAttention
        self.source_attention = kind(irreps, irreps_head, n_heads, edge_coupling)
        self.radial = RadialNetwork(
            n_radial, radial_hidden, self.source_attention.product.n_weights
        )
        self.norm_incidence = EquivariantLayerNorm(irreps, joint=joint_norm)
        self.feed_forward_incidence = FeedForward(irreps, irreps_hidden, irreps)
        self.norm_incidence_out = EquivariantLayerNorm(irreps, joint=joint_norm)
        self.incidence_attention = IncidenceAttention(irreps, irreps_head, n_heads)
        self.norm_atom = EquivariantLayerNorm(irreps, joint=joint_norm)
        self.feed_forward_atom = FeedForward(irreps, irreps_hidden, irreps_out)
        self.norm_atom_out = EquivariantLayerNorm(irreps_out, joint=joint_norm)
        self.shortcut = (
            Unchanged() if irreps == irreps_out else EquivariantLinear(irreps, irreps_out)
        )

    def forward(
        self,
        x_stream: list[torch.Tensor],
        x: list[torch.Tensor],
        h_stream: list[torch.Tensor],
        h: list[torch.Tensor],
        edges: list[torch.Tensor],
        basis: torch.Tensor,
        hypergraph: Hypergraph,
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
        """Return the updated streams and their normalised copies, in the order of the arguments.

        ``x`` may have rows of further atoms, as sources, after those of ``x_stream``.
        """
        n_atoms = x_stream[0].shape[0]
        update = self.source_attention(x, h, edges, self.radial(basis), hypergraph)
        h_stream = add(h_stream, update)
        h_stream = add(h_stream, self.feed_forward_incidence(self.norm_incidence(h_stream)))
        h = self.norm_incidence_out(h_stream)

        x = [part[:n_atoms] for part in x]
        x_stream = add(x_stream, self.incidence_attention(x, h, hypergraph))
        x = self.norm_atom(x_stream)
        update = self.feed_forward_atom(x)
        x_stream = add(self.shortcut(x_stream), update)
        x = self.norm_atom_out(x_stream)
        return x_stream, x, h_stream, h
