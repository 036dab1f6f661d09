"""The SE3Set network: a hypergraph becomes an energy for each atom.

Source: arXiv 2405.16511, with membership weights w (see :mod:`se3set_mlip.hypergraph`). In and out
are in network units; the potential adds scale and reference energies.

1. Distances, radial basis, spherical harmonics and their coupling matrices, once per pair.
2. Features: ``x_v`` and ``h_fv`` from the element; degree embeddings from directions.
3. Blocks of attention between atoms and incidences.
4. Head: linear, SiLU, linear on scalars; one energy per atom, over sqrt(average atoms).
"""

from typing import NamedTuple

import torch
from e3nn import o3
from e3nn.math import normalize2mom

from se3set_mlip.hypergraph.hypergraph import Hypergraph
from se3set_mlip.model.aligned_attention import can_align
from se3set_mlip.model.block import Block, add
from se3set_mlip.model.config import ModelConfig
from se3set_mlip.model.degree import AtomDegree, IncidenceDegree
from se3set_mlip.model.frames import EdgeFrames
from se3set_mlip.model.linear import EquivariantLinear
from se3set_mlip.model.norm import EquivariantLayerNorm
from se3set_mlip.model.radial import make_radial_basis
from se3set_mlip.model.tensor_product import EdgeCoupling


class PairGeometry(NamedTuple):
    """What all blocks share of the pairs."""

    basis: torch.Tensor
    """Radial basis values, (n_pairs, n_basis)."""
    harmonics: torch.Tensor
    """Spherical harmonics of the directions, (n_pairs, (lmax + 1)^2)."""
    edges: list[torch.Tensor]
    """Rotations into aligned frames by degree, or coupling matrices by input irrep."""


class SE3Set(torch.nn.Module):
    """The network: :class:`Hypergraph` -> atomic energies in network units.

    Parameters
    ----------
    config
        Settings; see :class:`ModelConfig`.
    aligned
        Whether attention works in frames aligned with the edges where the irreps allow it (the
        same function, faster); else always the plain way.
    """

    element_index: torch.Tensor

    def __init__(self, config: ModelConfig, *, aligned: bool = True) -> None:
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
        self.aligned = aligned and can_align(self.coupling, o3.Irreps(config.irreps_head))
        self.frames = EdgeFrames(irreps.lmax if self.aligned else 0)
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
                aligned=self.aligned,
            )
            for layer in range(config.n_layers)
        )
        self.head_hidden = EquivariantLinear(irreps_final, irreps_final)
        self.head_out = EquivariantLinear(irreps_final, o3.Irreps("1x0e"))
        self.silu_scale = float(normalize2mom(torch.nn.functional.silu).cst)
        self.energy_scale = config.average_atoms**-0.5
        self.n_elements = n_elements

    @property
    def n_stages(self) -> int:
        """Number of stages: the embedding, then one for each block."""
        return len(self.blocks) + 1

    def embed(
        self,
        numbers: torch.Tensor,
        charge: torch.Tensor,  # noqa: ARG002
    ) -> list[torch.Tensor]:
        """Return one-hot elements, ``[(n_atoms, 1, n_elements)]``; charges have no effect."""
        element = self.element_index[numbers]
        one_hot = torch.nn.functional.one_hot(element, self.n_elements)
        return [one_hot.to(self.atom_embedding.weight.dtype).unsqueeze(1)]

    def geometry(self, hypergraph: Hypergraph) -> PairGeometry:
        """Return what all blocks share of the pairs."""
        vector = hypergraph.pair_vector
        distance = vector.pow(2).sum(dim=1).sqrt()
        harmonics = self.harmonics(vector)
        edges = self.frames(vector, distance) if self.aligned else self.coupling(harmonics)
        return PairGeometry(basis=self.radial_basis(distance), harmonics=harmonics, edges=edges)

    def _streams(
        self, one_hot: list[torch.Tensor], geometry: PairGeometry, hypergraph: Hypergraph
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return the first features of atoms and of incidences (step 2)."""
        h = add(
            self.incidence_embedding([one_hot[0].index_select(0, hypergraph.incidence_atom)]),
            self.incidence_degree(geometry.harmonics, geometry.basis, hypergraph),
        )
        degree = self.atom_degree(self.norm_incidence(h), hypergraph)
        return add(self.atom_embedding(one_hot), degree), h

    def _head(self, x: list[torch.Tensor]) -> torch.Tensor:
        """Return atomic energies (n_atoms,) from the last features (step 4)."""
        hidden = torch.nn.functional.silu(self.head_hidden(x)[0]) * self.silu_scale
        return self.head_out([hidden])[0].view(-1) * self.energy_scale

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
        n_atoms = hypergraph.numbers.shape[0]
        energy = geometry.basis.new_zeros(n_atoms)
        atoms_here = [part[:n_atoms] for part in atoms]
        if k == 0:
            x_stream, h_stream = self._streams(atoms_here, geometry, hypergraph)
            return x_stream, h_stream, energy
        x, h = atoms, incidences
        if k == 1:
            x, h = self.norm_atom(x), self.norm_incidence(h)
        else:
            before: Block = self.blocks[k - 2]  # type: ignore[assignment]
            x, h = before.norm_atom_out(x), before.norm_incidence_out(h)
        x_stream, x, h_stream, _ = self.blocks[k - 1](
            atoms_here, x, incidences, h, geometry.edges, geometry.basis, hypergraph
        )
        if k == len(self.blocks):
            energy = self._head(x)
        return x_stream, h_stream, energy

    def forward(self, hypergraph: Hypergraph) -> torch.Tensor:
        """Return the energy of each atom in network units, (n_atoms,)."""
        geometry = self.geometry(hypergraph)
        one_hot = self.embed(hypergraph.numbers, hypergraph.charge)
        x_stream, h_stream = self._streams(one_hot, geometry, hypergraph)
        x, h = self.norm_atom(x_stream), self.norm_incidence(h_stream)
        for block in self.blocks:
            x_stream, x, h_stream, h = block(
                x_stream, x, h_stream, h, geometry.edges, geometry.basis, hypergraph
            )
        return self._head(x)
