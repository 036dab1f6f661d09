"""Two molecules bound to each other: geometry and binding energy against GFN2-xTB.

    python benchmarks/organic/complexes.py MODEL [--pairs 40]

Pairs of small test molecules are brought together by a force field and relaxed by GFN2-xTB; the
potential relaxes from there. The binding energy is that of both less that of each alone, relaxed
from what it is in the pair; each method at its own minima (kcal/mol). Deviations (RMSD, Å) are over
all atoms after superposition. Interrupt it at will: pairs that are in the results are not computed
again. Writes ``results/complexes_MODEL.json`` and a picture.
"""

import argparse
from pathlib import Path
from typing import Any

import ase
import matplotlib.pyplot as plt
import numpy as np
from geometries import Shapes
from rdkit import Chem, RDLogger
from rdkit.Chem import rdForceFieldHelpers
from relaxed import deviation, relax, relax_together
from subjects import KCAL, atoms_of, gfn2, measure_each, unseen_pairs

import se3set_mlip as s3
from se3set_mlip.structures import settled

SETTLING_STEPS = 500


def parts_of(both: ase.Atoms, shapes: Shapes) -> list[ase.Atoms]:
    """Return the molecules of a pair as they are in it."""
    mols = Chem.GetMolFrags(shapes.mol, asMols=True)
    return [
        atoms_of(mol, both.positions[list(atoms)])
        for mol, atoms in zip(mols, shapes.molecules, strict=True)
    ]


def measure(molecule: dict[str, Any], potential: Any) -> dict[str, Any]:
    """Return what was found for a pair; only why, where there is nothing to compare."""
    smiles = molecule["smiles"]
    try:
        shapes = Shapes(smiles, np.random.default_rng(1))
    except ValueError as error:
        return {"smiles": smiles, "left_out": str(error)}
    if not rdForceFieldHelpers.MMFFHasAllMoleculeParams(shapes.mol):
        return {"smiles": smiles, "left_out": "the force field has no parameters"}
    positions = settled(shapes.mol, shapes.conformers[0], steps=SETTLING_STEPS)
    start = atoms_of(shapes.mol, positions)
    reference, energy, converged = relax(start, gfn2(shapes.charge))
    if not shapes.bonds.whole(reference.positions):
        return {"smiles": smiles, "left_out": "GFN2-xTB moves a proton or breaks a bond"}
    reference.calc = None
    alone = parts_of(reference, shapes)
    apart = [relax(atoms, gfn2(atoms.info["charge"]))[1] for atoms in alone]
    ours = relax_together([reference, *alone], potential)
    return {
        "smiles": smiles,
        "n_atoms": len(reference),
        "charge": shapes.charge,
        "rmsd": deviation(ours[0][0], reference),
        "gfn2_kcal": (energy - sum(apart)) / KCAL,
        "model_kcal": (ours[0][1] - ours[1][1] - ours[2][1]) / KCAL,
        "converged": [converged, ours[0][2]],
    }


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians and means."""
    rows = [row for row in found if "left_out" not in row]
    bound = np.array([[row["gfn2_kcal"], row["model_kcal"]] for row in rows]).reshape(-1, 2)
    deviations = [row["rmsd"] for row in rows]
    return {
        "pairs": len(rows),
        "left_out": len(found) - len(rows),
        "rmsd_median": float(np.median(deviations)) if rows else None,
        "rmsd_90_percent": float(np.quantile(deviations, 0.9)) if rows else None,
        "binding_gfn2_mean_kcal": float(bound[:, 0].mean()) if rows else None,
        "binding_mae_kcal": float(np.abs(bound[:, 1] - bound[:, 0]).mean()) if rows else None,
        "binding_mean_error_kcal": float((bound[:, 1] - bound[:, 0]).mean()) if rows else None,
        "not_converged": {
            name: sum(not row["converged"][k] for row in rows)
            for k, name in enumerate(("gfn2", "model"))
        },
    }


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Draw binding energies, and deviations."""
    rows = [row for row in found if "left_out" not in row]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for neutral, label in ((True, "neutral"), (False, "with a charge")):
        chosen = [row for row in rows if (row["charge"] == 0) == neutral]
        energies = np.array([[row["gfn2_kcal"], row["model_kcal"]] for row in chosen])
        left.plot(*energies.reshape(-1, 2).T, "o", ms=4, label=label)
    left.axline((0, 0), slope=1, color="grey", lw=1)
    left.set(xlabel="GFN2-xTB, kcal/mol", ylabel="potential, kcal/mol", title="binding energy")
    left.legend()
    deviations = np.sort([row["rmsd"] for row in rows])
    right.plot(deviations, np.linspace(0, 1, len(rows)))
    right.set(xscale="log", xlabel="RMSD to GFN2-xTB, Å", ylabel="share of pairs")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--pairs", type=int, default=40)
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    potential = s3.load(options.model)
    path, record = measure_each(
        "complexes",
        options.model,
        unseen_pairs(options.pairs),
        lambda molecule: measure(molecule, potential),
        summary,
    )
    draw(record["each"], path.with_suffix(".png"))
    for name, value in summary(record["each"]).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
