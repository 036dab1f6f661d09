"""Molecules and potentials on which the laws of physics are tested.

Weights are random and scaled up, so that a small step of the energy would show.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from e3nn import o3
from rdkit import Chem

import se3set_mlip as s3
from se3set_mlip.fragments.fragmentation import PRESETS
from se3set_mlip.hypergraph.build import HypergraphConfig
from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.model.config import ModelConfig
from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.potential.potential import Potential
from se3set_mlip.potential.potential_module import PotentialModule
from se3set_mlip.testing.subject import Specimen

MOLECULES = json.loads((Path(__file__).parents[1] / "data" / "fragments.json").read_text())


def geometry(name: str) -> np.ndarray:
    """Return positions (n_atoms, 3) in Å; the water beside ethanol is moved out of it."""
    positions = np.array(MOLECULES[name]["positions_angstrom"])
    if name == "ethanol_water":
        positions[[3, 10, 11]] += [0.3, 0.2, 3.2]
    return positions


MakePotential = Callable[..., Potential]
MakeSystem = Callable[..., System]


@pytest.fixture(scope="session")
def make_potential() -> MakePotential:
    """Build a potential with random weights from a preset of fragments."""
    made: dict[tuple[object, ...], Potential] = {}

    def make(
        preset: str = "implicit_md22",
        *,
        membership: str = "smooth",
        seed: int = 0,
        lmax: int = 2,
        basis: str = "exponential_normal",
        norm: str = "joint",
        interaction: str = "attention",
        skin: float = 0.0,
        scale: float = 1.3,
        dtype: torch.dtype = torch.float64,
    ) -> Potential:
        key = (preset, membership, seed, lmax, basis, norm, interaction, skin, scale, dtype)
        if key not in made:
            l2 = lmax > 1
            config = PotentialConfig(
                model=ModelConfig(
                    elements=(1, 6, 7, 8),
                    interaction=interaction,
                    irreps="8x0e+4x1o+2x2e" if l2 else "8x0e+4x1o",
                    irreps_density="+".join(f"6x{o3.Irrep(k, (-1) ** k)}" for k in range(lmax + 1)),
                    irreps_final="8x0e",
                    irreps_head="4x0e+2x1o+1x2e" if l2 else "4x0e+2x1o",
                    irreps_hidden="12x0e+6x1o+3x2e" if l2 else "12x0e+6x1o",
                    lmax=lmax,
                    n_heads=2,
                    n_radial=8,
                    radial_basis=basis,
                    norm=norm,
                    radial_hidden=(8,),
                    # products of third order of sums that are far from one would be astronomical
                    average_sources=4.0 if interaction == "attention" else 20.0,
                    average_incidences=4.0 if interaction == "attention" else 20.0,
                ),
                fragmentation=PRESETS[preset],
                hypergraph=HypergraphConfig(membership=membership, skin_angstrom=skin),
            )
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                module = PotentialModule(config, dtype=dtype)
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.mul_(scale)
            module.set_energies(reference={1: -13.6, 6: -1027.5, 7: -1484.0, 8: -2040.0})
            made[key] = Potential(module.eval(), config)
        return made[key]

    return make


@pytest.fixture(scope="session")
def topology_of() -> Callable[[str], s3.Topology]:
    """Return the topology of one of the published program's test molecules."""

    def find(name: str) -> s3.Topology:
        return s3.Topology.from_rdkit(
            Chem.MolFromMolBlock(MOLECULES[name]["molblock"], removeHs=False)
        )

    return find


@pytest.fixture(scope="session")
def make_system(topology_of: Callable[[str], s3.Topology]) -> MakeSystem:
    """Build the system of a named molecule for a potential."""

    def make(
        potential: Potential,
        name: str,
        *,
        positions: np.ndarray | None = None,
        cell: np.ndarray | None = None,
    ) -> System:
        molecule = MOLECULES[name]
        reference = geometry(name)
        fragmentation = potential.fragment(topology_of(name), reference)
        return potential.system(
            molecule["numbers"],
            reference if positions is None else positions,
            fragmentation,
            cell=cell,
        )

    return make


@pytest.fixture(scope="session")
def specimen_of(topology_of: Callable[[str], s3.Topology]) -> Callable[..., Specimen]:
    """Return a named molecule as a specimen for the checks, in a cell if one is given."""

    def make(name: str, *, cell: np.ndarray | None = None) -> Specimen:
        atoms = Atoms(MOLECULES[name]["numbers"], geometry(name))
        if cell is not None:
            atoms.set_cell(cell)
            atoms.pbc = True
        return Specimen(atoms, topology_of(name))

    return make


@pytest.fixture(scope="session")
def positions_of() -> Callable[[str], np.ndarray]:
    """Return the positions (n_atoms, 3) of a named molecule in Å."""
    return geometry
