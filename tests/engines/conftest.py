"""Two small potentials, and two systems to compute: a molecule, and a wet cell."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pytest
import torch

from se3set_mlip.fragments.fragmentation import PRESETS, Fragmentation
from se3set_mlip.model.config import ModelConfig
from se3set_mlip.potential.checkpoint import load_checkpoint
from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.potential.potential import Metadata, Potential
from se3set_mlip.potential.potential_module import PotentialModule
from se3set_mlip.shipped import shipped_model, shipped_structure
from se3set_mlip.topology.molecule import Topology

if TYPE_CHECKING:
    from openmm import app

PRESET_OF_OVERLAP = {"implicit": "implicit_md22", "explicit": "explicit_md17"}

# Methyl glycolate, with a water beside it.
MOLECULES = "COC(=O)CO.O"
POSITIONS = """
 2.23 -1.19 -0.42   1.05 -1.04  0.37   0.02 -0.45 -0.28   0.02 -0.07 -1.45  -1.20 -0.34  0.63
-2.25  0.41  0.05  -0.96  2.80  0.48   2.60 -0.21 -0.75   3.00 -1.66  0.19   2.03 -1.83 -1.28
-0.91  0.16  1.56  -1.57 -1.34  0.85  -2.14  0.36 -0.92  -1.73  2.21  0.48  -0.20  2.20  0.48
"""


@dataclass(frozen=True)
class Case:
    """A system, and the potential that computes it."""

    potential: Potential
    fragmentation: Fragmentation
    positions: np.ndarray
    cell: np.ndarray | None

    @property
    def numbers(self) -> tuple[int, ...]:
        return self.fragmentation.topology.numbers

    @property
    def periodic(self) -> bool:
        return self.cell is not None

    def geometries(self, n_geometries: int) -> list[np.ndarray]:
        """The reference geometry with noise; atoms of a cell wrapped into it one by one."""
        rng = np.random.default_rng(11)
        found = []
        for _ in range(n_geometries):
            positions = self.positions + rng.normal(scale=0.08, size=self.positions.shape)
            if self.cell is not None:
                positions += rng.uniform(-5.0, 5.0, 3)
                fractional = positions @ np.linalg.inv(self.cell)
                positions = (fractional - np.floor(fractional)) @ self.cell
            found.append(positions)
        return found

    def openmm_topology(self, *, before: Sequence[Sequence[str]] = ()) -> "app.Topology":
        """The molecules as OpenMM describes them, in one residue, after some others.

        Each of those is a list of symbols, whose first atom is bonded to all others.
        """
        from openmm import app, unit  # noqa: PLC0415 - environments of other engines lack it

        topology = app.Topology()
        chain = topology.addChain()
        for symbols in before:
            residue = topology.addResidue("HOH" if symbols[0] == "O" else "ION", chain)
            first, *others = (
                topology.addAtom(f"{symbol}{k}", app.element.get_by_symbol(symbol), residue)
                for k, symbol in enumerate(symbols)
            )
            for atom in others:
                topology.addBond(first, atom)
        residue = topology.addResidue("MOL", chain)
        atoms = [
            topology.addAtom(f"A{k}", app.element.Element.getByAtomicNumber(number), residue)
            for k, number in enumerate(self.numbers)
        ]
        for i, j in self.fragmentation.topology.bonds:
            topology.addBond(atoms[i], atoms[j])
        if self.cell is not None:
            topology.setPeriodicBoxVectors(self.cell / 10 * unit.nanometer)
        return topology

    def expected(self, positions: np.ndarray, *, stress: bool = False):
        """What the potential itself computes, eager."""
        system = self.potential.system(
            self.numbers,
            positions,
            self.fragmentation,
            cell=self.cell,
            pbc=None if self.cell is None else (True, True, True),
        )
        return self.potential.compute(system, stress=stress)


def make_potential(overlap: str, dtype: torch.dtype = torch.float64) -> Potential:
    config = PotentialConfig(
        fragmentation=PRESETS[PRESET_OF_OVERLAP[overlap]],
        model=ModelConfig(
            elements=(1, 6, 8),
            interaction="attention",
            irreps="8x0e+4x1o",
            irreps_final="8x0e",
            irreps_head="4x0e+2x1o",
            irreps_hidden="8x0e+4x1o",
            lmax=1,
            n_layers=1,
            n_heads=2,
            n_radial=8,
            radial_hidden=(8,),
        ),
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = PotentialModule(config, dtype=dtype)
    module.set_energies(reference={1: -0.5, 6: -1.25, 8: -2.0}, scale=0.3)
    metadata = Metadata(
        level_of_theory="random weights", training_data="none", metrics={"force_rmse_ev": 0.25}
    )
    return Potential(module.eval(), config, metadata)


def make_case(overlap: str, *, periodic: bool, dtype: torch.dtype = torch.float64) -> Case:
    potential = make_potential(overlap, dtype)
    topology = Topology.from_smiles(MOLECULES)
    positions = np.array(POSITIONS.split(), dtype=float).reshape(-1, 3)
    fragmentation = potential.fragment(topology, positions)
    cell = np.array([[7.5, 0.0, 0.0], [1.0, 7.0, 0.0], [-1.5, 0.5, 7.2]]) if periodic else None
    return Case(potential, fragmentation, positions, cell)


@pytest.fixture(scope="session", params=["implicit", "explicit"])
def overlap(request) -> str:
    return request.param


@pytest.fixture(scope="session", params=[False, True], ids=["isolated", "periodic"])
def case(request, overlap) -> Case:
    return make_case(overlap, periodic=request.param)


@pytest.fixture(scope="session")
def molecule() -> Case:
    """The implicit overlap, not periodic."""
    return make_case("implicit", periodic=False)


@pytest.fixture(scope="session")
def wet_cell() -> Case:
    """The implicit overlap, periodic."""
    return make_case("implicit", periodic=True)


@pytest.fixture(scope="session")
def molecule_float32() -> Case:
    return make_case("implicit", periodic=False, dtype=torch.float32)


@pytest.fixture(scope="session")
def trained() -> Case:
    """The shipped model of acetylacetone: random weights bind no atoms."""
    potential = load_checkpoint(shipped_model("acetylacetone")).to(dtype="float64")
    atoms = ase.io.read(shipped_structure("acetylacetone"))
    topology = Topology.from_coordinates(atoms.numbers, atoms.positions, charge=0)
    fragmentation = potential.fragment(topology, atoms.positions)
    return Case(potential, fragmentation, atoms.positions, None)
