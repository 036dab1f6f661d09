"""Graph attention between atoms and incidences, weighted by membership.

Source: the equivariant graph attention of Equiformer (arXiv 2206.11990, section 4.2) on the
hypergraph of SE3Set (arXiv 2405.16511), with smooth weights w. For every edge e into destination d:

1. message: linear maps of destination and source features, summed;
2. depthwise product with the edge attribute;
3. logit ``a_e``: scalars -> smooth leaky ReLU -> dot with a learned vector, per head;
4. value: linear -> gate -> second depthwise product -> linear, split into heads;
5. ``alpha_e = w_e exp(a_e) / (sum_e' w_e' exp(a_e') + prod_e' (1 - w_e'))``;
6. sum of ``alpha_e value_e`` over the edges of d, heads joined, linear.

The product in 5 is a null edge of logit zero: it takes over when the weights of all edges of d
vanish, so that no sum is ever zero, and is absent as soon as one weight is 1. With all weights 1
this is the published softmax.
"""

import torch
from e3nn import o3
from e3nn.math import normalize2mom

from se3set_mlip.hypergraph.hypergraph import Hypergraph
from se3set_mlip.model.linear import EquivariantLinear, Gate, layout, multiplicity
from se3set_mlip.model.tensor_product import EdgeCoupling, EdgeProduct, FeatureProduct


def segment_sum(values: torch.Tensor, segment: torch.Tensor, n_segments: int) -> torch.Tensor:
    """Sum rows of ``values`` (n, ...) by segment (n,) into (n_segments, ...)."""
    shape = list(values.shape)
    shape[0] = n_segments
    return torch.zeros(shape, dtype=values.dtype, device=values.device).index_add(
        0, segment, values
    )


def weighted_softmax(
    logits: torch.Tensor,
    weights: torch.Tensor,
    absence: torch.Tensor,
    segment: torch.Tensor,
) -> torch.Tensor:
    """Softmax over segments with weights, and a null edge that keeps the sum from vanishing.

    Parameters
    ----------
    logits
        (n, n_heads).
    weights
        Weight of each row in [0, 1], (n,).
    absence
        Weight of the null edge of each segment, (n_segments,): 1 if all rows have weight 0.
    segment
        Segment of each row, (n,).

    Returns
    -------
    torch.Tensor
        (n, n_heads); rows of one segment and its null edge add up to 1.
    """
    n_segments = absence.shape[0]
    # Any shift cancels; this one, the largest logit with its weight, keeps exp() in range.
    shifts = (logits + weights.clamp(min=1e-20).log().unsqueeze(1)).detach()
    index = segment.unsqueeze(1).expand_as(shifts)
    shift = absence.detach().clamp(min=1e-20).log().unsqueeze(1).repeat(1, logits.shape[1])
    shift = shift.scatter_reduce(0, index, shifts, "amax", include_self=True)
    terms = weights.unsqueeze(1) * torch.exp(logits - shift.index_select(0, segment))
    total = segment_sum(terms, segment, n_segments) + absence.unsqueeze(1) * torch.exp(-shift)
    return terms / total.index_select(0, segment)


def smooth_leaky_relu(x: torch.Tensor) -> torch.Tensor:
    """Return ``(1 + s)/2 x + (1 - s)/2 x (2 sigmoid(x) - 1)`` with slope s = 0.2 at -infinity."""
    return 0.6 * x + 0.4 * x * (2.0 * torch.sigmoid(x) - 1.0)


