r"""Active learning: of molecules without labels, those that a committee is least sure of.

    python benchmarks/organic/active.py MODEL MODEL ... --choose 500 --round 1
    python benchmarks/organic/sample.py --molecules runs/organic/active_1/molecules.json \
        --output runs/organic/active_1 --atoms 160
    se3set label runs/organic/active_1/train.xyz -o runs/organic/train_active_1_gfn2.xyz

Candidates are the molecules of the training part that have no geometry yet, and ions of those that
have: a proton more or less. What the committee says is computed at one conformer of each and at a
geometry that a force field shakes at 600 K; a molecule counts as unsure as its most unsure atom.
Whether that finds what is learned badly is seen from labels of the chosen and of as many drawn at
random; ``results/active_ROUND.json``. Query by committee: H. S. Seung et al. 1992.
"""

import argparse
import json
from dataclasses import asdict
from typing import Any

import ase
import numpy as np
from geometries import Made, Shapes
from molecules import FILE, HELD_OUT, Molecule, drawn_part, scaffold, usable
from numpy.typing import NDArray
from pool import processes
from rdkit import Chem, RDLogger
from rdkit.Chem import AllChem
from subjects import RESULTS, gfn2, write_result
from tqdm import tqdm

import se3set_mlip as s3

SHAKEN_K = 600.0
PROTON_MOVES = {
    "[NX3;!$(N~[!#6;!#1]);!$(N-[C,c]=,:*);!$(N-C#N);+0:1]>>[N+:1]": "amine",
    "[n;X2;+0:1]>>[nH+:1]": "aromatic nitrogen",
    "[NX2;+0;$(N=C-N):1]>>[NH+:1]": "amidine",
    "[OX2H1;$(O-C=O),$(O-P),$(O-S(=O)=O),$(O-c):1]>>[O-:1]": "acid or phenol",
    "[SX2H1:1]>>[S-:1]": "thiol",
    "[NX3H1;$(N(S(=O)=O)),$(N(C=O)C=O):1]>>[N-:1]": "sulfonamide or imide",
}


def ions(molecule: dict[str, Any], parts: dict[str, str], part: str = "train") -> list[Molecule]:
    """Return a molecule with a proton more or less, where its scaffold is one of this part."""
    mol = Chem.MolFromSmiles(molecule["smiles"])
    found: dict[str, Molecule] = {}
    for smarts in PROTON_MOVES:
        for (made,) in AllChem.ReactionFromSmarts(smarts).RunReactants((mol,)):
            try:
                Chem.SanitizeMol(made)
            except Chem.MolSanitizeException:
                continue
            smiles = Chem.MolToSmiles(made)
            ion = Chem.MolFromSmiles(smiles)
            if ion is None or not usable(ion) or Chem.GetFormalCharge(ion) == 0:
                continue
            key = scaffold(ion)
            if part_of_scaffold(key, parts) != part:
                continue
            found[smiles] = Molecule(
                smiles=smiles,
                charge=Chem.GetFormalCharge(ion),
                source="ion",
                part=part,
                heavy_atoms=ion.GetNumHeavyAtoms(),
            )
    return list(found.values())


def scaffold_parts(known: list[dict[str, Any]]) -> dict[str, str]:
    """Return the part of each scaffold; common ones, which medicines may have, are for training."""
    found: dict[str, str] = {}
    for molecule in sorted(known, key=lambda m: m["part"] == "train"):
        for smiles in molecule["smiles"].split("."):
            found[scaffold(Chem.MolFromSmiles(smiles))] = molecule["part"]
    return found


def part_of_scaffold(key: str, parts: dict[str, str]) -> str:
    """Return the part of a scaffold: the known one, or what a hash draws for a new one."""
    return parts.get(key, drawn_part(key.encode(), HELD_OUT))


