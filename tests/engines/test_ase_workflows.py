"""ASE's own programs on top of the calculator: relaxation, cells, vibrations, bands."""

import copy
import warnings
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase import units
from ase.calculators.calculator import all_changes
from ase.filters import FrechetCellFilter
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from ase.mep import NEB
from ase.optimize import BFGS, FIRE, LBFGS
from ase.vibrations import Vibrations, VibrationsData

from se3set_mlip.engines.ase_calculator import SE3SetCalculator
from se3set_mlip.errors import InputError
from se3set_mlip.potential.checkpoint import load_checkpoint

MODELS = Path(__file__).parents[2] / "models"

# Of the relaxed molecule, cm^-1.
ZERO_MODES = 0.01
AGAINST_DIFFERENCES = 0.001


@pytest.fixture(scope="module")
def acetylacetone():
    """The shipped model: what is asked of minima and saddle points takes a trained one."""
    return load_checkpoint(MODELS / "acetylacetone.safetensors").to(dtype="float64")


def relax_to_the_bottom(atoms: ase.Atoms) -> ase.Atoms:
    """Relax until only rounding is left: by BFGS, then by Newton's method with the Hessian."""
    BFGS(atoms, logfile=None).run(fmax=0.0005, steps=300)
    for _ in range(3):
        values, vectors = np.linalg.eigh(atoms.calc.get_hessian(atoms))
        inner = np.argsort(np.abs(values))[6:]  # neither translations nor rotations
        along = vectors[:, inner].T @ atoms.get_forces().reshape(-1) / values[inner]
        atoms.positions += (vectors[:, inner] @ along).reshape(-1, 3)
    return atoms


@pytest.fixture(scope="module")
def minimum(acetylacetone) -> ase.Atoms:
    atoms = ase.io.read(MODELS / "acetylacetone.xyz")
    atoms.calc = SE3SetCalculator(acetylacetone)
    return relax_to_the_bottom(atoms)


def test_newtons_method_with_the_hessian_ends_at_rounding(minimum):
    assert np.abs(minimum.get_forces()).max() < 1e-11, "2e-4, 1e-6, 2e-11, 1e-14 eV/Å"


@pytest.mark.parametrize("optimizer", [BFGS, LBFGS, FIRE])
def test_every_optimizer_finds_the_same_minimum(acetylacetone, minimum, optimizer):
    atoms = minimum.copy()
    atoms.rattle(0.02, seed=3)
    atoms.calc = SE3SetCalculator(acetylacetone)
    above = atoms.get_potential_energy() - minimum.get_potential_energy()
    assert above > 0.05
    assert optimizer(atoms, logfile=None).run(fmax=0.005, steps=300)
    left = atoms.get_potential_energy() - minimum.get_potential_energy()
    assert 0.0 < left < 1e-3


def test_frequencies_are_those_of_finite_differences(minimum, tmp_path):
    hessian = minimum.calc.get_hessian(minimum)
    found = VibrationsData.from_2d(minimum, hessian).get_frequencies()
    vibrations = Vibrations(minimum, name=str(tmp_path / "vibrations"), delta=0.002, nfree=4)
    vibrations.run()
    expected = vibrations.get_frequencies()
    assert np.abs(found[:6]).max() < ZERO_MODES, "three translations, three rotations"
    assert np.abs(found[6:].imag).max() == 0.0, "a minimum"
    assert found[6:].real.min() > 20.0
    assert 2000.0 < found[-1].real < 4000.0
    assert np.abs(found[6:] - expected[6:]).max() < AGAINST_DIFFERENCES


