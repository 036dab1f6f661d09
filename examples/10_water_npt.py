"""A box of water at constant pressure: the density that a potential gives.

OpenMM fills a box with water, a classical force field relaxes it, and the potential takes over with
a Monte Carlo barostat, which moves whole molecules. Heavy hydrogens allow steps of 2 fs and change
no average. Prints as it goes, and draws the density.
"""

import argparse
import sys
from pathlib import Path

import matplotlib as mpl
import openmm
from openmm import app, unit

import se3set_mlip as s3
from se3set_mlip.engines.openmm_force import create_force, create_system

mpl.use("Agg")
import matplotlib.pyplot as plt

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default=Path(__file__).parent.parent / "models/water.safetensors")
parser.add_argument("--steps", type=int, default=5000, help="of 2 fs")
parser.add_argument("--box", type=float, default=1.3, help="edge of the box, nm")
parser.add_argument("--output", default="10_water_npt.png")
arguments = parser.parse_args()

# Water without a solute.
force_field = app.ForceField("amber14/tip3p.xml")
modeller = app.Modeller(app.Topology(), [] * unit.nanometer)
modeller.addSolvent(force_field, boxSize=openmm.Vec3(1, 1, 1) * arguments.box * unit.nanometer)
topology = modeller.topology
mass = (
    sum((atom.element.mass for atom in topology.atoms()), start=0.0 * unit.dalton)
    / unit.AVOGADRO_CONSTANT_NA
)
print(f"{topology.getNumResidues()} molecules")

# The force field relaxes it at constant volume.
platform = openmm.Platform.getPlatformByName("CPU")
classical = force_field.createSystem(
    topology,
    nonbondedMethod=app.PME,
    nonbondedCutoff=0.45 * arguments.box * unit.nanometer,
    rigidWater=False,
)


def langevin(timestep: float) -> openmm.LangevinMiddleIntegrator:
    """Return a thermostat of 300 K with a time step in fs."""
    integrator = openmm.LangevinMiddleIntegrator(
        300 * unit.kelvin, 5 / unit.picosecond, timestep * unit.femtosecond
    )
    integrator.setRandomNumberSeed(1)
    return integrator


relaxing = app.Simulation(topology, classical, langevin(0.5), platform)
relaxing.context.setPositions(modeller.positions)
relaxing.minimizeEnergy()
relaxing.step(5000)
relaxed = relaxing.context.getState(positions=True).getPositions()

# The potential, and a barostat. create_system tells OpenMM which atoms are a molecule.
system = create_system(topology, create_force(s3.load(arguments.model), topology))
for atom in topology.atoms():
    if atom.element is app.element.hydrogen:
        system.setParticleMass(atom.index, 4.0 * unit.dalton)
barostat = openmm.MonteCarloBarostat(1 * unit.bar, 300 * unit.kelvin, 25)
barostat.setRandomNumberSeed(1)
system.addForce(barostat)

simulation = app.Simulation(topology, system, langevin(2.0), platform)
simulation.context.setPositions(relaxed)
simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
simulation.reporters.append(
    app.StateDataReporter(sys.stdout, 100, time=True, temperature=True, volume=True, speed=True)
)
times, densities = [], []
for _ in range(arguments.steps // 10):
    simulation.step(10)
    state = simulation.context.getState()
    times.append(state.getTime().value_in_unit(unit.picosecond))
    density = mass / state.getPeriodicBoxVolume()
    densities.append(density.value_in_unit(unit.gram / unit.centimeter**3))

figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
axis.plot(times, densities)
axis.axhline(0.9965, color="grey", lw=1, label="measured, 300 K")
axis.set(xlabel="time, ps", ylabel="density, g/cm³")
axis.legend()
figure.savefig(arguments.output, dpi=150)
print(f"density in {arguments.output}")
