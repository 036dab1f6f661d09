"""Bonds that change on the way: kept, refused or found anew; alike in ASE and in OpenMM."""

import copy
import pickle
import warnings
from pathlib import Path

import ase.io
import ase.units
import numpy as np
import openmm
import pytest
import torch
from ase.md.verlet import VelocityVerlet
from openmm import unit

from se3set_mlip.engines.ase_calculator import SE3SetCalculator
from se3set_mlip.engines.bond_policy import BondPolicy, TopologyChangeWarning
from se3set_mlip.engines.bond_watch import BondWatch
from se3set_mlip.engines.openmm_force import create_force
from se3set_mlip.engines.openmm_torch import create_torch_force
from se3set_mlip.errors import ConfigError, TopologyError
from se3set_mlip.potential.potential import Potential
from se3set_mlip.simulate.velocities import draw_momenta
from se3set_mlip.topology.molecule import Topology
from se3set_mlip.units import ANGSTROM_PER_NANOMETER, KJ_PER_MOL_PER_EV

# From one tautomer of acetylacetone to the other: H11 leaves O5 for O3.
PATH = ase.io.read(
    Path(__file__).parents[2] / "benchmarks" / "acetylacetone" / "data" / "test_H_transfer.xyz", ":"
)
ENOL, OTHER_ENOL = (
    Topology.from_coordinates(frame.numbers, frame.positions) for frame in (PATH[0], PATH[-1])
)
OLD_BOND, NEW_BOND = (5, 11), (3, 11)
PROTON = 11
BROKEN = r"bond O5-H11 is 2\.\d\d Å long, bonds hold up to 1\.55 Å"


def torn() -> ase.Atoms:
    """The first tautomer with its proton 2 to 3 Å away from both oxygen atoms."""
    atoms = PATH[0].copy()
    midpoint = atoms.positions[[3, 5]].mean(axis=0)
    away = midpoint - atoms.positions[0]
    atoms.positions[PROTON] = midpoint + 2.0 * away / np.linalg.norm(away)
    return atoms


def independent(potential: Potential, atoms: ase.Atoms, topology: Topology) -> float:
    """The energy with fragments of a topology, in eV; no engine takes part."""
    start = PATH[0] if topology == ENOL else PATH[-1]
    fragments = potential.fragment(topology, start.positions)
    return float(
        potential.compute(potential.system(atoms.numbers, atoms.positions, fragments)).energy
    )


class AseEngine:
    """Energies from the calculator."""

    def __init__(self, potential: Potential, **policy) -> None:
        fragmentation_source = PATH[0].copy()
        self.calculator = SE3SetCalculator(potential, **policy)
        self.calculator.fragmentation(fragmentation_source)
        self.atoms = fragmentation_source
        self.atoms.calc = self.calculator

    def energy(self, atoms: ase.Atoms) -> float:
        self.atoms.positions = atoms.positions
        self.calculator.reset()
        self.atoms.get_forces()
        return self.atoms.get_potential_energy()

    @property
    def changes(self):
        return self.calculator.topology_changes

    @property
    def topology(self) -> Topology:
        return self.calculator.fragmentation(self.atoms).topology


class OpenmmEngine:
    """Energies from a context with a PythonForce."""

    def __init__(self, potential: Potential, **policy) -> None:
        self.force = create_force(potential, potential.fragment(ENOL, PATH[0].positions), **policy)
        system = openmm.System()
        for mass in PATH[0].get_masses():
            system.addParticle(mass)
        system.addForce(self.force)
        platform = openmm.Platform.getPlatformByName("Reference")
        self.context = openmm.Context(system, openmm.VerletIntegrator(0.0005), platform)

    def energy(self, atoms: ase.Atoms) -> float:
        self.context.setPositions(atoms.positions / ANGSTROM_PER_NANOMETER)
        state = self.context.getState(energy=True, forces=True)
        kilojoules = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        return kilojoules / KJ_PER_MOL_PER_EV

    @property
    def changes(self):
        return self.force.computation.topology_changes

    @property
    def topology(self) -> Topology:
        return self.force.computation.fragmentation.topology


ENGINES = pytest.mark.parametrize("engine", [AseEngine, OpenmmEngine], ids=["ase", "openmm"])


