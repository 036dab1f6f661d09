"""i-PI runs an exported file: the same dynamics as with ASE, and beads of a path integral."""

import importlib

import ase
import ase.io
import numpy as np
import pytest
from ase import units
from ase.md.verlet import VelocityVerlet

from se3set_mlip.engines.ase_calculator import SE3SetCalculator

pytest.importorskip("metatomic.torch", reason="needs metatomic-torch")
ipi = pytest.importorskip("ipi.scripting", reason="needs i-PI 3.3: pip install ipi")
export = importlib.import_module("se3set_mlip.export.metatomic")

# i-PI names a thread in the way of older Pythons.
pytestmark = pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning")

# i-PI goes through atomic units, with constants of another year than ASE's.
SAME = 1e-6
TIMESTEP_FS = 0.5
NVE = f"""<motion mode='dynamics'><fixcom>False</fixcom><dynamics mode='nve'>
<timestep units='femtosecond'> {TIMESTEP_FS} </timestep></dynamics></motion>"""


@pytest.fixture
def water_in_a_box():
    # i-PI always has a cell, so that a molecule needs one that is large enough.
    positions = [[0.0, 0.0, 0.1], [0.0, 0.78, -0.5], [0.02, -0.75, -0.48]]
    return ase.Atoms("OHH", positions, cell=[12.0, 12.0, 12.0], pbc=True)


@pytest.fixture
def simulation(isolated, water_in_a_box, tmp_path, monkeypatch):
    """Makes a simulation of beads at the water's geometry, in a folder of its own."""
    monkeypatch.chdir(tmp_path)  # i-PI writes where it is
    fragmentation = SE3SetCalculator(isolated.potential).fragmentation(water_in_a_box)
    model = export.export_metatomic(isolated.potential, "water.pt", fragmentation, periodic=True)
    ase.io.write("template.xyz", water_in_a_box)

    def make(n_beads, temperature=None):
        beads = [water_in_a_box.copy() for _ in range(n_beads)]
        for bead in beads:
            bead.set_array("mass", bead.get_masses())
        force = ipi.forcefield_xml(
            "se3set",
            pes="metatomic",
            parameters={"template": "template.xyz", "model": str(model), "device": "cpu"},
        )
        return ipi.InteractiveSimulation(ipi.simulation_xml(beads, force, NVE, temperature))

    return make


def test_dynamics_in_ipi_follow_those_in_ase(isolated, water_in_a_box, simulation):
    n_steps = 5
    run = simulation(1)
    run.run(n_steps, write_outputs=False)
    found = run.get_structures()

    atoms = water_in_a_box.copy()
    atoms.calc = SE3SetCalculator(isolated.potential)
    start = atoms.positions.copy()
    VelocityVerlet(atoms, timestep=TIMESTEP_FS * units.fs).run(n_steps)
    moved = np.abs(atoms.positions - start).max()
    assert moved > 1e-3
    assert np.abs(found.positions - atoms.positions).max() < SAME
    assert found.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), rel=SAME)
    forces = atoms.get_forces()
    assert np.abs(found.get_forces() - forces).max() < SAME * np.abs(forces).max()


def test_the_beads_of_a_path_integral_are_computed(isolated, water_in_a_box, simulation):
    beads = simulation(3, 1e-9).get_structures()
    expected = isolated.potential.evaluate(water_in_a_box)
    assert len(beads) == 3
    for bead in beads:
        assert bead.get_potential_energy() == pytest.approx(expected.energy, rel=SAME)
        error = np.abs(bead.get_forces() - expected.forces).max()
        assert error < SAME * np.abs(expected.forces).max()