class AttentionHeads(torch.nn.Module):
    """Steps 3 to 6: logits, values and their weighted sum; shared by both directions.

    Parameters
    ----------
    irreps_message
        Irreps of the values between the two products.
    irreps_product
        Irreps that come out of the products.
    irreps_head, n_heads
        Irreps of one head, and how many.
    irreps_out
        Irreps of the result.
    """

    def __init__(
        self,
        irreps_message: o3.Irreps,
        irreps_product: o3.Irreps,
        irreps_head: o3.Irreps,
        n_heads: int,
        irreps_out: o3.Irreps,
    ) -> None:
        super().__init__()
        scalar = o3.Irrep("0e")
        n_alpha = multiplicity(irreps_head, scalar)
        irreps_heads = o3.Irreps([(mul * n_heads, ir) for mul, ir in irreps_head])
        self.n_heads = n_heads
        self.n_alpha = n_alpha
        self.to_logits = EquivariantLinear(irreps_product, o3.Irreps([(n_alpha * n_heads, scalar)]))
        self.activation_scale = float(normalize2mom(smooth_leaky_relu).cst)
        bound = (6.0 / (n_heads + n_alpha)) ** 0.5
        self.alpha_dot = torch.nn.Parameter(torch.empty(n_heads, n_alpha).uniform_(-bound, bound))
        self.gate = Gate(irreps_message)
        self.to_gate = EquivariantLinear(irreps_product, self.gate.irreps_in)
        self.to_value = EquivariantLinear(irreps_product, irreps_heads)
        self.project = EquivariantLinear(irreps_heads, irreps_out)

    def logits(self, product: list[torch.Tensor]) -> torch.Tensor:
        """Return attention logits (n, n_heads)."""
        return self.logits_of(self.to_logits([product[0]])[0])

    def logits_of(self, scalars: torch.Tensor) -> torch.Tensor:
        """Return attention logits (n, n_heads) of what ``to_logits`` gives."""
        active = smooth_leaky_relu(scalars) * self.activation_scale
        return (active.view(-1, self.n_heads, self.n_alpha) * self.alpha_dot).sum(dim=2)

    def gated(self, product: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the gated message, before the second product."""
        gated: list[torch.Tensor] = self.gate(self.to_gate(product))
        return gated

    def collect(
        self,
        product: list[torch.Tensor],
        alpha: torch.Tensor,
        destination: torch.Tensor,
        n_destinations: int,
    ) -> list[torch.Tensor]:
        """Sum ``alpha * value`` over the edges of each destination and project.

        Parameters
        ----------
        product
            Result of the second product, ``[(n, 2l+1, mul)]``.
        alpha
            Attention (n, n_heads).
        destination
            (n,) int64.
        n_destinations
            Number of destinations.
        """
        values = self.weighted(self.to_value(product), alpha)
        return self.joined(values, destination, n_destinations)

    def weighted(self, values: list[torch.Tensor], alpha: torch.Tensor) -> list[torch.Tensor]:
        """Return values ``[(n, 2l+1, mul)]`` times the attention (n, n_heads) of their heads."""
        out: list[torch.Tensor] = []
        for value in values:
            n, dim, mul = value.shape
            heads = value.view(n, dim, self.n_heads, mul // self.n_heads)
            out.append((heads * alpha.view(n, 1, self.n_heads, 1)).view(n, dim, mul))
        return out

    def joined(
        self, values: list[torch.Tensor], destination: torch.Tensor, n_destinations: int
    ) -> list[torch.Tensor]:
        """Sum weighted values by destination and project; see :meth:`collect`."""
        summed = [segment_sum(value, destination, n_destinations) for value in values]
        out: list[torch.Tensor] = self.project(summed)
        return out


class SourceAttention(torch.nn.Module):
    """Atoms to incidences (V2E): every source u of fragment f speaks to the incidence (f, v).

    The edge attribute is the direction ``Y(r_u - r_v)`` with radial weights. The plain way, for any
    irreps; :class:`~se3set_mlip.model.aligned_attention.AlignedSourceAttention` computes the same
    in frames aligned with the edges.

    Parameters
    ----------
    irreps
        Irreps of atom and incidence features.
    irreps_head, n_heads
        Irreps of one head, and how many.
    edge_coupling
        Gives the paths of the products.
    """

    def __init__(
        self, irreps: o3.Irreps, irreps_head: o3.Irreps, n_heads: int, edge_coupling: EdgeCoupling
    ) -> None:
        super().__init__()
        self.from_incidence = EquivariantLinear(irreps, irreps, bias=False)
        self.from_source = EquivariantLinear(irreps, irreps, bias=False)
        self.product = EdgeProduct(edge_coupling, internal_weights=False)
        self.second_product = EdgeProduct(edge_coupling, internal_weights=True)
        self.heads = AttentionHeads(
            irreps, layout(self.product.irreps_out), irreps_head, n_heads, irreps
        )

    def messages(
        self, x: list[torch.Tensor], h: list[torch.Tensor], hypergraph: Hypergraph
    ) -> list[torch.Tensor]:
        """Return the sum of source and incidence for each pair, ``[(n_pairs, 2l+1, mul)]``."""
        source = self.from_source(x)
        target = self.from_incidence(h)
        return [
            source[k].index_select(0, hypergraph.pair_source)
            + target[k].index_select(0, hypergraph.pair_incidence)
            for k in range(len(source))
        ]

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
            Coupling matrices of each pair.
        radial_weights
            Weights of each pair for paths and channels of the first product.
        hypergraph
            Pairs and their weights.
        """
        product = self.product(self.messages(x, h, hypergraph), edges, radial_weights)
        alpha = weighted_softmax(
            self.heads.logits(product),
            hypergraph.pair_weight,
            hypergraph.incidence_absence,
            hypergraph.pair_incidence,
        )
        second = self.second_product(self.heads.gated(product), edges, radial_weights)
        return self.heads.collect(second, alpha, hypergraph.pair_incidence, h[0].shape[0])


class IncidenceAttention(torch.nn.Module):
    """Incidences to atoms (E2V): every incidence (f, v) speaks to its atom v.

    The edge attribute is the feature ``h_fv`` itself, coupled with learned weights.

    Parameters
    ----------
    irreps
        Irreps of atom and incidence features.
    irreps_head, n_heads
        Irreps of one head, and how many.
    """

    def __init__(self, irreps: o3.Irreps, irreps_head: o3.Irreps, n_heads: int) -> None:
        super().__init__()
        self.from_atom = EquivariantLinear(irreps, irreps, bias=False)
        self.product = FeatureProduct(irreps, irreps, irreps)
        self.second_product = FeatureProduct(irreps, irreps, irreps)
        self.heads = AttentionHeads(
            irreps, layout(self.product.irreps_out), irreps_head, n_heads, irreps
        )

    def forward(
        self,
        x: list[torch.Tensor],
        h: list[torch.Tensor],
        hypergraph: Hypergraph,
    ) -> list[torch.Tensor]:
        """Return the update of the atom features ``[(n_atoms, 2l+1, mul)]``."""
        n_atoms = x[0].shape[0]
        incidence_atom, incidence_weight = hypergraph.incidence_atom, hypergraph.incidence_weight
        message = [part.index_select(0, incidence_atom) for part in self.from_atom(x)]
        product = self.product(message, h)
        # An atom always belongs to its own fragment with weight 1: there is no null edge.
        absence = torch.zeros(n_atoms, dtype=incidence_weight.dtype, device=incidence_weight.device)
        alpha = weighted_softmax(
            self.heads.logits(product), incidence_weight, absence, incidence_atom
        )
        second = self.second_product(self.heads.gated(product), h)
        return self.heads.collect(second, alpha, incidence_atom, n_atoms)
