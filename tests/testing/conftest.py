"""Toy calculators whose faults are known, and small specimens."""

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list

from se3set_mlip.testing.specimens import held, joined
from se3set_mlip.testing.subject import Specimen

CUTOFF = 4.0


class Pairs(Calculator):
    """Morse pairs with a cutoff at 4 Å, and at will one fault.

    Faults: ``hard`` (no switch), ``kink`` (a switch that is once differentiable less than it
    should be), ``force`` (of one atom is off by 1e-5), ``tilt`` (an energy along x), ``lab`` (an
    energy of where atoms lie in the cell), ``curl`` (forces of no energy), ``far`` (a weak pull on
    everything), ``label`` (an energy of the first atom).
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.fault = fault

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        i, vector = neighbor_list("iD", self.atoms, CUTOFF)
        r = np.linalg.norm(vector, axis=1)
        a = np.exp(-1.5 * (r - 1.3))
        phi, slope = a * (a - 2.0), -3.0 * a * (a - 1.0)
        x = np.clip(CUTOFF - r, 0.0, 1.0)
        switch = x**4 * (35 - 84 * x + 70 * x**2 - 20 * x**3)
        switch_slope = -140.0 * x**3 * (1 - x) ** 3
        if self.fault == "hard":
            switch, switch_slope = np.ones_like(r), np.zeros_like(r)
        elif self.fault == "kink":
            switch, switch_slope = x, -((x > 0) & (x < 1)).astype(float)
        energy = 0.5 * (phi * switch).sum()
        pull = (slope * switch + phi * switch_slope) / r
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, i, pull[:, None] * vector)
        stress = 0.5 * np.einsum("p,pi,pj->ij", pull, vector, vector)
        energy, forces = self._spoil(energy, forces)
        self.results = {"energy": float(energy), "forces": forces}
        if self.atoms.pbc.all():
            voigt = stress.reshape(-1)[[0, 4, 8, 5, 2, 1]] / self.atoms.get_volume()
            self.results["stress"] = 1.001 * voigt if self.fault == "stress" else voigt

    def _spoil(self, energy, forces):
        positions = self.atoms.positions
        if self.fault == "force":
            forces[0, 1] += 1e-5 * np.abs(forces).max()
        elif self.fault == "tilt":
            energy += 1e-7 * (positions[:, 0] ** 2).sum()
            forces[:, 0] -= 2e-7 * positions[:, 0]
        elif self.fault == "lab":
            energy += 1e-6 * np.sin(positions[:, 2]).sum()
            forces[:, 2] -= 1e-6 * np.cos(positions[:, 2])
        elif self.fault == "curl":
            centred = positions - positions.mean(axis=0)
            forces += 1e-5 * np.stack(
                [-centred[:, 1], centred[:, 0], np.zeros(len(centred))], axis=1
            )
        elif self.fault == "far":
            energy += 1e-8 * ((positions - positions.mean(axis=0)) ** 2).sum()
            forces -= 2e-8 * (positions - positions.mean(axis=0))
        elif self.fault == "label":
            energy += 1e-7 * np.linalg.norm(positions[0] - positions[1:], axis=1).sum()
        return energy, forces


MakeToy = Callable[..., Pairs]


@pytest.fixture(scope="session")
def toy() -> MakeToy:
    """Make a toy calculator, with a fault if one is named."""
    return Pairs


@pytest.fixture(scope="session")
def water() -> Specimen:
    """One molecule of water, bent out of its symmetry."""
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    return held(Specimen(atoms))


@pytest.fixture(scope="session")
def dimer(water: Specimen) -> Specimen:
    """Two molecules of water."""
    other = water.atoms.copy()
    other.rotate(70.0, (1.0, 0.4, 0.2))
    other.positions += [0.3, 2.9, 0.4]
    return joined(water, Specimen(Atoms(other), water.topology))
