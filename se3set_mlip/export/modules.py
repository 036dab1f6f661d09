"""Potentials as other programs call them: plain tensors in, and OpenMM's units.

Both modules compile to TorchScript; what they add to a potential is arithmetic on units alone.
"""

import torch
from torch import nn

from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.potential.potential_module import PotentialModule, PotentialOutput
from se3set_mlip.units import ANGSTROM_PER_NANOMETER, KJ_PER_MOL_PER_EV


class GenericPotential(nn.Module):
    """A potential whose input is plain tensors of one structure.

    Parameters
    ----------
    potential
        The module that computes energies, forces and stress.
    """

    def __init__(self, potential: PotentialModule) -> None:
        super().__init__()
        self.potential = potential

    def forward(
        self,
        numbers: torch.Tensor,
        positions: torch.Tensor,
        cell: torch.Tensor,
        pbc: torch.Tensor,
        fragment: torch.Tensor,
        group: torch.Tensor,
        parent: torch.Tensor,
        charge: torch.Tensor,
    ) -> PotentialOutput:
        """Compute one structure; the stress only if it is periodic in all directions.

        Parameters
        ----------
        numbers
            Atomic numbers, (n_atoms,) int64.
        positions
            Positions in Å, (n_atoms, 3), of the artefact's dtype.
        cell
            Lattice vectors as rows in Å, (3, 3), of the artefact's dtype; ignored along
            directions that are not periodic.
        pbc
            Which directions are periodic, (3,) bool.
        fragment, group, parent
            Fragment, group and spanning-tree parent of each atom, (n_atoms,) int64, see
            :class:`~se3set_mlip.hypergraph.hypergraph.System`.
        charge
            Total formal charge of each atom's fragment, (n_atoms,) int64.
        """
        system = System(
            numbers=numbers,
            positions=positions,
            fragment=fragment,
            group=group,
            parent=parent,
            charge=charge,
            structure=torch.zeros_like(numbers),
            cell=cell.unsqueeze(0),
            pbc=pbc.unsqueeze(0),
        )
        return self.potential(system, True, bool(pbc.all()))


class BoundPotential(nn.Module):
    """A potential of one system, in OpenMM's units.

    Parameters
    ----------
    potential
        The module that computes energies.
    dtype
        Precision of its weights.
    numbers, fragment, group, parent, charge
        What is fixed of the system, each (n_atoms,) int64.
    particles
        Indices of the atoms among the positions passed in, (n_atoms,) int64; None: all.
    periodic
        Whether box vectors are passed after the positions.
    """

    numbers: torch.Tensor
    fragment: torch.Tensor
    group: torch.Tensor
    parent: torch.Tensor
    charge: torch.Tensor
    structure: torch.Tensor
    particles: torch.Tensor | None
    pbc: torch.Tensor
    no_cell: torch.Tensor

    def __init__(
        self,
        potential: PotentialModule,
        *,
        dtype: torch.dtype,
        numbers: torch.Tensor,
        fragment: torch.Tensor,
        group: torch.Tensor,
        parent: torch.Tensor,
        charge: torch.Tensor,
        particles: torch.Tensor | None,
        periodic: bool,
    ) -> None:
        super().__init__()
        self.potential = potential
        self.dtype = dtype
        self.periodic = periodic
        self.nanometer = ANGSTROM_PER_NANOMETER
        self.electronvolt = KJ_PER_MOL_PER_EV
        self.register_buffer("numbers", numbers)
        self.register_buffer("fragment", fragment)
        self.register_buffer("group", group)
        self.register_buffer("parent", parent)
        self.register_buffer("charge", charge)
        self.register_buffer("structure", torch.zeros_like(numbers))
        self.register_buffer("particles", particles)
        self.register_buffer("pbc", torch.full((1, 3), periodic))
        self.register_buffer("no_cell", torch.eye(3, dtype=self.dtype).unsqueeze(0))

    def forward(
        self, positions: torch.Tensor, boxvectors: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the energy in kJ/mol, () float64.

        Parameters
        ----------
        positions
            Positions of all particles in nm, (n_particles, 3).
        boxvectors
            Periodic box vectors as rows in nm, (3, 3); only for a periodic system.
        """
        particles = self.particles  # TorchScript narrows the types of local variables only
        if particles is not None:
            positions = positions.index_select(0, particles)
        # float32 has few digits far from the origin, and only differences matter. The same steps as
        # for every other engine (potential.inputs), so that short floats round alike.
        positions = positions - positions.detach().mean(dim=0)
        cell = self.no_cell
        if self.periodic:
            assert boxvectors is not None, "this potential is periodic: pass the box vectors"
            box = boxvectors.detach()
            fractional = positions.detach() @ torch.linalg.inv(box)
            positions = positions - torch.round(fractional) @ box
            cell = (box * self.nanometer).to(self.dtype).unsqueeze(0)
        system = System(
            numbers=self.numbers,
            positions=(positions * self.nanometer).to(self.dtype),
            fragment=self.fragment,
            group=self.group,
            parent=self.parent,
            charge=self.charge,
            structure=self.structure,
            cell=cell,
            pbc=self.pbc,
        )
        energy, _ = self.potential.energies(system)
        return energy.squeeze(0) * self.electronvolt