def one_ion_each(
    molecules: list[dict[str, Any]],
    known: list[dict[str, Any]],
    part: str,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Return a new ion of each neutral molecule of a part, where its scaffold is of that part."""
    parts = scaffold_parts(known)
    names = {m["smiles"] for m in known}
    found = []
    for molecule in molecules:
        if molecule["part"] != part or molecule["charge"] or "." in molecule["smiles"]:
            continue
        made = [ion for ion in ions(molecule, parts, part) if ion.smiles not in names]
        if made:
            chosen = made[rng.integers(len(made))]
            names.add(chosen.smiles)
            found.append(asdict(chosen))
    return found


def candidates(known: list[dict[str, Any]], done: set[int], seed: int) -> list[dict[str, Any]]:
    """Return the molecules to choose from, one ion of each neutral molecule that is done."""
    rng = np.random.default_rng(seed)
    new = [m for k, m in enumerate(known) if m["part"] == "train" and k not in done]
    return new + one_ion_each([known[k] for k in sorted(done)], known, "train", rng)


def shapes_of(task: tuple[dict[str, Any], int, int]) -> list[ase.Atoms]:
    """Return a conformer of a molecule and a shaken geometry; nothing if there is no conformer."""
    molecule, place, seed = task
    RDLogger.DisableLog("rdApp.*")
    try:
        shapes = Shapes(molecule["smiles"], np.random.default_rng([seed, place]))
    except (ValueError, RuntimeError):
        return []
    made = [Made(shapes.conformers[0], "conformer"), *shaken(shapes)]
    found = []
    for geometry in made:
        atoms = ase.Atoms(shapes.numbers, geometry.positions)
        atoms.info |= {
            "place": place,
            "kind": geometry.kind,
            "charge": molecule["charge"],
            "mapped_smiles": shapes.mapped_smiles,
        }
        found.append(atoms)
    return found


def shaken(shapes: Shapes) -> list[Made]:
    """Return the first geometry of a force field's dynamics, if it is whole."""
    first = next(shapes.dynamics(0, SHAKEN_K, far=1), None)
    return [] if first is None else [first]


def all_shapes(molecules: list[dict[str, Any]], seed: int) -> list[ase.Atoms]:
    """Return geometries of all molecules, over all cores."""
    tasks = [(molecule, place, seed) for place, molecule in enumerate(molecules)]
    with processes() as pool:
        found = tqdm(pool.map(shapes_of, tasks, chunksize=8), total=len(tasks), unit="molecule")
        return [atoms for frames in found for atoms in frames]


def worst(frames: list[ase.Atoms], values: list[float], n: int) -> NDArray[np.float64]:
    """Return the largest value of each molecule, NaN where it has no geometry."""
    found = np.full(n, np.nan)
    for frame, value in zip(frames, values, strict=True):
        place = frame.info["place"]
        found[place] = np.fmax(found[place], value)
    return found


def errors(potential: Any, frames: list[ase.Atoms], places: set[int]) -> dict[str, float]:
    """Return mean errors at the geometries of some molecules."""
    forces, energies = [], []
    for frame in tqdm([f for f in frames if f.info["place"] in places], unit="label"):
        labelled = frame.copy()
        labelled.calc = gfn2(frame.info["charge"])
        found = potential.evaluate(frame, forces=True)
        forces.append(np.abs(found.forces - labelled.get_forces()).mean())
        energies.append(abs(found.energy - labelled.get_potential_energy()) / len(frame))
    return {
        "force_mae": 1000.0 * float(np.mean(forces)),
        "energy_mae_per_atom": 1000.0 * float(np.mean(energies)),
        "geometries": len(forces),
    }


def main() -> None:
    """Choose, and write the list and what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="+", help="names or files, two or more")
    parser.add_argument("--candidates", type=int, default=2000, help="so many at most, at random")
    parser.add_argument("--choose", type=int, default=500)
    parser.add_argument("--checked", type=int, default=60, help="so many of each are labelled")
    parser.add_argument("--round", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    known = json.loads(FILE.read_text(encoding="utf-8"))
    done = {int(path.stem) for path in (FILE.parent / "geometries").glob("*.*")}
    pool = candidates(known, done, options.seed)
    rng = np.random.default_rng(options.seed)
    if len(pool) > options.candidates:
        pool = [pool[k] for k in rng.choice(len(pool), options.candidates, replace=False)]
    frames = all_shapes(pool, options.seed)
    committee = s3.Committee([s3.load(model) for model in options.models])
    found = committee.evaluate(frames, forces=True, batch_size=16, progress=True)
    spreads = [float(evaluation.forces_std_norm.max()) for evaluation in found]
    unsure = worst(frames, spreads, len(pool))
    order = [int(k) for k in np.argsort(-unsure) if np.isfinite(unsure[k])]
    chosen = order[: options.choose]
    groups = {
        "chosen": rng.permutation(chosen)[: options.checked],
        "at random": rng.permutation(order)[: options.checked],
    }
    first = committee.members[0]
    measured = {
        name: errors(first, frames, {int(k) for k in places}) for name, places in groups.items()
    }
    folder = FILE.parent / f"active_{options.round}"
    folder.mkdir(parents=True, exist_ok=True)
    taken = [pool[k] for k in chosen]
    (folder / "molecules.json").write_text(json.dumps(taken, indent=0) + "\n", encoding="utf-8")
    sources = sorted({molecule["source"] for molecule in pool})
    record = {
        "models": [str(model) for model in options.models],
        "candidates": len(order),
        "chosen": len(chosen),
        "spread_median": float(np.nanmedian(unsure)),
        "spread_least_chosen": float(unsure[chosen[-1]]),
        "share_chosen": {
            source: [
                sum(pool[k]["source"] == source for k in chosen),
                sum(pool[k]["source"] == source for k in order),
            ]
            for source in sources
        },
        "errors_of_first": measured,
    }
    write_result(RESULTS / f"active_{options.round}.json", record)
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
