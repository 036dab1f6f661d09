"""Relaxed geometries and the order of conformers, against GFN2-xTB, for molecules never seen.

    python benchmarks/organic/relaxed.py MODEL [--molecules 100] [--conformers 4]

Each conformer of a force field is relaxed twice, by GFN2-xTB and by the potential, from the same
start; then the potential starts from the minimum of GFN2-xTB, too. Root mean square deviations are
over all atoms (Å) after superposition. Conformational energies are over the mean of a molecule's
conformers, each method at its own minima (kcal/mol). Interrupt it at will: molecules that are in
the results are not computed again. Writes ``results/relaxed_MODEL.json`` and a picture.
"""

import argparse
import hashlib
from pathlib import Path
from typing import Any

import ase
import ase.io
import matplotlib.pyplot as plt
import numpy as np
from ase.build import minimize_rotation_and_translation
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import LBFGS
from molecules import FILE
from rdkit import RDLogger
from scipy.stats import spearmanr
from subjects import KCAL, conformers, gfn2, measure_each, unseen_molecules

import se3set_mlip as s3

FMAX, STEPS = 0.02, 300


def relax(start: ase.Atoms, calculator: Calculator) -> tuple[ase.Atoms, float, bool]:
    """Return the relaxed atoms, their energy (eV), and whether they converged."""
    atoms = start.copy()
    atoms.calc = calculator
    converged = LBFGS(atoms, logfile=None).run(fmax=FMAX, steps=STEPS)
    return atoms, float(atoms.get_potential_energy()), bool(converged)


def relax_together(starts: list[ase.Atoms], potential: Any) -> list[tuple[ase.Atoms, float, bool]]:
    """Relax structures as :func:`relax` does, with one evaluation for all of them at each step."""
    made = [start.copy() for start in starts]
    optimisers = [LBFGS(atoms, logfile=None) for atoms in made]
    energies = [np.nan] * len(made)
    active = list(range(len(made)))
    for _ in range(STEPS + 1):
        found = potential.evaluate([made[k] for k in active], forces=True)
        for k, result in zip(list(active), found, strict=True):
            energies[k] = result.energy
            if np.linalg.norm(result.forces, axis=1).max() < FMAX:
                active.remove(k)
            else:
                made[k].calc = SinglePointCalculator(made[k], forces=result.forces)
                optimisers[k].step()
        if not active:
            break
    return [(made[k], energies[k], k not in active) for k in range(len(made))]


def minima(molecule: dict[str, Any], number: int) -> list[tuple[ase.Atoms, ase.Atoms]]:
    """Return conformers of a force field and what GFN2-xTB relaxes them to, computed once."""
    name = hashlib.sha256(f"{molecule['smiles']} {number}".encode()).hexdigest()[:16]
    path = FILE.parent / "minima" / f"{name}.xyz"
    if not path.exists():
        frames = []
        for start in conformers(molecule["smiles"], number)[1]:
            minimum, energy, converged = relax(start, gfn2(molecule["charge"]))
            minimum.calc = None
            minimum.info |= {"gfn2": energy, "converged": converged}
            frames += [start, minimum]
        path.parent.mkdir(parents=True, exist_ok=True)
        ase.io.write(path, frames, format="extxyz")
    read = ase.io.read(path, ":")
    return list(zip(read[::2], read[1::2], strict=True))


def deviation(atoms: ase.Atoms, reference: ase.Atoms) -> float:
    """Return the root mean square deviation after superposition, Å."""
    moved = atoms.copy()
    minimize_rotation_and_translation(reference, moved)
    return float(np.sqrt(((moved.positions - reference.positions) ** 2).sum(axis=1).mean()))


def measure(molecule: dict[str, Any], potential: Any, number: int) -> dict[str, Any]:
    """Return what was found for a molecule."""
    pairs = minima(molecule, number)
    starts = [start for start, _ in pairs]
    references = [minimum for _, minimum in pairs]
    relaxed = relax_together([*starts, *references], potential)
    rows = []
    for k, reference in enumerate(references):
        same, own_energy, own_converged = relaxed[k]
        near, _, _ = relaxed[len(pairs) + k]
        rows.append(
            {
                "rmsd": deviation(same, reference),
                "rmsd_from_minimum": deviation(near, reference),
                "gfn2_kcal": reference.info["gfn2"] / KCAL,
                "model_kcal": own_energy / KCAL,
                "converged": [bool(reference.info["converged"]), own_converged],
            }
        )
    return {"smiles": molecule["smiles"], "n_atoms": len(starts[0]), "conformers": rows}


def summary(molecules: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians, and the error and order of conformational energies."""
    rows = [row for molecule in molecules for row in molecule["conformers"]]
    errors, orders = [], []
    for molecule in molecules:
        pairs = np.array([[r["gfn2_kcal"], r["model_kcal"]] for r in molecule["conformers"]])
        if len(pairs) > 1:
            relative = pairs - pairs.mean(axis=0)
            errors += np.abs(relative[:, 1] - relative[:, 0]).tolist()
        if len(pairs) > 2:
            orders.append(float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic))
    return {
        "molecules": len(molecules),
        "conformers": len(rows),
        "rmsd_median": float(np.median([row["rmsd"] for row in rows])),
        "rmsd_from_minimum_median": float(np.median([row["rmsd_from_minimum"] for row in rows])),
        "rmsd_from_minimum_90_percent": float(
            np.quantile([row["rmsd_from_minimum"] for row in rows], 0.9)
        ),
        "conformer_mae_kcal": float(np.mean(errors)) if errors else None,
        "conformer_spearman_mean": float(np.mean(orders)) if orders else None,
        "not_converged": {
            "gfn2": sum(not row["converged"][0] for row in rows),
            "model": sum(not row["converged"][1] for row in rows),
        },
    }


def draw(molecules: list[dict[str, Any]], path: Path) -> None:
    """Draw deviations, and conformational energies of both."""
    rows = [row for molecule in molecules for row in molecule["conformers"]]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for name, label in (("rmsd_from_minimum", "from its minimum"), ("rmsd", "from one conformer")):
        left.plot(np.sort([r[name] for r in rows]), np.linspace(0, 1, len(rows)), label=label)
    left.set(xscale="log", xlabel="RMSD to GFN2-xTB, Å", ylabel="share of conformers")
    left.legend()
    for molecule in molecules:
        pairs = np.array([[r["gfn2_kcal"], r["model_kcal"]] for r in molecule["conformers"]])
        right.plot(*(pairs - pairs.mean(axis=0)).T, ".", ms=4, color="C0")
    right.axline((0, 0), slope=1, color="grey", lw=1)
    right.set(xlabel="GFN2-xTB, kcal/mol", ylabel="potential, kcal/mol", title="conformers")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--molecules", type=int, default=100)
    parser.add_argument("--conformers", type=int, default=4)
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    potential = s3.load(options.model)
    path, record = measure_each(
        "relaxed",
        options.model,
        unseen_molecules(options.molecules),
        lambda molecule: measure(molecule, potential, options.conformers),
        summary,
        conformers=options.conformers,
    )
    draw(record["each"], path.with_suffix(".png"))
    for name, value in summary(record["each"]).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
