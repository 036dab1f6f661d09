"""Training molecules with groups of phosphorus and sulfur instead of a hydrogen: a list of them.

    python benchmarks/organic/decorated.py --molecules 1500
    python benchmarks/organic/sample.py --molecules runs/organic/decorated/molecules.json \
        --output runs/organic/decorated --atoms 120
    se3set label runs/organic/decorated/train.xyz -o runs/organic/train_decorated_gfn2.xyz

The parents are monomers, medicines, nucleosides and recombinations of the training part. No
molecule has a scaffold of the validation or test molecules of ``molecules.py``.
"""

import argparse
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
from molecules import FILE, Molecule, scaffold, usable
from rdkit import Chem, RDLogger
from small import held_scaffolds

SULFUR = (
    "S",
    "SC",
    "SCC(N)=O",
    "SSC",
    "SC#N",
    "SC(F)(F)F",
    "S(C)=O",
    "S(C)(=O)=O",
    "S(C)(=N)=O",
    "S(N)(=O)=O",
    "S(=O)(=O)NC",
    "S(=O)(=O)N(C)C",
    "S(=O)(=O)O",
    "S(=O)(=O)[O-]",
    "S(=O)(=O)OC",
    "OS(=O)(=O)[O-]",
    "S(=O)(=O)F",
    "S(=O)(=O)Cl",
    "NS(C)(=O)=O",
    "NS(N)(=O)=O",
    "C(N)=S",
    "C(=S)NC",
    "NC(N)=S",
    "N=C=S",
    "C(=O)SC",
    "C(=O)S",
    "C(=S)OC",
    "C(=S)SC",
    "CS",
    "CSC",
    "[S-]",
    "[S+](C)C",
    "c1cccs1",
    "c1nccs1",
    "c1nncs1",
    "C1SCCS1",
    "C1CSCN1",
    "C1CCCS1",
)
PHOSPHORUS = (
    "P(=O)(O)O",
    "P(=O)([O-])O",
    "P(=O)(OC)OC",
    "P(=O)(C)O",
    "P(=O)(C)[O-]",
    "P(C)(C)=O",
    "P(C)(C)=S",
    "P(C)C",
    "P",
    "PC",
    "P(OC)OC",
    "P(Cl)Cl",
    "P(=O)(Cl)OC",
    "P(=O)(N(C)C)N(C)C",
    "P(=O)(N)OC",
    "OP(=O)(O)O",
    "OP(=O)([O-])O",
    "OP(=O)([O-])OC",
    "OP(=O)(OC)OC",
    "OP(=O)(C)OC",
    "OP(=O)(C)[O-]",
    "OP(OC)OC",
    "OP(=S)(OC)OC",
    "OP(=S)([O-])OC",
    "OP(=O)(O)OP(=O)([O-])O",
    "SP(=O)(OC)OC",
    "SP(=S)(OC)OC",
    "NP(=O)(OC)OC",
    "NP(=O)(O)O",
    "NP(C)(C)=O",
    "N=P(C)(C)C",
    "CP(=O)(O)O",
    "CP(=O)([O-])O",
    "CP(C)C",
    "C=P(C)(C)C",
    "[P+](C)(C)C",
)
"""Bound by their first atom."""
SOURCES = ("monomer", "medicine", "nucleoside", "nucleobase", "sugar or phosphate", "recombination")
LARGEST = 14
"""Heavy atoms of the parents, but for nucleosides."""


def decorated(smiles: str, group: str, rng: np.random.Generator) -> Chem.Mol | None:
    """Return a molecule with a group in the place of one of its hydrogens, None if that fails."""
    parent, added = Chem.MolFromSmiles(smiles), Chem.MolFromSmiles(group)
    places = [
        atom.GetIdx()
        for atom in parent.GetAtoms()
        if atom.GetTotalNumHs() and (atom.GetSymbol() == "C" or group[0] not in "ON")
    ]
    if not places:
        return None
    both = Chem.RWMol(Chem.CombineMols(parent, added))
    place, first = int(rng.choice(places)), parent.GetNumAtoms()
    atom = both.GetAtomWithIdx(place)
    if atom.GetNumExplicitHs():
        atom.SetNumExplicitHs(atom.GetNumExplicitHs() - 1)
    atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    both.AddBond(place, first, Chem.BondType.SINGLE)
    try:
        Chem.SanitizeMol(both)
    except Chem.MolSanitizeException:
        return None
    return Chem.MolFromSmiles(Chem.MolToSmiles(both))


def gather(number: int, seed: int) -> list[Molecule]:
    """Return so many molecules, half of them with phosphorus."""
    known = json.loads(FILE.read_text(encoding="utf-8"))
    held = held_scaffolds()
    parents = [
        molecule["smiles"]
        for molecule in known
        if molecule["part"] == "train"
        and molecule["source"] in SOURCES
        and (molecule["heavy_atoms"] <= LARGEST or molecule["source"] == "nucleoside")
    ]
    rng = np.random.default_rng(seed)
    found: dict[str, Molecule] = {}
    while len(found) < number:
        groups = PHOSPHORUS if len(found) % 2 else SULFUR
        group = groups[rng.integers(len(groups))]
        mol = decorated(parents[rng.integers(len(parents))], group, rng)
        if mol is None or not usable(mol) or scaffold(mol) in held:
            continue
        smiles = Chem.MolToSmiles(mol)
        found[smiles] = Molecule(
            smiles=smiles,
            charge=Chem.GetFormalCharge(mol),
            source="decorated",
            part="train",
            heavy_atoms=mol.GetNumHeavyAtoms(),
        )
    return list(found.values())


def main() -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--molecules", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=FILE.parent / "decorated" / FILE.name)
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    found = gather(options.molecules, options.seed)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    written = [asdict(molecule) for molecule in found]
    options.output.write_text(json.dumps(written, indent=0) + "\n", encoding="utf-8")
    print(f"{options.output}: {len(found)} molecules, by charge {Counter(m.charge for m in found)}")


if __name__ == "__main__":
    main()
