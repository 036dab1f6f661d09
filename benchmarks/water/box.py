"""Where dynamics starts: a periodic cube of liquid water at the density of the liquid, 300 K.

Molecules on a lattice, turned at random (``benchmarks/speed/systems.py``), are relaxed and moved
for some ps by flexible TIP3P through OpenMM. So nothing of the structure to be predicted is put in:
neither a frame of the data, nor the potential under test. Atoms come as O, H, H of each molecule.
"""

import sys
from pathlib import Path

import ase
import numpy as np
import openmm
import openmm.app
import openmm.unit

sys.path.insert(0, str(Path(__file__).parent.parent))  # for the boxes of benchmarks/speed
from speed.systems import water

TIMESTEP_FS = 0.5  # bonds vibrate
NM = 10.0  # Å


def lattice(molecules: int) -> ase.Atoms:
    """Return molecules of water on a lattice, 0.997 g/cm^3.

    Raises
    ------
    ValueError
        If the number is no cube.
    """
    edge = round(molecules ** (1.0 / 3.0))
    if edge < 1 or edge**3 != molecules:
        nearest = max(2, edge) ** 3
        raise ValueError(f"{molecules} molecules fill no cube; give {nearest}, or 64, 125, 216")
    found = water((edge,) * 3)
    return ase.Atoms(found.numbers, found.positions, cell=found.cell, pbc=True)


def topology_of(atoms: ase.Atoms) -> openmm.app.Topology:
    """Return the molecules as OpenMM knows them."""
    topology = openmm.app.Topology()
    chain = topology.addChain()
    for _ in range(len(atoms) // 3):
        residue = topology.addResidue("HOH", chain)
        oxygen, *hydrogens = (
            topology.addAtom(name, openmm.app.Element.getBySymbol(name[0]), residue)
            for name in ("O", "H1", "H2")
        )
        for hydrogen in hydrogens:
            topology.addBond(oxygen, hydrogen)
    topology.setPeriodicBoxVectors(atoms.cell.array / NM * openmm.unit.nanometer)
    return topology


def liquid(molecules: int, *, temperature: float, picoseconds: float, seed: int) -> ase.Atoms:
    """Return water that was moved by flexible TIP3P for a while.

    Parameters
    ----------
    molecules
        A cube of a whole number.
    temperature
        K.
    picoseconds
        How long.
    seed
        Of the thermostat.
    """
    atoms = lattice(molecules)
    topology = topology_of(atoms)
    cutoff = min(0.9, 0.45 * atoms.cell.lengths().min() / NM)
    system = openmm.app.ForceField("tip3p.xml").createSystem(
        topology,
        nonbondedMethod=openmm.app.PME,
        nonbondedCutoff=cutoff * openmm.unit.nanometer,
        rigidWater=False,
    )
    femtosecond = openmm.unit.femtosecond
    integrator = openmm.LangevinMiddleIntegrator(
        temperature * openmm.unit.kelvin,
        5.0 / openmm.unit.picosecond,
        TIMESTEP_FS * femtosecond,
    )
    integrator.setRandomNumberSeed(seed)
    platform = openmm.Platform.getPlatformByName("CPU")
    simulation = openmm.app.Simulation(topology, system, integrator, platform, {"Threads": "1"})
    simulation.context.setPositions(atoms.positions / NM)
    simulation.minimizeEnergy()
    simulation.context.setVelocitiesToTemperature(temperature, seed)
    simulation.step(round(1000.0 * picoseconds / TIMESTEP_FS))
    state = simulation.context.getState(positions=True)
    # Not wrapped: molecules stay whole.
    positions = state.getPositions(asNumpy=True).value_in_unit(openmm.unit.angstrom)
    atoms.positions = np.asarray(positions, dtype=float)
    return atoms
