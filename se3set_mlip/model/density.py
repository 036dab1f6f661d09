"""The density interaction: many-body terms from products at incidences and atoms, not from depth.

The heavy work sits on incidences and atoms, of which there are several times fewer than pairs. The
products follow the atomic cluster expansion as MACE uses it (arXiv 2206.07697), on the hypergraph
of SE3Set (arXiv 2405.16511). One layer, for atom features x_v, fragments f and their sources u:

1. pair:       ``p = R(r) Y(r_u - r_v) (W x_u)``, channel by channel;
2. incidence:  ``A_fv = sum_u p``, one linear map, then a gated update of what was gathered;
3. atom:       ``A_v = sum_f w(f, v) A_fv``; products ``A_v A_v`` and ``A_v A_v A_v``; their linear
               maps and an element-wise map of x_v are the new x_v;
4. read-out of an energy from the scalars of every layer.

Radial weights R vanish at the radial range with three derivatives, memberships w with theirs; there
is no softmax and no layer norm of features, so nothing divides by what may become small.
"""

from typing import NamedTuple

import torch
from e3nn import o3
from e3nn.math import normalize2mom

from se3set_mlip.hypergraph.hypergraph import Hypergraph
from se3set_mlip.model.attention import segment_sum
from se3set_mlip.model.block import FeedForward, Unchanged, add
from se3set_mlip.model.channel_product import ChannelProduct
from se3set_mlip.model.config import ModelConfig
from se3set_mlip.model.linear import EquivariantLinear
from se3set_mlip.model.radial import RadialNetwork, flat_envelope, make_radial_basis
from se3set_mlip.model.tensor_product import EdgeCoupling, EdgeProduct


