"""The wall between two nuclei: positions -> repulsion of each atom, in eV.

Screened Coulomb repulsion of J. F. Ziegler, J. P. Biersack and U. Littmark (The Stopping and Range
of Ions in Matter, 1985) with an envelope that ends inside every bond::

    V(r) = k Z_u Z_v / r  phi(r / a) (1 - (r / c)^2)^4,    r < c = fraction * (R_u + R_v)
    phi(x) = 0.18175 exp(-3.19980 x) + 0.50986 exp(-0.94229 x)
             + 0.28022 exp(-0.40290 x) + 0.02817 exp(-0.20162 x)
    a = 0.8854 a_0 / (Z_u^0.23 + Z_v^0.23)

with R the covalent radii and k = e^2 / (4 pi eps_0) = 14.3996 eV Å. A network has not seen atoms so
close; without a wall, two of them can fall into each other. Three derivatives are continuous at c,
and at distances of molecules nothing is added: energies there are the network's alone.
"""

from typing import NamedTuple

import torch

from se3set_mlip.elements import COVALENT_RADII
from se3set_mlip.errors import ConfigError
from se3set_mlip.hypergraph.candidates import in_lattice
from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.hypergraph.neighbors import neighbor_pairs
from se3set_mlip.units import ANGSTROM_PER_BOHR, EV_PER_HARTREE

COULOMB_EV_ANGSTROM = EV_PER_HARTREE * ANGSTROM_PER_BOHR
SCREENING_BOHR = 0.8854
SCREENING_POWER = 0.23
PHI = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))


class ClosePairs(NamedTuple):
    """Ordered pairs of atoms that may be within range."""

    first: torch.Tensor
    """(n,) int64."""
    second: torch.Tensor
    """(n,) int64."""
    image: torch.Tensor
    """Lattice steps of the second atom, (n, 3), dtype of positions."""


class PairRepulsion(torch.nn.Module):
    """Repulsion of pairs of atoms inside a fraction of the sum of their covalent radii; scriptable.

    Parameters
    ----------
    elements
        Atomic numbers that may occur.
    fraction
        Where the wall ends, in sums of covalent radii; above 0.

    Raises
    ------
    ConfigError
        For elements whose covalent radius is not known.
    """

    radii: torch.Tensor

    def __init__(self, elements: tuple[int, ...], fraction: float) -> None:
        super().__init__()
        unknown = [number for number in elements if number not in COVALENT_RADII]
        if unknown:
            raise ConfigError(
                f"repulsion = 'zbl' needs covalent radii, which elements {unknown} do not have "
                "here; use repulsion = 'none'"
            )
        radii = torch.zeros(119, dtype=torch.float64)
        for number in elements:
            radii[number] = fraction * COVALENT_RADII[number]
        self.register_buffer("radii", radii, persistent=False)
        # TorchScript sees no constants of a module
        self.coulomb = COULOMB_EV_ANGSTROM
        self.screening = SCREENING_BOHR * ANGSTROM_PER_BOHR
        self.power = SCREENING_POWER
        self.phi = PHI
        self.range_angstrom = 2.0 * float(radii.max())

    @torch.jit.export
    def close_pairs(self, system: System, skin: float) -> ClosePairs:
        """Search for pairs of atoms up to ``skin`` Å beyond the range; no gradient."""
        i, j, image = neighbor_pairs(
            system.positions, system.cell, system.pbc, system.structure, self.range_angstrom + skin
        )
        return ClosePairs(i, j, image)

    def forward(self, system: System, pairs: ClosePairs | None = None) -> torch.Tensor:
        """Return the repulsion of each atom in eV, half of that of its pairs, (n_atoms,).

        ``pairs`` are those found for these atoms near by; None: they are searched for.
        """
        if pairs is None:
            pairs = self.close_pairs(system, 0.0)
        positions = system.positions
        i, j = pairs.first, pairs.second
        vector = positions[j] - positions[i]
        vector = vector + in_lattice(pairs.image, system.cell, system.structure[i])
        distance = vector.pow(2).sum(dim=1).sqrt()
        radii = self.radii.to(distance.dtype)
        x = distance / (radii[system.numbers[i]] + radii[system.numbers[j]])
        envelope = (1.0 - x * x).clamp(min=0.0).pow(4)
        charges = system.numbers.to(distance.dtype)
        powers = charges.pow(self.power)
        scaled = distance * (powers[i] + powers[j]) / self.screening
        phi = torch.zeros_like(scaled)
        for weight, rate in self.phi:
            phi = phi + weight * torch.exp(-rate * scaled)
        energy = 0.5 * self.coulomb * charges[i] * charges[j] / distance * phi * envelope
        total = torch.zeros_like(positions[:, 0])
        return total.index_add(0, i, energy)