def test_a_hessian_has_the_fragments_in_use(case):
    atoms = ase.Atoms(case.numbers, case.positions, cell=case.cell, pbc=case.periodic)
    atoms.calc = SE3SetCalculator(case.potential, topology=case.fragmentation.topology)
    with pytest.raises(InputError, match="no structure was computed yet"):
        atoms.calc.get_hessian()
    atoms.get_potential_energy()
    fragmentation = atoms.calc.fragmentation(atoms)
    atoms.positions = case.geometries(1)[0]
    found = atoms.calc.get_hessian(atoms)
    system = case.potential.system(
        atoms.numbers, atoms.positions, fragmentation, cell=case.cell, pbc=atoms.pbc
    )
    assert atoms.calc.fragmentation(atoms) is fragmentation
    assert np.array_equal(found, case.potential.hessian(system))
    step, forces = 1e-5, []
    for sign in (1.0, -1.0):
        atoms.positions[4, 1] += sign * step
        forces.append(atoms.get_forces().reshape(-1))
        atoms.positions[4, 1] -= sign * step
    column = (forces[1] - forces[0]) / (2 * step)
    assert np.abs(found[:, 13] - column).max() < 1e-6 * np.abs(found).max()
    atoms.get_potential_energy()
    assert np.abs(atoms.calc.get_hessian() - found).max() < 1e-9 * np.abs(found).max(), (
        "of the structure computed last"
    )


@pytest.fixture
def crystal(wet_cell) -> ase.Atoms:
    """A molecule and a water in a small triclinic cell, pulling at one another at random."""
    atoms = ase.Atoms(wet_cell.numbers, wet_cell.positions, cell=wet_cell.cell, pbc=True)
    atoms.calc = SE3SetCalculator(wet_cell.potential, topology=wet_cell.fragmentation.topology)
    return atoms


def test_a_relaxation_of_the_cell_goes_down_its_own_gradient(crystal):
    """Forces on the cell, as ASE makes them of the stress, are the slope of the energy."""
    cell_filter = FrechetCellFilter(crystal)
    start, forces = cell_filter.get_positions(), cell_filter.get_forces()
    assert forces.shape == (18, 3)
    generator = np.random.default_rng(8)
    direction = generator.normal(size=start.shape)
    step, energies = 1e-5, []
    for sign in (1.0, -1.0):
        cell_filter.set_positions(start + sign * step * direction)
        energies.append(crystal.get_potential_energy())
    slope = (energies[1] - energies[0]) / (2 * step)
    assert (forces * direction).sum() == pytest.approx(slope, rel=1e-6)
    cell_filter.set_positions(start)
    before, volume = crystal.get_potential_energy(), crystal.get_volume()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # random weights may well break a bond
        FIRE(cell_filter, logfile=None, maxstep=0.05).run(fmax=1e-4, steps=15)
    assert crystal.get_potential_energy() < before
    assert abs(crystal.get_volume() / volume - 1.0) > 1e-4


