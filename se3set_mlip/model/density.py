"""The density interaction: many-body terms from products at incidences and atoms, not from depth.

The heavy work sits on incidences and atoms, of which there are several times fewer than pairs. The
products follow the atomic cluster expansion as MACE uses it (arXiv 2206.07697), on the hypergraph
of SE3Set (arXiv 2405.16511). One layer, for atom features x_v, fragments f and their sources u:

1. pair:       ``p = R(r) Y(r_u - r_v) (W x_u)``, channel by channel;
2. incidence:  ``A_fv = sum_u p``, one linear map, then a gated update of what was gathered;
3. atom:       ``A_v = sum_f w(f, v) A_fv``; products ``A_v A_v`` and ``A_v A_v A_v``; their linear
               maps and an element-wise map of x_v are the new x_v;
4. read-out of an energy from the scalars of every layer.

Without an update (the named sizes have none) steps 1 to 3 are linear up to A_v: pairs are then
summed to atoms at once, with weights w(f, v), and the linear map comes after the sum.

Radial weights R vanish at the range of pairs with three derivatives, memberships w with theirs;
there is no softmax and no layer norm of features, so nothing divides by what may become small.
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
from se3set_mlip.model.element_linear import ElementLinear, ElementOrder, element_order
from se3set_mlip.model.linear import EquivariantLinear
from se3set_mlip.model.pair_sum import PAIRS_IN_ROW, PairRows, PairSum, pair_rows
from se3set_mlip.model.radial import RadialNetwork, flat_envelope, make_radial_basis


class PairGeometry(NamedTuple):
    """What all layers share of the pairs, which lie in rows, see :mod:`.pair_sum`."""

    rows: PairRows
    """Who owns the rows: incidences where fragments update what they gathered, else atoms."""
    source: torch.Tensor
    """Source atom of each place, (n_places,) int64."""
    basis: torch.Tensor
    """Radial basis values, (n_places, n_basis)."""
    harmonics: torch.Tensor
    """Spherical harmonics of the directions, times the radial envelope and weights, of the source
    and, if atoms own, of the incidence, (n_places, (lmax + 1)^2)."""
    membership: torch.Tensor
    """Weights w(f, v) summed over the incidences of each atom, (n_atoms,)."""
    atoms: ElementOrder
    """The atoms by element."""


class DensityLayer(torch.nn.Module):
    """One layer: steps 1 to 3 of the module's docstring.

    Parameters
    ----------
    irreps_in, irreps_out
        Irreps of the atom features before and after.
    irreps_density
        Irreps of the densities, all with the same multiplicity.
    irreps_sh
        Irreps of the harmonics of directions.
    config
        Radial widths, averages, and whether fragments update what they gathered.
    """

    def __init__(
        self,
        irreps_in: o3.Irreps,
        irreps_out: o3.Irreps,
        irreps_density: o3.Irreps,
        *,
        irreps_sh: o3.Irreps,
        config: ModelConfig,
    ) -> None:
        super().__init__()
        n_elements = len(config.elements)
        self.from_source = EquivariantLinear(irreps_in, irreps_in, bias=False)
        self.product = PairSum(irreps_in, irreps_sh, irreps_density)
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
        self.incidence_scale = config.average_incidences**-0.5

    def forward(
        self,
        x: list[torch.Tensor],
        geometry: PairGeometry,
        hypergraph: Hypergraph,
    ) -> list[torch.Tensor]:
        """Return the new atom features ``[(n_atoms, 2l+1, mul)]``.

        ``x`` may have rows of further atoms after the first ``n_atoms``, as sources.
        """
        order, place, element, counts = geometry.atoms
        density = [part[order] for part in self._gathered(x, geometry, hypergraph)]
        total = self.by_element(density, element, counts)
        partner = self.partner(total)
        square = self.square_linear(self.square(total, partner))
        out = add(self.out_first(total), self.out_second(square, element, counts))
        out = add(out, self.out_third(self.cube(square, partner), element, counts))
        out = add(out, self.residual([part[order] for part in x], element, counts))
        return [0.5 * part[place] for part in out]  # four terms of unit variance

    def _gathered(
        self, x: list[torch.Tensor], geometry: PairGeometry, hypergraph: Hypergraph
    ) -> list[torch.Tensor]:
        """Return the densities A_v of atoms ``[(n_atoms, 2l+1, mul)]``: steps 1, 2, 3 up to A_v."""
        n_atoms = hypergraph.numbers.shape[0]
        source = self.from_source(x)
        message = [part.index_select(0, geometry.source) for part in source]
        weights = self.radial(geometry.basis)
        n_owners = hypergraph.incidence_atom.shape[0] if self.updates else n_atoms
        density = self.product(message, geometry.harmonics, weights, geometry.rows, n_owners)
        if not self.updates:  # the bias once for each incidence, weighted
            return self.gather.with_bias_times(density, geometry.membership * self.incidence_scale)
        density = self.gather(density)
        density = add(density, self.update(density))
        w = (hypergraph.incidence_weight * self.incidence_scale).view(-1, 1, 1)
        return [segment_sum(part * w, hypergraph.incidence_atom, n_atoms) for part in density]


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
        self.n_elements = n_elements

        self.harmonics = o3.SphericalHarmonics(irreps_sh, normalize=True, normalization="component")
        pair_range = config.pair_range_angstrom
        self.pair_range = config.radial_range_angstrom if pair_range is None else pair_range
        self.updates = config.fragment_update
        self.row_length = PAIRS_IN_ROW
        self.pair_scale = config.average_sources**-0.5
        if not self.updates:
            self.pair_scale *= config.average_incidences**-0.5
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
        layers = []
        read_outs = []
        for k in range(config.n_layers):
            irreps_out = irreps_final if k == config.n_layers - 1 else irreps
            layers.append(
                DensityLayer(
                    scalars if k == 0 else irreps,
                    irreps_out,
                    irreps_density,
                    irreps_sh=irreps_sh,
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
        n_atoms, n_incidences = hypergraph.numbers.shape[0], hypergraph.incidence_atom.shape[0]
        n_pairs = hypergraph.pair_source.shape[0]
        weight, owner, n_owners = hypergraph.pair_weight, hypergraph.pair_incidence, n_incidences
        if not self.updates:
            weight = weight * hypergraph.incidence_weight.index_select(0, owner)
            owner, n_owners = hypergraph.incidence_atom.index_select(0, owner), n_atoms
        rows = pair_rows(owner, n_owners, self.row_length)
        # One pair more, of weight 0 and of a length at which all is finite, for free places.
        free = hypergraph.pair_vector.new_zeros(1, 3) + self.pair_range
        vector = torch.cat([hypergraph.pair_vector, free]).index_select(0, rows.pair)
        weight = torch.cat([weight, weight.new_zeros(1)]).index_select(0, rows.pair)
        distance = vector.pow(2).sum(dim=1).sqrt()
        envelope = flat_envelope(distance / self.pair_range) * weight * self.pair_scale
        membership = segment_sum(hypergraph.incidence_weight, hypergraph.incidence_atom, n_atoms)
        return PairGeometry(
            rows=rows,
            source=hypergraph.pair_source[rows.pair.clamp(max=max(n_pairs - 1, 0))],
            basis=self.radial_basis(distance),
            harmonics=self.harmonics(vector) * envelope.unsqueeze(1),
            membership=membership,
            atoms=element_order(self.element_index[hypergraph.numbers], self.n_elements),
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
        x = self.layers[k](atoms, geometry, hypergraph)
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
        x = self.embed(hypergraph.numbers, hypergraph.charge)
        features: list[list[torch.Tensor]] = []
        for layer in self.layers:
            x = layer(x, geometry, hypergraph)
            features.append(x)
        energy = self._head(x)
        for k, read_out in enumerate(self.read_outs):
            energy = energy + read_out([features[k][0]])[0]
        return energy.view(-1) * self.energy_scale
