"""Torsion profiles against GFN2-xTB, for rotatable bonds of molecules never seen.

    python benchmarks/organic/torsions.py MODEL ... [--bonds 50] [--step 30]

Geometries are those of GFN2-xTB, relaxed at each angle; both methods give their energies there, and
errors are those over their mean (kcal/mol). Profiles are computed once, for all models. Writes
``results/torsions_MODEL.json`` and ``.png`` for each.
"""

import argparse
from pathlib import Path
from typing import Any

import ase
import ase.io
import matplotlib.pyplot as plt
import numpy as np
from ase.constraints import FixInternals
from ase.optimize import BFGS
from geometries import ROTATABLE
from molecules import FILE
from numpy.typing import NDArray
from rdkit import Chem, RDLogger
from rdkit.Chem import rdForceFieldHelpers, rdMolTransforms
from subjects import KCAL, atoms_of, conformers, gfn2, unseen_molecules, write
from tqdm import tqdm

import se3set_mlip as s3

STEPS, FMAX = 40, 0.05
CLASH_KCAL = 30.0
"""Angles above this, where the molecule runs into itself, are left out."""


def quartet(mol: Chem.Mol, rng: np.random.Generator) -> tuple[int, int, int, int] | None:
    """Return the four atoms of one of the rotatable bonds."""
    bonds = mol.GetSubstructMatches(ROTATABLE)
    if not bonds:
        return None
    b, c = bonds[rng.integers(len(bonds))]

    def heaviest(centre: int, other: int) -> int:
        near = [n for n in mol.GetAtomWithIdx(centre).GetNeighbors() if n.GetIdx() != other]
        return max(near, key=lambda atom: atom.GetAtomicNum()).GetIdx()

    return heaviest(b, c), b, c, heaviest(c, b)


def profile(mol: Chem.Mol, atoms: tuple[int, int, int, int], step: int) -> list[ase.Atoms]:
    """Return geometries at all angles, relaxed by a force field and then by GFN2-xTB."""
    parameters = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
    found = []
    for angle in range(-180, 180, step):
        turned = Chem.Mol(mol)
        conformer = turned.GetConformer()
        rdMolTransforms.SetDihedralDeg(conformer, *atoms, float(angle))
        if parameters is not None:
            field = rdForceFieldHelpers.MMFFGetMoleculeForceField(turned, parameters)
            field.Initialize()
            field.MMFFAddTorsionConstraint(*atoms, False, angle, angle, 500.0)
            field.Minimize(maxIts=500)
        made = atoms_of(mol, conformer.GetPositions())
        made.calc = gfn2(made.info["charge"])
        held = [made.get_dihedral(*atoms), list(atoms)]
        made.set_constraint(FixInternals(dihedrals_deg=[held], epsilon=1e-5))
        BFGS(made, logfile=None).run(fmax=FMAX, steps=STEPS)
        made.info["angle"] = float(made.get_dihedral(*atoms))
        made.info["gfn2"] = float(made.get_potential_energy())
        made.calc = None
        made.set_constraint()
        found.append(made)
    return found


def relative(energies: list[float]) -> NDArray[np.float64]:
    """Return energies over their lowest, kcal/mol."""
    found = np.array(energies) / KCAL
    return found - found.min()


def profiles(number: int, step: int) -> list[list[ase.Atoms]]:
    """Return the profiles of so many bonds, each of another molecule; computed once."""
    path = FILE.parent / f"torsions_{number}_{step}.xyz"
    if not path.exists():
        rng = np.random.default_rng(1)
        found: list[ase.Atoms] = []
        bonds = 0
        for molecule in tqdm(unseen_molecules(2 * number), unit="molecule"):
            mol, starts = conformers(molecule["smiles"], 1)
            atoms = quartet(mol, rng) if starts else None
            if atoms is None:
                continue
            for frame in profile(mol, atoms, step):
                symbols = "-".join(mol.GetAtomWithIdx(k).GetSymbol() for k in atoms)
                frame.info |= {
                    "bond": bonds,
                    "symbols": symbols,
                    "atoms": list(atoms),
                    "smiles": molecule["smiles"],
                }
                found.append(frame)
            bonds += 1
            if bonds == number:
                break
        ase.io.write(path, found, format="extxyz")
    groups: dict[int, list[ase.Atoms]] = {}
    for frame in ase.io.read(path, ":"):
        groups.setdefault(frame.info["bond"], []).append(frame)
    return list(groups.values())


def measure(frames: list[ase.Atoms], potential: Any) -> dict[str, Any]:
    """Return both profiles of a bond, and how they differ."""
    reference = relative([frame.info["gfn2"] for frame in frames])
    ours = relative([result.energy for result in potential.evaluate(frames, forces=False)])
    kept = reference < CLASH_KCAL
    error = ours - reference
    error -= error[kept].mean()
    return {
        "smiles": frames[0].info["smiles"],
        "atoms": [int(k) for k in frames[0].info["atoms"]],
        "bond": frames[0].info["symbols"],
        "angles": [frame.info["angle"] for frame in frames],
        "gfn2_kcal": reference.tolist(),
        "model_kcal": ours.tolist(),
        "mae_kcal": float(np.abs(error[kept]).mean()),
        "barrier_error_kcal": float(ours[kept].max() - reference[kept].max()),
        "left_out": int((~kept).sum()),
    }


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Draw the first twelve profiles."""
    figure, axes = plt.subplots(3, 4, figsize=(12, 8), layout="constrained")
    for axis, row in zip(axes.flat, found, strict=False):
        order = np.argsort(row["angles"])
        angles = np.array(row["angles"])[order]
        axis.plot(angles, np.array(row["gfn2_kcal"])[order], "k-", label="GFN2-xTB")
        axis.plot(angles, np.array(row["model_kcal"])[order], "C1o--", ms=3, label="potential")
        axis.set_title(f"{row['smiles'][:34]}\n{row['bond']}", fontsize=7)
    axes[0, 0].legend(fontsize=7)
    figure.supxlabel("angle")
    figure.supylabel("kcal/mol")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--bonds", type=int, default=50)
    parser.add_argument("--step", type=int, default=30, help="degrees")
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    groups = profiles(options.bonds, options.step)
    for model in options.models:
        potential = s3.load(model, dtype="float64")
        found = [measure(frames, potential) for frames in tqdm(groups, unit="bond")]
        result = {
            "bonds": len(found),
            "mae_kcal": float(np.mean([row["mae_kcal"] for row in found])),
            "mae_kcal_median": float(np.median([row["mae_kcal"] for row in found])),
            "barrier_mae_kcal": float(np.mean([abs(row["barrier_error_kcal"]) for row in found])),
        }
        path = write("torsions", model, result | {"each": found})
        draw(found, path.with_suffix(".png"))
        for name, value in result.items():
            print(f"{model.stem}, {name}: {value}")


if __name__ == "__main__":
    main()