class WeakStress(SE3SetCalculator):
    """A calculator whose stress is wrong by a tenth."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        if "stress" in self.results:
            self.results["stress"] = 0.9 * self.results["stress"]


def npt_error(crystal: ase.Atoms, kind: type[SE3SetCalculator], timestep_fs: float) -> float:
    """Run a few fs of NPT dynamics; return the range of the energy that it conserves, eV."""
    potential = copy.deepcopy(crystal.calc.potential)
    potential.module.set_energies(scale=6.0)  # so that the stress is more than that of a gas
    atoms = crystal.copy()
    atoms.calc = kind(potential, topology=crystal.calc.fragmentation(crystal).topology)
    generator = np.random.default_rng(2)
    sigma = np.sqrt(atoms.get_masses() * units.kB * 300.0)
    atoms.set_momenta(generator.normal(size=(len(atoms), 3)) * sigma[:, None])
    dynamics = IsotropicMTKNPT(
        atoms,
        timestep=timestep_fs * units.fs,
        temperature_K=300.0,
        pressure_au=0.0,
        tdamp=20.0 * units.fs,
        pdamp=20.0 * units.fs,
    )
    conserved = []
    dynamics.attach(lambda: conserved.append(dynamics.get_conserved_energy()), interval=1)
    dynamics.run(round(6.0 / timestep_fs))
    return float(np.ptp(conserved))


def test_constant_pressure_dynamics_conserve_their_energy(crystal):
    """With a barostat that is true only if the stress is the derivative by the cell."""
    coarse = npt_error(crystal, SE3SetCalculator, 0.4)
    fine = npt_error(crystal, SE3SetCalculator, 0.2)
    assert 3.5 < coarse / fine < 4.5, "second order in the time step"
    wrong = npt_error(crystal, WeakStress, 0.2)
    assert wrong > 3.0 * fine


def moved_proton(atoms: ase.Atoms) -> ase.Atoms:
    """Return the enol with its proton mirrored to the other oxygen."""
    donor, acceptor, proton = 6, 2, 14
    way = atoms.positions[acceptor] - atoms.positions[donor]
    middle = 0.5 * (atoms.positions[acceptor] + atoms.positions[donor])
    unit = way / np.linalg.norm(way)
    out = atoms.copy()
    out.positions[proton] -= 2.0 * ((atoms.positions[proton] - middle) @ unit) * unit
    return out


@pytest.fixture(scope="module")
def band(acetylacetone, minimum) -> list[ase.Atoms]:
    """A nudged elastic band of the proton transfer, all images with the first one's fragments."""
    calculator = SE3SetCalculator(acetylacetone)
    first, last = minimum.copy(), moved_proton(minimum)
    images = [first, *(first.copy() for _ in range(3)), last]
    for image in images:
        image.calc = calculator
    first.get_potential_energy()
    BFGS(last, logfile=None).run(fmax=0.005, steps=300)
    neb = NEB(images, k=0.5, climb=True, allow_shared_calculator=True, method="improvedtangent")
    neb.interpolate()
    assert BFGS(neb, logfile=None).run(fmax=0.02, steps=200)
    return images


def test_a_band_lies_on_one_energy_surface(acetylacetone, band):
    calculator = band[0].calc
    fragmentation = calculator.fragmentation(band[0])
    for image in band:
        assert calculator.fragmentation(image) is fragmentation
        system = acetylacetone.system(image.numbers, image.positions, fragmentation)
        expected = float(acetylacetone.compute(system, forces=False).energy)
        assert image.get_potential_energy() == pytest.approx(expected, abs=1e-9)


def test_the_climbing_image_is_a_saddle_point_of_the_proton_transfer(band):
    energies = np.array([image.get_potential_energy() for image in band])
    top = int(np.argmax(energies))
    assert 0 < top < len(band) - 1
    assert 0.003 < energies[top] - energies[0] < 0.04, "14 meV in the reference method"
    saddle = band[top].copy()
    saddle.calc = band[top].calc
    data = VibrationsData.from_2d(saddle, saddle.calc.get_hessian(saddle))
    frequencies = data.get_frequencies()
    assert np.sum(frequencies.imag > 100.0) == 1
    mode = data.get_modes()[0]
    assert int(np.argmax(np.linalg.norm(mode, axis=1))) == 14, "the proton moves"
    oxygens = band[0].positions[2] - band[0].positions[6]
    along = mode[14] / np.linalg.norm(mode[14]) @ oxygens / np.linalg.norm(oxygens)
    assert abs(along) > 0.9


def test_an_image_with_a_calculator_of_its_own_may_find_other_bonds(acetylacetone, band):
    last = band[-1].copy()
    last.calc = SE3SetCalculator(acetylacetone)
    own = last.calc.fragmentation(last)
    assert own.topology.bonds != band[0].calc.fragmentation(last).topology.bonds
    assert abs(last.get_potential_energy() - band[-1].get_potential_energy()) > 1e-6
    last.calc = SE3SetCalculator(
        acetylacetone, topology=band[0].calc.fragmentation(band[0]).topology
    )
    assert last.get_potential_energy() == pytest.approx(band[-1].get_potential_energy(), abs=1e-9)
