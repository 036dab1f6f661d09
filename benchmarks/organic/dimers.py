"""Two molecules approaching each other: interaction energies against GFN2-xTB.

    python benchmarks/organic/dimers.py MODEL [--pairs 30]

Pairs of small test molecules, each rigid as a force field left it, face each other in random
directions; the closest atoms are 1.6 to 6 Å apart. The interaction energy is that of both less that
of each alone; ``attraction_kcal`` is its mean over the pairs that attract each other by GFN2-xTB,
neutral ones and those with a charged group apart. Writes ``results/dimers_MODEL.json`` and
``.png``.
"""

import argparse
from pathlib import Path
from typing import Any

import ase
import matplotlib.pyplot as plt
import numpy as np
from geometries import mapped_smiles
from judge import GROUPS
from rdkit import Chem, RDLogger
from scipy.spatial.transform import Rotation
from subjects import KCAL, atoms_of, conformers, gfn2, unseen_pairs, write
from tqdm import tqdm

import se3set_mlip as s3

GAPS_ANGSTROM = (1.6, 1.8, 2.0, 2.2, 2.5, 2.8, 3.2, 3.6, 4.2, 5.0, 6.0)
WALL_KCAL = 20.0
"""Above this interaction energy geometries are those of collisions, and counted apart."""


def at_gap(first: ase.Atoms, second: ase.Atoms, direction: np.ndarray, gap: float) -> ase.Atoms:
    """Return both, the second moved along a direction until the closest atoms are so far apart."""
    low, high = 0.0, 60.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        moved = second.positions + middle * direction
        closest = np.linalg.norm(first.positions[:, None] - moved[None], axis=-1).min()
        low, high = (low, middle) if closest > gap else (middle, high)
    both = first + second
    both.positions[len(first) :] += high * direction
    return both


def measure(smiles: str, potential: Any, rng: np.random.Generator) -> dict[str, Any] | None:
    """Return the curves of a pair."""
    parts, mols = [], []
    for name in smiles.split("."):
        mol, found = conformers(name, 1)
        if not found:
            return None
        centred = found[0].positions - found[0].positions.mean(axis=0)
        mols.append(mol)
        parts.append(atoms_of(mol, Rotation.random(rng=rng).apply(centred)))
    first, second = parts
    bonds = [
        first.info["mapped_smiles"],
        mapped_smiles(mols[1], first=len(first) + 1),
    ]
    direction = rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    frames = []
    for gap in GAPS_ANGSTROM:
        both = at_gap(first, second, direction, gap)
        both.info = {
            "charge": first.info["charge"] + second.info["charge"],
            "mapped_smiles": ".".join(bonds),
        }
        frames.append(both)
    reference = []
    for atoms in (*parts, *frames):
        atoms.calc = gfn2(atoms.info["charge"])
        reference.append(float(atoms.get_potential_energy()))
        atoms.calc = None
    ours = [result.energy for result in potential.evaluate([*parts, *frames], forces=False)]
    curves = [
        (np.array(energies[2:]) - energies[0] - energies[1]) / KCAL
        for energies in (reference, ours)
    ]
    return {
        "smiles": smiles,
        "gfn2_kcal": curves[0].tolist(),
        "model_kcal": curves[1].tolist(),
    }


def attraction(reference: np.ndarray, ours: np.ndarray) -> dict[str, dict[str, float]]:
    """Return mean energies (n_pairs, n_gaps), over those below zero by GFN2-xTB, by gap."""
    return {
        f"{gap:g}": {
            "gfn2": float(reference[chosen, k].mean()),
            "model": float(ours[chosen, k].mean()),
            "pairs": int(chosen.sum()),
        }
        for k, gap in enumerate(GAPS_ANGSTROM)
        if (chosen := reference[:, k] < 0.0).any()
    }


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--pairs", type=int, default=30)
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    potential = s3.load(options.model, dtype="float64")
    names = [pair["smiles"] for pair in unseen_pairs(options.pairs)]
    rng = np.random.default_rng(1)
    found = [
        row for row in (measure(name, potential, rng) for name in tqdm(names)) if row is not None
    ]
    reference = np.array([row["gfn2_kcal"] for row in found])
    ours = np.array([row["model_kcal"] for row in found])
    error = np.abs(ours - reference)
    apart = reference < WALL_KCAL
    mols = [Chem.MolFromSmiles(row["smiles"]) for row in found]
    neutral = np.array([not mol.HasSubstructMatch(GROUPS["charged"]) for mol in mols])
    result = {
        "pairs": len(found),
        "mae_kcal": float(error[apart].mean()),
        "mean_interaction_kcal": float(np.abs(reference[apart]).mean()),
        "by_gap": {
            f"{gap:g}": float(error[:, k][apart[:, k]].mean())
            for k, gap in enumerate(GAPS_ANGSTROM)
            if apart[:, k].any()
        },
        "attraction_kcal": {
            name: attraction(reference[chosen], ours[chosen])
            for name, chosen in (("neutral", neutral), ("with a charge", ~neutral))
        },
        "mae_neutral_kcal": float(error[apart & neutral[:, None]].mean()),
        "collisions_left_out": int((~apart).sum()),
    }
    path = write("dimers", options.model, result | {"gaps": GAPS_ANGSTROM, "each": found})
    figure, axes = plt.subplots(2, 4, figsize=(12, 5), layout="constrained")
    for axis, row in zip(axes.flat, found, strict=False):
        axis.plot(GAPS_ANGSTROM, row["gfn2_kcal"], "k-", label="GFN2-xTB")
        axis.plot(GAPS_ANGSTROM, row["model_kcal"], "C1o--", ms=3, label="potential")
        axis.set_ylim(min(-6.0, 1.3 * min(row["gfn2_kcal"])), 8.0)
        axis.set_title(row["smiles"][:40], fontsize=7)
    axes[0, 0].legend(fontsize=7)
    figure.supxlabel("closest atoms, Å")
    figure.supylabel("kcal/mol")
    figure.savefig(path.with_suffix(".png"), dpi=120)
    for name, value in result.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
