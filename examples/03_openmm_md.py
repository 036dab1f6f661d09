"""The same potential as an OpenMM force: dynamics with OpenMM's own integrators and reporters."""

import argparse
import sys
from pathlib import Path

import ase.io
import openmm
from openmm import app, unit

import se3set_mlip as s3
from se3set_mlip.engines.openmm_force import create_force

MODELS = Path(__file__).parent.parent / "models"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default=MODELS / "acetylacetone.safetensors")
parser.add_argument("--structure", default=MODELS / "acetylacetone.xyz")
parser.add_argument("--steps", type=int, default=2000)
parser.add_argument("--system", default="03_system.xml", help="where the OpenMM system goes")
arguments = parser.parse_args()

atoms = ase.io.read(arguments.structure)
potential = s3.load(arguments.model)
topology = s3.Topology.from_coordinates(atoms.numbers, atoms.positions, charge=0)
fragments = potential.fragment(topology, atoms.positions)

# An OpenMM topology needs no bonds here: fragments say who belongs together.
openmm_topology = app.Topology()
residue = openmm_topology.addResidue("ACA", openmm_topology.addChain())
system = openmm.System()
for number, mass in zip(atoms.numbers, atoms.get_masses(), strict=True):
    element = app.Element.getByAtomicNumber(int(number))
    openmm_topology.addAtom(element.symbol, element, residue)
    system.addParticle(mass)
system.addForce(create_force(potential, fragments))

integrator = openmm.LangevinMiddleIntegrator(
    300 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond
)
integrator.setRandomNumberSeed(1)
platform = openmm.Platform.getPlatformByName("Reference")
simulation = app.Simulation(openmm_topology, system, integrator, platform)
simulation.context.setPositions(atoms.positions * unit.angstrom)
simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
simulation.reporters.append(
    app.StateDataReporter(
        sys.stdout, 100, time=True, potentialEnergy=True, temperature=True, speed=True
    )
)
simulation.step(arguments.steps)

# The force, with its weights, travels inside the XML. Load only files that you trust: OpenMM
# unpickles what they hold.
Path(arguments.system).write_text(openmm.XmlSerializer.serialize(system), encoding="utf-8")
print(f"system in {arguments.system}")
