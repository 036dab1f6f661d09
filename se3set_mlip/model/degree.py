"""Degree embeddings: the first features of incidences and atoms that know directions.

Source: arXiv 2405.16511. Both are depthwise products of a learned constant with directions (of
sources) or features (of incidences), summed. The constant is a scalar, so of the product only the
paths from scalars are not zero, and what stays of it is linear: the sums come first where that is
cheaper.
"""

import torch
from e3nn import o3

from se3set_mlip.hypergraph.hypergraph import Hypergraph
from se3set_mlip.model.attention import segment_sum
from se3set_mlip.model.linear import EquivariantLinear
from se3set_mlip.model.radial import RadialNetwork
from se3set_mlip.model.tensor_product import EdgeCoupling, EdgeProduct, FeatureProduct


class IncidenceDegree(torch.nn.Module):
    """Degree embedding of incidences: directions to the sources, weighted by a radial network.

    Parameters
    ----------
    irreps
        Irreps of the result.
    edge_coupling
        Gives the paths of the product.
    n_radial, radial_hidden
        Width of the radial basis and hidden widths of the radial network.
    average_sources
        Average number of sources; the sum is divided by its root.
    """

    def __init__(
        self,
        irreps: o3.Irreps,
        edge_coupling: EdgeCoupling,
        *,
        n_radial: int,
        radial_hidden: tuple[int, ...],
        average_sources: float,
    ) -> None:
        super().__init__()
        self.constant = EquivariantLinear(o3.Irreps("1x0e"), irreps)
        self.product = EdgeProduct(edge_coupling, internal_weights=False)
        self.radial = RadialNetwork(n_radial, radial_hidden, self.product.n_weights)
        self.project = EquivariantLinear(self.product.irreps_out, irreps)
        self.scale = average_sources**-0.5
        self.channels = irreps[0].mul
        # For each irrep of the result: the path from the constant (-1: none), its harmonics.
        paths = [path for path in edge_coupling.paths if path.i_in == 0]
        harmonics = edge_coupling.irreps_sh.slices()
        outputs = [path.ir_out for path in paths]
        self.path: list[int] = [outputs.index(ir) if ir in outputs else -1 for _, ir in irreps]
        self.first: list[int] = [
            harmonics[paths[p].i_edge].start if p >= 0 else 0 for p in self.path
        ]
        self.dims: list[int] = [ir.dim for _, ir in irreps]
        self.multiplicity: list[int] = [mul for mul, _ in irreps]
        self.n_weights = len(paths) * self.channels

    def forward(
        self, harmonics: torch.Tensor, basis: torch.Tensor, hypergraph: Hypergraph
    ) -> list[torch.Tensor]:
        """Return features ``[(n_incidences, 2l+1, mul)]``."""
        n_incidences = hypergraph.incidence_atom.shape[0]
        weights = self.radial(basis, self.n_weights)
        constant = self.constant.weight + self.constant.bias
        scale = (hypergraph.pair_weight * self.scale).unsqueeze(1)
        out: list[torch.Tensor] = []
        for o, path in enumerate(self.path):
            dim, mul = self.dims[o], self.multiplicity[o]
            if path < 0:
                out.append(basis.new_zeros(n_incidences, dim, mul))
            else:
                weight = weights[:, path * self.channels : (path + 1) * self.channels] * constant
                start = self.project.start[o]
                rows = self.project.weight[start : start + self.channels * mul]
                value = torch.matmul(weight, rows.view(self.channels, mul))
                if o == 0:
                    value = value + self.project.bias
                y = harmonics[:, self.first[o] : self.first[o] + dim] * scale
                product = y.unsqueeze(2) * value.unsqueeze(1)
                out.append(segment_sum(product, hypergraph.pair_incidence, n_incidences))
        return out


class AtomDegree(torch.nn.Module):
    """Degree embedding of atoms: the features of their incidences.

    Parameters
    ----------
    irreps
        Irreps of features and result.
    average_incidences
        Average number of incidences; the sum is divided by its root.
    """

    def __init__(self, irreps: o3.Irreps, *, average_incidences: float) -> None:
        super().__init__()
        self.constant = EquivariantLinear(o3.Irreps("1x0e"), irreps)
        self.product = FeatureProduct(irreps, irreps, irreps)
        self.project = EquivariantLinear(self.product.irreps_out, irreps)
        self.scale = average_incidences**-0.5
        self.channels = irreps[0].mul
        self.multiplicity: list[int] = [mul for mul, _ in irreps]

    def forward(self, h: list[torch.Tensor], hypergraph: Hypergraph) -> list[torch.Tensor]:
        """Return features ``[(n_atoms, 2l+1, mul)]``."""
        n_atoms = hypergraph.numbers.shape[0]
        weight = hypergraph.incidence_weight * self.scale
        constant = self.constant.weight + self.constant.bias
        out: list[torch.Tensor] = []
        start = 0
        for o, feature in enumerate(h):
            mul = self.multiplicity[o]
            total = segment_sum(feature * weight.view(-1, 1, 1), hypergraph.incidence_atom, n_atoms)
            # The path from the constant to this irrep is the o-th of all paths.
            size = self.channels * mul
            mix = self.product.weight[start : start + size].view(self.channels, mul)
            start += size
            first = self.project.start[o]
            rows = self.project.weight[first : first + size].view(self.channels, mul)
            value = torch.matmul(total, torch.matmul(mix.t() * constant, rows))
            if o == 0:
                count = segment_sum(weight, hypergraph.incidence_atom, n_atoms)
                value = value + count.view(-1, 1, 1) * self.project.bias
            out.append(value)
        return out
