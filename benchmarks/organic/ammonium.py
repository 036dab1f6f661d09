"""The proton between a charged amino end and its own carbonyl: GFN2-xTB against a potential.

    python benchmarks/organic/ammonium.py MODEL [--picoseconds 2]

Amino acids ``[NH3+]-CHR-C(=O)-NHMe``, as proteins begin, in vacuum. Each is relaxed by GFN2-xTB;
then the proton that is nearest to the carbonyl oxygen is held at lengths of its bond from 1.0 to
1.7 Å, and GFN2-xTB relaxes the rest; the potential is asked at the same geometries. Then both move
the molecule at 300 K, from the same start: how long is the proton nearer to the oxygen? Writes
``results/ammonium_MODEL.json`` and a picture.
"""

import argparse
from pathlib import Path
from typing import Any

import ase
import matplotlib.pyplot as plt
import numpy as np
from ase import units
from ase.calculators.calculator import Calculator
from ase.constraints import FixBondLengths
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import LBFGS
from rdkit import Chem, RDLogger
from subjects import KCAL, conformers, gfn2, write
from tqdm import tqdm

import se3set_mlip as s3

SIDE_CHAINS = {
    "Gly": "",
    "Ala": "C",
    "Leu": "CC(C)C",
    "Met": "CCSC",
    "Phe": "Cc1ccccc1",
    "Ser": "CO",
}
LENGTHS = np.arange(1.0, 1.75, 0.1)
"""Of the bond between nitrogen and the proton, Å."""
NEAR_NITROGEN = 1.25
"""The proton is with the nitrogen at shorter lengths, Å."""
CARBONYL = Chem.MolFromSmarts("[NX4+]CC(=O)N")
KELVIN, TIMESTEP_FS, THERMOSTAT_FS = 300.0, 1.0, 100.0


def amide(side_chain: str) -> str:
    """Return the SMILES of the amino acid with this side chain."""
    return f"[NH3+][C@@H]({side_chain})C(=O)NC" if side_chain else "[NH3+]CC(=O)NC"


def proton_of(atoms: ase.Atoms, mol: Chem.Mol) -> tuple[int, int, int]:
    """Return nitrogen, the proton of it that is nearest to the oxygen, and the oxygen."""
    nitrogen, _, _, oxygen, _ = mol.GetSubstructMatch(CARBONYL)
    neighbors = mol.GetAtomWithIdx(nitrogen).GetNeighbors()
    protons = [a.GetIdx() for a in neighbors if a.GetAtomicNum() == 1]
    return nitrogen, min(protons, key=lambda h: atoms.get_distance(h, oxygen)), oxygen


def scan(start: ase.Atoms, nitrogen: int, proton: int) -> list[ase.Atoms]:
    """Return geometries with the proton on its way, the rest relaxed by GFN2-xTB."""
    found = []
    atoms = start.copy()
    for length in LENGTHS:
        way = atoms.positions[proton] - atoms.positions[nitrogen]
        atoms.positions[proton] = atoms.positions[nitrogen] + way / np.linalg.norm(way) * length
        atoms.set_constraint(FixBondLengths([[nitrogen, proton]]))
        atoms.calc = gfn2(1)
        LBFGS(atoms, logfile=None).run(fmax=0.03, steps=200)
        frame = atoms.copy()
        frame.set_constraint()
        found.append(frame)
    return found


def energies(frames: list[ase.Atoms], calculator: Calculator) -> list[float]:
    """Return energies over that of the first, kcal/mol."""
    found = []
    for frame in frames:
        frame.calc = calculator
        found.append(float(frame.get_potential_energy()) / KCAL)
    return [value - found[0] for value in found]


def share_at_oxygen(
    start: ase.Atoms, way: tuple[int, int, int], calculator: Calculator, picoseconds: float
) -> float:
    """Return the share of time in which a proton of the nitrogen is nearer to the oxygen."""
    nitrogen, _, oxygen = way
    atoms = start.copy()
    atoms.calc = calculator
    rng = np.random.default_rng(1)
    MaxwellBoltzmannDistribution(atoms, temperature_K=KELVIN, rng=rng)
    dynamics = LangevinBAOAB(
        atoms,
        timestep=TIMESTEP_FS * units.fs,
        temperature_K=KELVIN,
        T_tau=THERMOSTAT_FS * units.fs,
        rng=rng,
    )
    mobile = [
        h for h in np.flatnonzero(start.numbers == 1) if start.get_distance(h, nitrogen) < 1.3
    ]
    over = 0
    n_steps = round(1000.0 * picoseconds / TIMESTEP_FS)
    for _ in range(n_steps):
        dynamics.run(1)
        over += any(atoms.get_distance(h, oxygen) < atoms.get_distance(h, nitrogen) for h in mobile)
    return over / n_steps