def test_the_ends_of_the_path_are_the_two_tautomers():
    assert set(ENOL.bonds) - set(OTHER_ENOL.bonds) == {OLD_BOND}
    assert set(OTHER_ENOL.bonds) - set(ENOL.bonds) == {NEW_BOND}


@ENGINES
def test_keep_warns_once_and_names_the_bond(engine, molecule):
    run = engine(molecule.potential)
    with pytest.warns(UserWarning, match=BROKEN) as caught:
        energies = [run.energy(torn()) for _ in range(3)]
    assert len(caught) == 1
    assert energies[0] == pytest.approx(independent(molecule.potential, torn(), ENOL), rel=1e-12)
    assert run.topology == ENOL
    assert run.changes == ()


@ENGINES
@pytest.mark.parametrize("policy", ["keep", "error"])
def test_a_proton_that_goes_across_breaks_no_bond(engine, policy, molecule):
    run = engine(molecule.potential, on_bond_change=policy)
    for frame in PATH:
        run.energy(frame)
    assert run.topology == ENOL


@ENGINES
def test_error_names_bond_limit_and_remedy(engine, molecule):
    run = engine(molecule.potential, on_bond_change="error")
    run.energy(PATH[0])
    expected = TopologyError if engine is AseEngine else openmm.OpenMMException
    for _ in range(2):  # each time, not once
        with pytest.raises(expected, match=rf"{BROKEN}.*on_bond_change = 'reperceive'"):
            run.energy(torn())
    if engine is OpenmmEngine:
        assert isinstance(run.force.computation.failure, TopologyError)
    run.energy(PATH[0])
    if engine is OpenmmEngine:
        assert run.force.computation.failure is None


@ENGINES
def test_reperceive_replaces_the_topology_and_reports_the_jump(engine, molecule):
    run = engine(molecule.potential, on_bond_change="reperceive", check_interval=3)
    before = [run.energy(PATH[-1]) for _ in range(2)]
    assert run.changes == ()
    with pytest.warns(TopologyChangeWarning, match=r"evaluation 3: O5-H11 broken, O3-H11 formed"):
        after = run.energy(PATH[-1])
    old = independent(molecule.potential, PATH[-1], ENOL)
    new = independent(molecule.potential, PATH[-1], OTHER_ENOL)
    assert abs(new - old) > 1e-4, "a jump that could not be seen"
    assert before == pytest.approx([old, old], rel=1e-12)
    assert after == pytest.approx(new, rel=1e-12)
    assert run.topology == OTHER_ENOL
    (change,) = run.changes
    assert (change.evaluation, change.broken, change.formed) == (3, (OLD_BOND,), (NEW_BOND,))
    assert change.energy_jump == pytest.approx(new - old, abs=1e-10)
    assert f"energy jump {1000 * (new - old):+.3f} meV" in change.describe()


@ENGINES
def test_a_shuttling_proton_changes_nothing_before_it_has_arrived(engine, molecule):
    run = engine(molecule.potential, on_bond_change="reperceive", check_interval=1)
    for frame in [*PATH[:10], *PATH[5:10], *PATH[5:10]]:  # the middle is passed five times
        run.energy(frame)
    assert run.changes == ()


@ENGINES
def test_the_way_back_leads_to_the_old_energies(engine, molecule):
    run = engine(molecule.potential, on_bond_change="reperceive", check_interval=1)
    start = run.energy(PATH[0])
    with pytest.warns(TopologyChangeWarning) as caught:
        there, back = run.energy(PATH[-1]), run.energy(PATH[0])
    assert len(caught) == len(run.changes) == 2
    assert there == pytest.approx(independent(molecule.potential, PATH[-1], OTHER_ENOL), rel=1e-12)
    assert back == start
    assert run.topology == ENOL


@ENGINES
def test_where_no_bonds_can_be_found_reperceive_warns_once(engine, molecule):
    run = engine(molecule.potential, on_bond_change="reperceive", check_interval=2)
    with pytest.warns(UserWarning, match=rf"{BROKEN}.*no other bonds could be found") as caught:
        energies = [run.energy(torn()) for _ in range(6)]
    assert len(caught) == 1
    assert energies[-1] == pytest.approx(independent(molecule.potential, torn(), ENOL), rel=1e-12)


