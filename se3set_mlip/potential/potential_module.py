"""The potential as a torch module: system -> energy, forces, stress.

    E = sum_v (scale * e_v + V_v + E0[Z_v])

with e_v from the network, V_v a wall between nuclei where the settings ask for one, and scale and
reference energies E0 in float64 outside of the network, so that the energies of far apart molecules
add up exactly. Internal units eV and Å.
"""

from typing import NamedTuple

import torch

from se3set_mlip.hypergraph.build import HypergraphBuilder
from se3set_mlip.hypergraph.candidates import Candidates
from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.model.density import DensityNetwork
from se3set_mlip.model.se3set import SE3Set
from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.potential.derivatives import displaced, forces_and_stress, gradients
from se3set_mlip.potential.pair_repulsion import ClosePairs, PairRepulsion


class PotentialOutput(NamedTuple):
    """What a potential computes for a batch."""

    energy: torch.Tensor
    """(n_structures,) float64, eV."""
    atomic_energies: torch.Tensor
    """(n_atoms,) float64, eV; they add up to the energy."""
    forces: torch.Tensor
    """(n_atoms, 3), eV/Å; (0, 3) if not asked for."""
    stress: torch.Tensor
    """(n_structures, 3, 3), eV/Å^3; (0, 3, 3) if not asked for."""


class PotentialCandidates(NamedTuple):
    """What a search has found, and what serves for all geometries near by."""

    hypergraph: Candidates
    """Of incidences, or of groups and fragments."""
    repulsion: ClosePairs
    """Pairs that may repel each other."""


class PotentialModule(torch.nn.Module):
    """Hypergraph, network, reference energies and derivatives; scriptable.

    In training mode forces keep their graph (so that a loss on them can be differentiated).

    Parameters
    ----------
    config
        Settings.
    dtype
        Dtype of network and positions; energies are summed in float64 always. To change it later,
        build a new module and copy the weights: tables are exact in the dtype they were made for.
    """

    reference_energies: torch.Tensor
    energy_scale: torch.Tensor

    def __init__(self, config: PotentialConfig, *, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.builder = HypergraphBuilder(config.hypergraph, config.fragmentation)
        networks = {"attention": SE3Set, "density": DensityNetwork}
        self.network = networks[config.model.interaction](config.model).to(dtype)
        self.repels = config.repulsion == "zbl"
        elements = config.model.elements if self.repels else ()
        self.repulsion = PairRepulsion(elements, config.repulsion_fraction)
        self.register_buffer("reference_energies", torch.zeros(119, dtype=torch.float64))
        self.register_buffer("energy_scale", torch.ones((), dtype=torch.float64))

    @torch.jit.unused
    def set_energies(
        self, *, reference: dict[int, float] | None = None, scale: float | None = None
    ) -> None:
        """Set reference energies (eV, by atomic number) and the energy scale (eV)."""
        with torch.no_grad():
            if reference is not None:
                self.reference_energies.zero_()
                for number, energy in reference.items():
                    self.reference_energies[number] = energy
            if scale is not None:
                self.energy_scale.fill_(scale)

    @torch.jit.export
    def candidates(self, system: System, skin: float) -> PotentialCandidates:
        """Search for what may be in range while no atom moves by more than ``skin / 2`` Å."""
        none = torch.zeros(0, dtype=torch.int64, device=system.numbers.device)
        pairs = ClosePairs(none, none, system.positions[:0].detach())
        if self.repels:
            pairs = self.repulsion.close_pairs(system, skin)
        return PotentialCandidates(self.builder.candidates(system, skin), pairs)

    def energies(
        self, system: System, candidates: PotentialCandidates | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return total (n_structures,) and atomic (n_atoms,) energies in eV, float64."""
        if candidates is None:
            candidates = self.candidates(system, self.builder.skin)
            hypergraph = self.builder.weighted(system, candidates.hypergraph, False)
        else:
            hypergraph = self.builder.weighted(system, candidates.hypergraph, True)
        return self.with_references(
            system, self.network(hypergraph).to(torch.float64), candidates.repulsion
        )

    def with_references(
        self, system: System, network: torch.Tensor, repulsion: ClosePairs
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return total and atomic energies in eV from those of the network, (n_atoms,) float64."""
        atomic = network * self.energy_scale + self.reference_energies[system.numbers]
        if self.repels:
            atomic = atomic + self.repulsion(system, repulsion).to(torch.float64)
        total = torch.zeros(system.cell.shape[0], dtype=torch.float64, device=atomic.device)
        return total.index_add(0, system.structure, atomic), atomic

    def forward(
        self,
        system: System,
        forces: bool,
        stress: bool,
        candidates: PotentialCandidates | None = None,
    ) -> PotentialOutput:
        """Compute energies, and derivatives if asked for.

        Parameters
        ----------
        system
            Structures; positions in the dtype of the network.
        forces, stress
            What to compute besides energies. Without either, the energy keeps its graph to the
            positions of the caller.
        candidates
            What :meth:`candidates` has found for these atoms near by; None: to be searched for.
        """
        if not forces and not stress:
            energy, atomic = self.energies(system, candidates)
            none = torch.zeros_like(system.positions[:0])
            return PotentialOutput(energy, atomic, none, none.view(0, 3, 3))

        free, inputs = displaced(system, stress)
        energy, atomic = self.energies(free, candidates)
        found = gradients(energy, inputs, self.training)
        out_forces, out_stress = forces_and_stress(system, found, forces)
        if not self.training:
            energy, atomic = energy.detach(), atomic.detach()
        return PotentialOutput(energy, atomic, out_forces, out_stress)