class ElementLinear(torch.nn.Module):
    """Linear map of features with weights of its own for each element.

    Parameters
    ----------
    irreps_in, irreps_out
        Irreps in layout form.
    n_elements
        How many elements.
    """

    def __init__(self, irreps_in: o3.Irreps, irreps_out: o3.Irreps, n_elements: int) -> None:
        super().__init__()
        wide = o3.Irreps([(mul * n_elements, ir) for mul, ir in irreps_out])
        self.linear = EquivariantLinear(irreps_in, wide, bias=False)
        self.n_elements = n_elements

    def forward(self, x: list[torch.Tensor], element: torch.Tensor) -> list[torch.Tensor]:
        """Map ``[(n, 2l+1, mul_in)]`` with element indices (n,)."""
        out: list[torch.Tensor] = []
        for value in self.linear(x):
            n, dim, mul = value.shape
            parts = value.view(n, dim, self.n_elements, mul // self.n_elements)
            index = element.view(n, 1, 1, 1).expand(n, dim, 1, parts.shape[3])
            out.append(parts.gather(2, index).squeeze(2))
        return out


class PairGeometry(NamedTuple):
    """What all layers share of the pairs."""

    basis: torch.Tensor
    """Radial basis values, (n_pairs, n_basis)."""
    envelope: torch.Tensor
    """Radial envelope times the weight of the source, (n_pairs,)."""
    matrices: list[list[torch.Tensor]]
    """Coupling matrices of the first layer, and of those after it."""


class DensityLayer(torch.nn.Module):
    """One layer: steps 1 to 3 of the module's docstring.

    Parameters
    ----------
    irreps_in, irreps_out
        Irreps of the atom features before and after.
    irreps_density
        Irreps of the densities, all with the same multiplicity.
    edge_coupling
        Gives the paths of the product of x with directions.
    config
        Radial widths, averages, and whether fragments update what they gathered.
    """

    def __init__(
        self,
        irreps_in: o3.Irreps,
        irreps_out: o3.Irreps,
        irreps_density: o3.Irreps,
        *,
        edge_coupling: EdgeCoupling,
        config: ModelConfig,
    ) -> None:
        super().__init__()
        n_elements = len(config.elements)
        self.from_source = EquivariantLinear(irreps_in, irreps_in, bias=False)
        self.product = EdgeProduct(edge_coupling, internal_weights=False)
        self.radial = RadialNetwork(config.n_radial, config.radial_hidden, self.product.n_weights)
        self.gather = EquivariantLinear(self.product.irreps_out, irreps_density)
        self.update = (
            FeedForward(irreps_density, irreps_density, irreps_density)
            if config.fragment_update
            else Unchanged()
        )
        self.updates = config.fragment_update
        self.by_element = ElementLinear(irreps_density, irreps_density, n_elements)
        self.partner = EquivariantLinear(irreps_density, irreps_density, bias=False)
        self.square = ChannelProduct(irreps_density, irreps_density)
        self.square_linear = EquivariantLinear(self.square.irreps_out, irreps_density, bias=False)
        self.cube = ChannelProduct(irreps_density, irreps_out)
        self.out_first = EquivariantLinear(irreps_density, irreps_out)
        self.out_second = ElementLinear(irreps_density, irreps_out, n_elements)
        self.out_third = ElementLinear(self.cube.irreps_out, irreps_out, n_elements)
        self.residual = ElementLinear(irreps_in, irreps_out, n_elements)
        self.source_scale = config.average_sources**-0.5
        self.incidence_scale = config.average_incidences**-0.5

    def forward(
        self,
        x: list[torch.Tensor],
        element: torch.Tensor,
        matrices: list[torch.Tensor],
        basis: torch.Tensor,
        envelope: torch.Tensor,
        hypergraph: Hypergraph,
    ) -> list[torch.Tensor]:
        """Return the new atom features ``[(n_atoms, 2l+1, mul)]``.

        ``x`` may have rows of further atoms after the first ``n_atoms``, as sources.
        """
        n_atoms = hypergraph.numbers.shape[0]
        n_incidences = hypergraph.incidence_atom.shape[0]

        # 1. Pairs
        source = self.from_source(x)
        message = [part.index_select(0, hypergraph.pair_source) for part in source]
        weights = self.radial(basis) * (envelope * self.source_scale).unsqueeze(1)
        products = self.product(message, matrices, weights)

        # 2. Incidences
        density = self.gather(
            [segment_sum(part, hypergraph.pair_incidence, n_incidences) for part in products]
        )
        if self.updates:
            density = add(density, self.update(density))

        # 3. Atoms
        w = (hypergraph.incidence_weight * self.incidence_scale).view(-1, 1, 1)
        total = self.by_element(
            [segment_sum(part * w, hypergraph.incidence_atom, n_atoms) for part in density], element
        )
        partner = self.partner(total)
        square = self.square_linear(self.square(total, partner))
        out = add(self.out_first(total), self.out_second(square, element))
        out = add(out, self.out_third(self.cube(square, partner), element))
        out = add(out, self.residual([part[:n_atoms] for part in x], element))
        return [0.5 * part for part in out]  # four terms of unit variance


class DensityNetwork(torch.nn.Module):
    """The network with the density interaction: hypergraph -> atomic energies in network units.

    Parameters
    ----------
    config
        Settings; see :class:`ModelConfig`.
    """

    element_index: torch.Tensor
    charge_embedding: torch.Tensor | None
    """By powers q, q^2 of the fragment's charge and by element, (2, n_elements, mul)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        irreps, irreps_final = o3.Irreps(config.irreps), o3.Irreps(config.irreps_final)
        irreps_density = o3.Irreps(config.irreps_density)
        irreps_sh = o3.Irreps.spherical_harmonics(config.lmax)
        scalars = o3.Irreps([(irreps[0].mul, o3.Irrep("0e"))])
        n_elements = len(config.elements)
        element_index = torch.full((119,), -1, dtype=torch.int64)
        element_index[list(config.elements)] = torch.arange(n_elements)
        self.register_buffer("element_index", element_index, persistent=False)

        self.harmonics = o3.SphericalHarmonics(irreps_sh, normalize=True, normalization="component")
        self.radial_range = config.radial_range_angstrom
        self.radial_basis = make_radial_basis(
            config.radial_basis,
            config.n_radial,
            config.radial_range_angstrom,
            envelope=config.radial_envelope,
        )
        self.embedding = torch.nn.Parameter(torch.randn(n_elements, scalars.dim))
        of_charge = torch.zeros(2, n_elements, scalars.dim)
        self.register_parameter(
            "charge_embedding", torch.nn.Parameter(of_charge) if config.fragment_charge else None
        )
        couplings = [
            EdgeCoupling(irreps_in, irreps_sh, irreps_density)
            for irreps_in in ([scalars, irreps] if config.n_layers > 1 else [scalars])
        ]
        self.couplings = torch.nn.ModuleList(couplings)
        layers = []
        read_outs = []
        for k in range(config.n_layers):
            irreps_out = irreps_final if k == config.n_layers - 1 else irreps
            layers.append(
                DensityLayer(
                    scalars if k == 0 else irreps,
                    irreps_out,
                    irreps_density,
                    edge_coupling=couplings[min(k, 1)],
                    config=config,
                )
            )
            if k < config.n_layers - 1:
                read_outs.append(EquivariantLinear(scalars, o3.Irreps("1x0e")))
        self.layers = torch.nn.ModuleList(layers)
        self.read_outs = torch.nn.ModuleList(read_outs)
        self.head_hidden = EquivariantLinear(irreps_final, irreps_final)
        self.head_out = EquivariantLinear(irreps_final, o3.Irreps("1x0e"))
        self.silu_scale = float(normalize2mom(torch.nn.functional.silu).cst)
        self.energy_scale = config.average_atoms**-0.5

    @property
    def n_stages(self) -> int:
        """Number of stages; each needs the atom features of the one before, of all its sources."""
        return len(self.layers)

    def embed(self, numbers: torch.Tensor, charge: torch.Tensor) -> list[torch.Tensor]:
        """Return the initial features of atoms, ``[(n_atoms, 1, mul)]``."""
        element = self.element_index[numbers]
        x = self.embedding[element]
        of_charge = self.charge_embedding  # TorchScript narrows the types of local variables only
        if of_charge is not None:
            q = charge.to(x.dtype).unsqueeze(1)
            x = x + q * of_charge[0][element] + q * q * of_charge[1][element]
        return [x.unsqueeze(1)]

    def geometry(self, hypergraph: Hypergraph) -> PairGeometry:
        """Return what all stages share."""
        vector = hypergraph.pair_vector
        distance = vector.pow(2).sum(dim=1).sqrt()
        harmonics = self.harmonics(vector)
        matrices: list[list[torch.Tensor]] = []
        for coupling_module in self.couplings:
            matrices.append(coupling_module(harmonics))  # noqa: PERF401 - TorchScript
        return PairGeometry(
            basis=self.radial_basis(distance),
            envelope=flat_envelope(distance / self.radial_range) * hypergraph.pair_weight,
            matrices=matrices,
        )

    @torch.jit.unused
    def stage(
        self,
        k: int,
        atoms: list[torch.Tensor],
        incidences: list[torch.Tensor],
        geometry: PairGeometry,
        hypergraph: Hypergraph,
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
        """Run one stage alone, on a part of a system; see :class:`.stages.StagedNetwork`."""
        element = self.element_index[hypergraph.numbers]
        layer, matrices = self.layers[k], geometry.matrices[min(k, 1)]
        x = layer(atoms, element, matrices, geometry.basis, geometry.envelope, hypergraph)
        energy = self._head(x) if k == len(self.layers) - 1 else self.read_outs[k]([x[0]])[0]
        return x, incidences, energy.view(-1) * self.energy_scale

    def _head(self, x: list[torch.Tensor]) -> torch.Tensor:
        """Return the last layer's share of the energies, (n_atoms, 1, 1)."""
        hidden = torch.nn.functional.silu(self.head_hidden(x)[0]) * self.silu_scale
        energy: torch.Tensor = self.head_out([hidden])[0]
        return energy

    def forward(self, hypergraph: Hypergraph) -> torch.Tensor:
        """Return the energy of each atom in network units, (n_atoms,)."""
        geometry = self.geometry(hypergraph)
        element = self.element_index[hypergraph.numbers]
        x = self.embed(hypergraph.numbers, hypergraph.charge)
        features: list[list[torch.Tensor]] = []
        for k, layer in enumerate(self.layers):
            matrices = geometry.matrices[min(k, 1)]
            x = layer(x, element, matrices, geometry.basis, geometry.envelope, hypergraph)
            features.append(x)
        energy = self._head(x)
        for k, read_out in enumerate(self.read_outs):
            energy = energy + read_out([features[k][0]])[0]
        return energy.view(-1) * self.energy_scale
