"""Small potentials with both overlaps, and two waters and a methanol to compute."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from se3set_mlip.fragments.fragmentation import PRESETS, Fragmentation
from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.potential.potential import Metadata, Potential, PotentialModule
from se3set_mlip.topology.molecule import Topology

MOLECULES = "CO.O.O"
POSITIONS = """
-0.05  0.66  0.00  -0.05 -0.76  0.00   2.70 -1.30  0.30  -2.40 -1.90 -0.60  -1.09  0.98  0.00
 0.44  1.07  0.89   0.44  1.07 -0.89   0.87 -1.06  0.00   3.15 -0.46  0.22   3.30 -1.90 -0.18
-1.60 -1.50 -0.25 -2.80 -1.20 -1.13
"""


@dataclass(frozen=True)
class Example:
    """A potential, a system, and several geometries of it."""

    potential: Potential
    fragmentation: Fragmentation
    cell: np.ndarray | None

    @property
    def periodic(self) -> bool:
        return self.cell is not None

    @property
    def numbers(self) -> tuple[int, ...]:
        return self.fragmentation.topology.numbers

    def systems(self, n_systems: int, potential: Potential | None = None) -> list[System]:
        rng = np.random.default_rng(3)
        reference = np.array(POSITIONS.split(), dtype=float).reshape(-1, 3)
        found = []
        for _ in range(n_systems):
            positions = reference + rng.normal(scale=0.1, size=reference.shape)
            if self.cell is not None:
                positions = (positions @ np.linalg.inv(self.cell) % 1.0) @ self.cell
            system = (potential or self.potential).system(
                self.numbers,
                positions,
                self.fragmentation,
                cell=self.cell,
                pbc=(True, True, True) if self.periodic else None,
            )
            found.append(system)
        return found


def make_example(tiny: Potential, preset: str, *, periodic: bool) -> Example:
    config = replace(tiny.config, fragmentation=PRESETS[preset])
    with torch.random.fork_rng():
        torch.manual_seed(19)
        module = PotentialModule(config, dtype=torch.float64)
    module.set_energies(reference={1: -0.5, 6: -1.25, 8: -2.0}, scale=0.3)
    metadata = Metadata(
        level_of_theory="random weights", training_data="none", metrics={"force_rmse_ev": 0.25}
    )
    potential = Potential(module.eval(), config, metadata)
    topology = Topology.from_smiles(MOLECULES)
    positions = np.array(POSITIONS.split(), dtype=float).reshape(-1, 3)
    cell = np.array([[7.0, 0.0, 0.0], [0.8, 6.5, 0.0], [-1.0, 0.5, 6.8]]) if periodic else None
    return Example(potential, potential.fragment(topology, positions), cell)


@pytest.fixture(scope="session", params=["implicit_md22", "explicit_md17"])
def preset(request) -> str:
    return request.param


@pytest.fixture(scope="session", params=[False, True], ids=["isolated", "periodic"])
def example(request, preset, tiny_potential) -> Example:
    return make_example(tiny_potential, preset, periodic=request.param)


@pytest.fixture(scope="session")
def isolated(tiny_potential) -> Example:
    return make_example(tiny_potential, "implicit_md22", periodic=False)
