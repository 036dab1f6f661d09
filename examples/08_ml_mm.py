"""Alanine dipeptide in explicit water: the peptide by a potential, the water by a force field.

openmm-ml mixes the two by mechanical embedding: what is between peptide and water is the force
field's. The potential was trained on GFN2-xTB. Prints as it goes, and draws the backbone dihedrals.
"""

import argparse
import sys
from pathlib import Path

import ase
import matplotlib as mpl
import openmm
from openmm import app, unit
from openmmml import MLPotential

mpl.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
DIHEDRALS = {
    "phi": (("ACE", "C"), ("ALA", "N"), ("ALA", "CA"), ("ALA", "C")),
    "psi": (("ALA", "N"), ("ALA", "CA"), ("ALA", "C"), ("NME", "N")),
}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default=HERE.parent / "models" / "alanine_dipeptide.safetensors")
parser.add_argument("--structure", default=HERE / "data" / "alanine_dipeptide.pdb")
parser.add_argument("--steps", type=int, default=1000, help="of 0.5 fs")
parser.add_argument("--box", type=float, default=2.4, help="edge of the box, nm")
parser.add_argument("--output", default="08_ml_mm.png")
arguments = parser.parse_args()

# A classical system first.
pdb = app.PDBFile(str(arguments.structure))
force_field = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
modeller = app.Modeller(pdb.topology, pdb.positions)
modeller.addSolvent(force_field, boxSize=openmm.Vec3(1, 1, 1) * arguments.box * unit.nanometer)
classical = force_field.createSystem(
    modeller.topology, nonbondedMethod=app.PME, nonbondedCutoff=0.9 * unit.nanometer
)

# Then the peptide's own interactions are handed over to the potential.
ml_atoms = range(pdb.topology.getNumAtoms())
system = MLPotential("se3set", modelPath=arguments.model).createMixedSystem(
    modeller.topology, classical, ml_atoms
)
print(f"{len(ml_atoms)} atoms by the potential, {system.getNumParticles()} in all")

# The force field relaxes what it has put there; the potential takes over from that.
platform = openmm.Platform.getPlatformByName("CPU")
relaxing = app.Simulation(modeller.topology, classical, openmm.VerletIntegrator(0.001), platform)
relaxing.context.setPositions(modeller.positions)
relaxing.minimizeEnergy()
relaxed = relaxing.context.getState(positions=True).getPositions()

integrator = openmm.LangevinMiddleIntegrator(
    300 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond
)
integrator.setRandomNumberSeed(1)
simulation = app.Simulation(modeller.topology, system, integrator, platform)
simulation.context.setPositions(relaxed)
simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
simulation.reporters.append(
    app.StateDataReporter(
        sys.stdout, 100, time=True, potentialEnergy=True, temperature=True, speed=True
    )
)

index = {(atom.residue.name, atom.name): atom.index for atom in pdb.topology.atoms()}
times, angles = [], {name: [] for name in DIHEDRALS}
for _ in range(arguments.steps // 10):
    simulation.step(10)
    state = simulation.context.getState(positions=True)
    points = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    peptide = ase.Atoms(f"X{len(ml_atoms)}", points[: len(ml_atoms)])
    times.append(state.getTime().value_in_unit(unit.picosecond))
    for name, four in DIHEDRALS.items():
        angle = peptide.get_dihedral(*(index[atom] for atom in four))
        angles[name].append((angle + 180.0) % 360.0 - 180.0)

figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for name, values in angles.items():
    axis.plot(times, values, ".", label=name)
axis.set(xlabel="time, ps", ylabel="backbone dihedral, degrees", ylim=(-180, 180))
axis.legend()
figure.savefig(arguments.output, dpi=150)
print(f"backbone dihedrals in {arguments.output}")
