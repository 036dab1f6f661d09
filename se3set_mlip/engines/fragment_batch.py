"""Many systems with their fragments as one batch on a device: geometries in, lengths of bonds out.

Positions stay tensors from step to step; whether bonds hold and the cell is large enough is seen
from lengths in Å, for all systems at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from se3set_mlip.elements import COVALENT_RADII
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.hypergraph.candidates import in_lattice
from se3set_mlip.hypergraph.hypergraph import System, moved
from se3set_mlip.hypergraph.neighbors import usable_cell
from se3set_mlip.topology.molecule import BROKEN_FACTOR


@dataclass(frozen=True)
class KnownSystem:
    """The fragments of one system, and their tensors.

    Parameters
    ----------
    fragmentation
        The fragments.
    system
        The system, at the geometry at which they were found.
    pairs, limits
        As those of :class:`FragmentBatch`.
    """

    fragmentation: Fragmentation
    system: System
    pairs: torch.Tensor
    limits: torch.Tensor


@dataclass(frozen=True)
class FragmentBatch:
    """The fragments of a batch of systems, on a device.

    Parameters
    ----------
    atom_keys
        The key of each atom's system, (n_atoms,) int64.
    charges
        Total charge of each system, (n_systems,) int64.
    template
        The batch at some other geometry.
    pairs
        Bonds, and links between the parts of fragments, (n_pairs, 2) int64.
    limits
        Lengths in Å at which they are broken, (n_pairs,); infinite for links.
    """

    atom_keys: torch.Tensor
    charges: torch.Tensor
    template: System
    pairs: torch.Tensor
    limits: torch.Tensor

    def fits(
        self,
        atom_keys: torch.Tensor,
        numbers: torch.Tensor,
        structure: torch.Tensor,
        pbc: torch.Tensor,
    ) -> bool:
        """Tell whether these are the systems of this batch, in its order.

        Parameters
        ----------
        atom_keys, numbers, structure
            Key, atomic number and system of each atom, (n_atoms,).
        pbc
            Which directions are periodic, (3,) bool.
        """
        if atom_keys.shape != self.atom_keys.shape:
            return False
        same = (atom_keys == self.atom_keys) & (numbers == self.template.numbers)
        same &= structure == self.template.structure
        return bool(same.all() & (pbc == self.template.pbc).all())

    def at(self, positions: torch.Tensor, cell: torch.Tensor) -> System:
        """Return the batch at a geometry.

        Parameters
        ----------
        positions
            (n_atoms, 3), Å. In float32 they are moved near the origin, as for every other engine.
        cell
            Lattice vectors as rows, (n_systems, 3, 3), Å; those of open directions do not count.
        """
        template = self.template
        cell = torch.where(template.pbc.unsqueeze(2), cell, template.cell)
        if positions.dtype != torch.float64:
            ones = torch.ones_like(positions[:, :1])
            sums = torch.zeros_like(cell[:, 0]).index_add(0, template.structure, positions)
            counts = torch.zeros_like(cell[:, 0, :1]).index_add(0, template.structure, ones)
            positions = positions - (sums / counts)[template.structure]
            positions = _nearest(positions, template.structure, cell, template.pbc)
        return moved(template, positions, cell)

    def lengths(self, system: System) -> torch.Tensor:
        """Return the lengths of bonds and links, (n_pairs,), nearest images, in Å."""
        first, second = self.pairs[:, 0], self.pairs[:, 1]
        vectors = system.positions[second] - system.positions[first]
        vectors = _nearest(vectors, system.structure[first], system.cell, system.pbc)
        return torch.linalg.vector_norm(vectors, dim=1)

    def largest_lengths(self, system: System) -> torch.Tensor:
        """Return the lengths up to which nearest images are clear, (n_pairs,), in Å."""
        inverse = torch.linalg.inv(usable_cell(system.cell, system.pbc))
        heights = 1.0 / torch.linalg.vector_norm(inverse, dim=1)  # (n_systems, 3)
        heights = heights.masked_fill(~system.pbc, torch.inf)
        return 0.5 * heights.amin(dim=1)[system.structure[self.pairs[:, 0]]]


def known_system(fragmentation: Fragmentation, system: System) -> KnownSystem:
    """Return a system with its bonds and links.

    Parameters
    ----------
    fragmentation
        The fragments of the system.
    system
        One structure.
    """
    topology = fragmentation.topology
    bonds = np.array(topology.bonds, dtype=np.int64).reshape(-1, 2)
    parents = np.array(fragmentation.parents, dtype=np.int64)
    links = np.stack([parents, np.arange(len(parents))], axis=1)
    links = links[parents != links[:, 1]]
    radii = np.array([COVALENT_RADII[number] for number in topology.numbers])
    limits = BROKEN_FACTOR * radii[bonds].sum(axis=1)
    positions = system.positions
    return KnownSystem(
        fragmentation=fragmentation,
        system=system,
        pairs=torch.tensor(np.concatenate([bonds, links]), device=positions.device),
        limits=positions.new_tensor(np.concatenate([limits, np.full(len(links), np.inf)])),
    )


def join(known: Sequence[KnownSystem], keys: Sequence[int]) -> FragmentBatch:
    """Return systems as one batch.

    Parameters
    ----------
    known
        At least one.
    keys
        One for each of them.
    """
    template = batch_systems([item.system for item in known])
    sizes = [item.system.numbers.shape[0] for item in known]
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    device = template.positions.device
    charges = [item.fragmentation.topology.charge for item in known]
    return FragmentBatch(
        atom_keys=torch.tensor(np.repeat(np.array(keys, dtype=np.int64), sizes), device=device),
        charges=torch.tensor(charges, device=device),
        template=template,
        pairs=torch.cat([item.pairs + n for item, n in zip(known, starts, strict=True)]),
        limits=torch.cat([item.limits for item in known]),
    )


def _nearest(
    vectors: torch.Tensor, structure: torch.Tensor, cell: torch.Tensor, pbc: torch.Tensor
) -> torch.Tensor:
    """Return vectors (n, 3) less the lattice vectors that round them; ``structure`` is (n,)."""
    if not bool(pbc.any()):
        return vectors
    inverse = torch.linalg.inv(usable_cell(cell, pbc))
    images = torch.round(in_lattice(vectors, inverse, structure)) * pbc[structure]
    return vectors - in_lattice(images, cell, structure)
