"""The SE3Set network: a hypergraph becomes an energy for each atom.

Source: arXiv 2405.16511, with membership weights w (see :mod:`se3set_mlip.hypergraph`). In and out
are in network units; the potential adds scale and reference energies.

1. Distances, radial basis, spherical harmonics and their coupling matrices, once per pair.
2. Features: ``x_v`` and ``h_fv`` from the element; degree embeddings from directions.
3. Blocks of attention between atoms and incidences.
4. Head: linear, SiLU, linear on scalars; one energy per atom, over sqrt(average atoms).
"""

import torch
from e3nn import o3
from e3nn.math import normalize2mom

from se3set_mlip.hypergraph.hypergraph import Hypergraph
from se3set_mlip.model.attention import segment_sum
from se3set_mlip.model.block import Block, add
from se3set_mlip.model.config import ModelConfig
from se3set_mlip.model.linear import EquivariantLinear
from se3set_mlip.model.norm import EquivariantLayerNorm
from se3set_mlip.model.radial import RadialNetwork, make_radial_basis
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

    def forward(
        self,
        matrices: list[torch.Tensor],
        basis: torch.Tensor,
        pair_incidence: torch.Tensor,
        pair_weight: torch.Tensor,
        n_incidences: int,
    ) -> list[torch.Tensor]:
        """Return features ``[(n_incidences, 2l+1, mul)]``."""
        ones = torch.ones(basis.shape[0], 1, 1, dtype=basis.dtype, device=basis.device)
        product = self.product(self.constant([ones]), matrices, self.radial(basis))
        weight = (pair_weight * self.scale).view(-1, 1, 1)
        return [
            segment_sum(value * weight, pair_incidence, n_incidences)
            for value in self.project(product)
        ]


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

    def forward(
        self,
        h: list[torch.Tensor],
        incidence_atom: torch.Tensor,
        incidence_weight: torch.Tensor,
        n_atoms: int,
    ) -> list[torch.Tensor]:
        """Return features ``[(n_atoms, 2l+1, mul)]``."""
        ones = torch.ones(h[0].shape[0], 1, 1, dtype=h[0].dtype, device=h[0].device)
        product = self.product(self.constant([ones]), h)
        weight = (incidence_weight * self.scale).view(-1, 1, 1)
        return [
            segment_sum(value * weight, incidence_atom, n_atoms) for value in self.project(product)
        ]


class SE3Set(torch.nn.Module):
    """The network: :class:`Hypergraph` -> atomic energies in network units.

    Parameters
    ----------
    config
        Settings; see :class:`ModelConfig`.
    """

    element_index: torch.Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        irreps = o3.Irreps(config.irreps)
        irreps_final = o3.Irreps(config.irreps_final)
        joint_norm = config.norm == "joint"
        irreps_sh = o3.Irreps.spherical_harmonics(config.lmax)
        n_elements = len(config.elements)
        element_index = torch.full((119,), -1, dtype=torch.int64)
        element_index[list(config.elements)] = torch.arange(n_elements)
        self.register_buffer("element_index", element_index, persistent=False)

        self.harmonics = o3.SphericalHarmonics(irreps_sh, normalize=True, normalization="component")
        self.coupling = EdgeCoupling(irreps, irreps_sh, irreps)
        self.radial_basis = make_radial_basis(
            config.radial_basis,
            config.n_radial,
            config.radial_range_angstrom,
            envelope=config.radial_envelope,
        )
        one_hot = o3.Irreps([(n_elements, o3.Irrep("0e"))])
        self.atom_embedding = EquivariantLinear(one_hot, irreps)
        self.incidence_embedding = EquivariantLinear(one_hot, irreps)
        with torch.no_grad():  # a one-hot input has one non-zero entry: unit variance needs this
            self.atom_embedding.weight.mul_(n_elements**0.5)
            self.incidence_embedding.weight.mul_(n_elements**0.5)
        self.incidence_degree = IncidenceDegree(
            irreps,
            self.coupling,
            n_radial=config.n_radial,
            radial_hidden=config.radial_hidden,
            average_sources=config.average_sources,
        )
        self.atom_degree = AtomDegree(irreps, average_incidences=config.average_incidences)
        self.norm_atom = EquivariantLayerNorm(irreps, joint=joint_norm)
        self.norm_incidence = EquivariantLayerNorm(irreps, joint=joint_norm)
        self.blocks = torch.nn.ModuleList(
            Block(
                irreps=irreps,
                irreps_out=irreps if layer < config.n_layers - 1 else irreps_final,
                irreps_head=o3.Irreps(config.irreps_head),
                n_heads=config.n_heads,
                irreps_hidden=o3.Irreps(config.irreps_hidden),
                edge_coupling=self.coupling,
                n_radial=config.n_radial,
                radial_hidden=config.radial_hidden,
                joint_norm=joint_norm,
            )
            for layer in range(config.n_layers)
        )
        self.head_hidden = EquivariantLinear(irreps_final, irreps_final)
        self.head_out = EquivariantLinear(irreps_final, o3.Irreps("1x0e"))
        self.silu_scale = float(normalize2mom(torch.nn.functional.silu).cst)
        self.energy_scale = config.average_atoms**-0.5
        self.n_elements = n_elements

    def forward(self, hypergraph: Hypergraph) -> torch.Tensor:
        """Return the energy of each atom in network units, (n_atoms,)."""
        n_atoms = hypergraph.numbers.shape[0]
        n_incidences = hypergraph.incidence_atom.shape[0]
        vector = hypergraph.pair_vector

        # 1. Pairs
        distance = vector.pow(2).sum(dim=1).sqrt()
        basis = self.radial_basis(distance)
        matrices = self.coupling(self.harmonics(vector))

        # 2. Features
        one_hot = torch.nn.functional.one_hot(
            self.element_index[hypergraph.numbers], self.n_elements
        ).to(vector.dtype)
        one_hot = one_hot.unsqueeze(1)  # (n_atoms, 1, n_elements)
        h_stream = add(
            self.incidence_embedding([one_hot.index_select(0, hypergraph.incidence_atom)]),
            self.incidence_degree(
                matrices, basis, hypergraph.pair_incidence, hypergraph.pair_weight, n_incidences
            ),
        )
        h = self.norm_incidence(h_stream)
        x_stream = add(
            self.atom_embedding([one_hot]),
            self.atom_degree(h, hypergraph.incidence_atom, hypergraph.incidence_weight, n_atoms),
        )
        x = self.norm_atom(x_stream)

        # 3. Blocks
        for block in self.blocks:
            x_stream, x, h_stream, h = block(
                x_stream,
                x,
                h_stream,
                h,
                matrices,
                basis,
                hypergraph.pair_source,
                hypergraph.pair_incidence,
                hypergraph.pair_weight,
                hypergraph.incidence_absence,
                hypergraph.incidence_atom,
                hypergraph.incidence_weight,
            )

        # 4. Head
        hidden = torch.nn.functional.silu(self.head_hidden(x)[0]) * self.silu_scale
        return self.head_out([hidden])[0].view(n_atoms) * self.energy_scale
