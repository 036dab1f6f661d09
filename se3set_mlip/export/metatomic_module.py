"""A potential of one system as metatomic calls it: systems in, energies in eV out.

Compiles to TorchScript. Every call is checked before anything is computed. Lengths in Å.
"""

from typing import Dict, List, Optional  # noqa: UP035 - metatomic compares annotations with these

import torch
from torch import nn

from se3set_mlip.export.metatomic_package import Labels, ModelOutput, System, TensorBlock, TensorMap
from se3set_mlip.hypergraph.hypergraph import System as SE3SetSystem


class MetatomicPotential(nn.Module):
    """A potential of one system, as metatomic calls it.

    Parameters
    ----------
    bound
        What :func:`~se3set_mlip.export.torchscript.bind` returned.
    pairs
        Bonds, and links between the parts of fragments, (n_pairs, 2) int64.
    limits
        Lengths in Å at which they are broken, (n_pairs,); infinite for links.
    """

    numbers: torch.Tensor
    fragment: torch.Tensor
    group: torch.Tensor
    parent: torch.Tensor
    charge: torch.Tensor
    structure: torch.Tensor
    pbc: torch.Tensor
    no_cell: torch.Tensor
    pairs: torch.Tensor
    limits: torch.Tensor

    def __init__(
        self, bound: torch.jit.ScriptModule, *, pairs: torch.Tensor, limits: torch.Tensor
    ) -> None:
        super().__init__()
        self.potential = bound.potential
        self.periodic = bool(bound.pbc.all())
        of_system = ("numbers", "fragment", "group", "parent", "charge", "structure", "pbc")
        for name in (*of_system, "no_cell"):
            self.register_buffer(name, getattr(bound, name))
        self.register_buffer("pairs", pairs)
        self.register_buffer("limits", limits.to(bound.no_cell.dtype))

    def forward(
        self,
        systems: List[System],  # noqa: UP006
        outputs: Dict[str, ModelOutput],  # noqa: UP006
        selected_atoms: Optional[Labels],  # noqa: UP045
    ) -> Dict[str, TensorMap]:  # noqa: UP006
        """Return the energies in eV, with the graph to the positions and cells of the caller.

        Parameters
        ----------
        systems
            Geometries of the system, Å.
        outputs
            What to compute: ``"energy"``, of each system or of each atom.
        selected_atoms
            Pairs of system and atom; None: all atoms. An energy of a system is then the sum over
            the selected.
        """
        results: Dict[str, TensorMap] = {}  # noqa: UP006
        if "energy" not in outputs:
            return results
        device = self.numbers.device
        energies = [self.atomic_energies(system) for system in systems]
        if selected_atoms is None:
            n_atoms = self.numbers.shape[0]
            system_index = torch.arange(len(systems), device=device).repeat_interleave(n_atoms)
            atom = torch.arange(n_atoms, device=device).repeat(len(systems))
            rows = torch.stack([system_index, atom], dim=1)
            samples = Labels(["system", "atom"], rows.to(torch.int32))
        else:
            samples = selected_atoms
            rows = samples.values.to(torch.int64)
        values = torch.stack(energies)[rows[:, 0], rows[:, 1]]
        if outputs["energy"].sample_kind != "atom":
            total = torch.zeros(len(systems), dtype=values.dtype, device=device)
            values = total.index_add(0, rows[:, 0], values)
            index = torch.arange(len(systems), dtype=torch.int32, device=device)
            samples = Labels(["system"], index.unsqueeze(1))
        zero = torch.zeros((1, 1), dtype=torch.int32, device=device)
        block = TensorBlock(
            values=values.unsqueeze(1).to(self.no_cell.dtype),
            samples=samples,
            components=torch.jit.annotate(List[Labels], []),  # noqa: UP006
            properties=Labels(["energy"], zero),
        )
        results["energy"] = TensorMap(keys=Labels(["_"], zero), blocks=[block])
        return results

    def atomic_energies(self, system: System) -> torch.Tensor:
        """Return the energy of each atom, (n_atoms,) eV, float64."""
        self.check_atoms(system)
        positions = system.positions - system.positions.detach().mean(dim=0)
        cell = self.no_cell
        if self.periodic:
            box = system.cell
            fractional = positions.detach() @ torch.linalg.inv(box.detach())
            positions = positions - torch.round(fractional) @ box
            cell = box.unsqueeze(0)
        self.check_lengths(positions.detach(), cell[0].detach())
        _, atomic = self.potential.energies(
            SE3SetSystem(
                numbers=self.numbers,
                positions=positions,
                fragment=self.fragment,
                group=self.group,
                parent=self.parent,
                charge=self.charge,
                structure=self.structure,
                cell=cell,
                pbc=self.pbc,
            )
        )
        return atomic

    def check_atoms(self, system: System) -> None:
        """Raise unless these are the atoms of the bound system."""
        n_atoms = self.numbers.shape[0]
        if len(system) != n_atoms:
            raise ValueError(
                f"this SE3Set model is bound to a system of {n_atoms} atoms and was given "
                f"{len(system)}; run the engine in one domain, without ghost atoms, on the system "
                "that the model was exported for"
            )
        others = system.types != self.numbers
        if bool(others.any()):
            atom = int(others.nonzero()[0, 0])
            raise ValueError(
                f"this SE3Set model is bound to atoms in their order: atom {atom} has type "
                f"{int(system.types[atom])}, at the export it had {int(self.numbers[atom])}; keep "
                "the order (LAMMPS: atom_modify sort 0 0.0), and use atomic numbers as types"
            )
        if bool((system.pbc != self.pbc[0]).any()):
            raise ValueError(
                f"this SE3Set model was exported with periodic = {self.periodic}, and was given "
                f"pbc = {system.pbc}; export it again for that"
            )

    def check_lengths(self, positions: torch.Tensor, cell: torch.Tensor) -> None:
        """Raise if a bond is broken, or longer than nearest images allow."""
        vectors = positions[self.pairs[:, 1]] - positions[self.pairs[:, 0]]
        limits = self.limits
        if self.periodic:
            inverse = torch.linalg.inv(cell)
            vectors = vectors - torch.round(vectors @ inverse) @ cell
            heights = 1.0 / torch.linalg.vector_norm(inverse, dim=0)
            limits = limits.clamp(max=0.5 * float(heights.min()))
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        # NaN is no length either.
        broken = torch.logical_not(lengths < limits)
        if bool(broken.any()):
            row = int(broken.nonzero()[0, 0])
            i, j = int(self.pairs[row, 0]), int(self.pairs[row, 1])
            raise ValueError(
                f"atoms {i} and {j}, which are bonded or of one fragment, are {lengths[row]} Å "
                f"apart; this SE3Set model allows {limits[row]} Å (1.6 times the sum of covalent "
                "radii, and half of the cell's smallest height). Either the atoms are in another "
                "order than at the export, or a bond is broken, or the cell is too small"
            )