def test_bonds_that_only_form_are_taken(molecule):
    """Two hydrogen atoms, held as ions, come together."""
    apart, near = (np.array([[0.0, 0, 0], [d, 0, 0]]) for d in (2.0, 0.74))
    ions = Topology((1, 1), (), (), (1, -1))
    policy = BondPolicy(on_bond_change="reperceive", check_interval=1)
    watch = BondWatch(policy, molecule.potential.fragment(ions, apart))
    with pytest.warns(TopologyChangeWarning, match="H0-H1 formed"):
        watch.compute(molecule.potential, near)
    assert watch.fragmentation.topology == Topology((1, 1), ((0, 1),), (1,), (0, 0))


def test_a_bond_across_the_boundary_holds(wet_cell):
    policy = BondPolicy(on_bond_change="error")
    watch = BondWatch(policy, wet_cell.fragmentation)
    positions = wet_cell.geometries(1)[0]  # wrapped one by one
    watch.compute(wet_cell.potential, positions, cell=wet_cell.cell, pbc=(True,) * 3)
    with pytest.raises(TopologyError, match="long, bonds hold up to"):
        watch.compute(wet_cell.potential, positions)


def test_dynamics_conserve_energy_but_for_the_reported_jump(molecule):
    atoms = PATH[-1].copy()
    atoms.calc = SE3SetCalculator(
        molecule.potential, topology=ENOL, on_bond_change="reperceive", check_interval=20
    )
    atoms.set_momenta(draw_momenta(atoms, 50.0, seed=3))
    integrator = VelocityVerlet(atoms, timestep=0.1 * ase.units.fs)
    totals, jumps = [], []

    def measure() -> None:
        totals.append(atoms.get_total_energy())
        jumps.append(sum(change.energy_jump for change in atoms.calc.topology_changes))

    integrator.attach(measure)
    with pytest.warns(TopologyChangeWarning, match="evaluation 20"):
        integrator.run(40)
    totals, jumps = np.array(totals), np.array(jumps)
    assert len(atoms.calc.topology_changes) == 1
    assert np.ptp(totals - jumps) < 0.02 * np.ptp(totals)
    assert np.ptp(totals) == pytest.approx(abs(jumps[-1]), rel=0.02)


def test_other_atoms_begin_anew(molecule):
    run = AseEngine(molecule.potential, on_bond_change="reperceive", check_interval=1)
    with pytest.warns(TopologyChangeWarning):
        run.energy(PATH[-1])
    water = ase.Atoms(
        "OH2", [[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], calculator=run.calculator
    )
    water.get_potential_energy()
    assert run.changes == ()


def test_a_copy_goes_on_from_the_fragments_in_use(molecule):
    run = OpenmmEngine(molecule.potential, on_bond_change="reperceive", check_interval=1)
    with pytest.warns(TopologyChangeWarning):
        energy = run.energy(PATH[-1])
    again = pickle.loads(pickle.dumps(run.force.computation))
    assert again.fragmentation.topology == OTHER_ENOL
    assert again.topology_changes == run.changes
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run.energy(PATH[-1]) == energy
    assert copy.deepcopy(run.force).getPickledFunction()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"on_bond_change": "ignore"}, "'ignore'; expected one of keep, error, reperceive"),
        ({"on_bond_change": None}, "None; expected one of keep, error, reperceive"),
        ({"check_interval": 0}, "check_interval = 0; give a whole number .* at least 1"),
        ({"check_interval": 2.5}, "check_interval = 2.5"),
        ({"check_interval": True}, "check_interval = True"),
    ],
)
def test_malformed_settings_are_an_error(setting, message, molecule):
    with pytest.raises(ConfigError, match=message):
        SE3SetCalculator(molecule.potential, **setting)
    with pytest.raises(ConfigError, match=message):
        create_force(molecule.potential, molecule.fragmentation, **setting)


@pytest.mark.parametrize("policy", ["error", "reperceive", "ignore"])
def test_a_torch_force_can_only_keep(policy):
    script = torch.jit.script(torch.nn.Identity())
    message = "expected one of keep" if policy == "ignore" else "can only 'keep'.*use create_force"
    with pytest.raises(ConfigError, match=message):
        create_torch_force(script, on_bond_change=policy)