def measure(name: str, potential: Any, picoseconds: float) -> dict[str, Any]:
    """Return profiles and shares of one amino acid."""
    mol, shapes = conformers(amide(SIDE_CHAINS[name]), 4)
    starts = []
    for atoms in shapes:
        atoms.calc = gfn2(1)
        LBFGS(atoms, logfile=None).run(fmax=0.02, steps=300)
        starts.append((float(atoms.get_potential_energy()), atoms))
    start = min(starts, key=lambda found: found[0])[1]
    way = proton_of(start, mol)
    frames = scan(start, way[0], way[1])
    ours = s3.SE3SetCalculator(potential, on_bond_change="keep")
    return {
        "name": name,
        "n_atoms": len(start),
        "lengths": LENGTHS.tolist(),
        "at_minimum": [start.get_distance(way[0], way[1]), start.get_distance(way[2], way[1])],
        "gfn2_kcal": energies(frames, gfn2(1)),
        "model_kcal": energies(frames, ours),
        "share_at_oxygen_gfn2": share_at_oxygen(start, way, gfn2(1), picoseconds),
        "share_at_oxygen_model": share_at_oxygen(start, way, ours, picoseconds),
    }


def summary(each: list[dict[str, Any]]) -> dict[str, Any]:
    """Return errors of the potential, and what the proton has to climb by GFN2-xTB, kcal/mol.

    That is from the deepest point while the proton is with the nitrogen to the highest after it.
    """
    errors = np.array([np.subtract(row["model_kcal"], row["gfn2_kcal"]) for row in each])
    profiles = np.array([row["gfn2_kcal"] for row in each])
    with_nitrogen = LENGTHS < NEAR_NITROGEN
    deepest = profiles[:, with_nitrogen].min(axis=1, keepdims=True)
    return {
        "mae_kcal": float(np.abs(errors).mean()),
        "mae_kcal_by_length": np.abs(errors).mean(axis=0).round(3).tolist(),
        "gfn2_barrier_kcal": (profiles[:, ~with_nitrogen] - deepest).max(axis=1).tolist(),
        "gfn2_over_kcal": (profiles - deepest)[:, -1].tolist(),
    }


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--picoseconds", type=float, default=2.0)
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    potential = s3.load(options.model)
    each = [
        measure(name, potential, options.picoseconds)
        for name in tqdm(SIDE_CHAINS, unit="amino acid")
    ]
    found = {"picoseconds": options.picoseconds} | summary(each) | {"each": each}
    path = write("ammonium", options.model, found)
    for row, high, over in zip(
        each, found["gfn2_barrier_kcal"], found["gfn2_over_kcal"], strict=True
    ):
        print(
            f"{row['name']}: GFN2-xTB climbs {high:.1f} kcal/mol, {over:.1f} at 1.7 Å; over "
            f"{row['share_at_oxygen_gfn2']:.2f} of the time, potential "
            f"{row['share_at_oxygen_model']:.2f}"
        )
    print("error of the potential by length, kcal/mol:", found["mae_kcal_by_length"])
    figure, axes = plt.subplots(2, 3, figsize=(8, 4.6), layout="constrained", sharex=True)
    for axis, row in zip(axes.flat, each, strict=True):
        axis.plot(LENGTHS, row["gfn2_kcal"], "k-", label="GFN2-xTB")
        axis.plot(LENGTHS, row["model_kcal"], "C0o-", label="potential")
        axis.set_title(row["name"], fontsize=9)
    axes[0, 0].legend(fontsize=8)
    figure.supxlabel("N-H of a charged amino end, Å, on its way to its own carbonyl")
    figure.supylabel("energy, kcal/mol")
    figure.savefig(path.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
