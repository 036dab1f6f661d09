"""Which molecules: small ones, the building blocks of life, recombinations; the test's apart.

    python benchmarks/organic/molecules.py [--recombinations 1500] [--dimers 600]

Molecules of one scaffold (Bemis and Murcko 1996; of a molecule without rings: itself) go to one
part, training, validation or test. Scaffolds that many molecules share are for training (a
potential that never saw a pyridine would be of no use); a hash chooses for the others. Medicines of
the second list of ``data/drugs.smi`` are test molecules, and what shares their scaffold is too,
unless many do. Two molecules beside each other are of one part. The list goes to
``runs/organic/molecules.json``.
"""

import argparse
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rdkit import Chem, RDLogger
from rdkit.Chem import BRICS
from rdkit.Chem.Scaffolds import MurckoScaffold
from tqdm import tqdm

HERE = Path(__file__).parent
FILE = HERE.parents[1] / "runs" / "organic" / "molecules.json"
ELEMENTS = frozenset(("H", "C", "N", "O", "F", "P", "S", "Cl"))
SMALLEST, LARGEST = 8, 30
"""Heavy atoms of recombinations."""
HELD_OUT = {"validation": 4, "test": 14}
"""Per cent of the scaffolds that few share."""
COMMON = 20
"""So many molecules of one scaffold, and it is for training."""

SIDE_CHAINS = {
    "A": "C",
    "V": "C(C)C",
    "L": "CC(C)C",
    "I": "[C@@H](C)CC",
    "M": "CCSC",
    "F": "Cc1ccccc1",
    "Y": "Cc1ccc(O)cc1",
    "W": "Cc1c[nH]c2ccccc12",
    "S": "CO",
    "T": "[C@H](C)O",
    "C": "CS",
    "N": "CC(N)=O",
    "Q": "CCC(N)=O",
    "D": "CC(=O)O",
    "E": "CCC(=O)O",
    "K": "CCCCN",
    "R": "CCCNC(N)=N",
    "H": "Cc1c[nH]cn1",
}
CHARGED_SIDE_CHAINS = {
    "D-": "CC(=O)[O-]",
    "E-": "CCC(=O)[O-]",
    "K+": "CCCC[NH3+]",
    "R+": "CCCNC(N)=[NH2+]",
    "H+": "Cc1c[nH]c[nH+]1",
    "C-": "C[S-]",
}
GLYCINE, PROLINE = "NCC(=O)", "N1CCC[C@H]1C(=O)"
BASES = {
    "adenine": ("Nc1ncnc2[nH]cnc12", "Nc1ncnc2n({})cnc12"),
    "guanine": ("Nc1nc2[nH]cnc2c(=O)[nH]1", "Nc1nc2n({})cnc2c(=O)[nH]1"),
    "cytosine": ("Nc1cc[nH]c(=O)n1", "Nc1ccn({})c(=O)n1"),
    "thymine": ("Cc1c[nH]c(=O)[nH]c1=O", "Cc1cn({})c(=O)[nH]c1=O"),
    "uracil": ("O=c1cc[nH]c(=O)[nH]1", "O=c1ccn({})c(=O)[nH]1"),
}
ON_NITROGEN = {
    "methyl": "C",
    "ribose": "[C@@H]3O[C@H](CO)[C@@H](O)[C@H]3O",
    "deoxyribose": "[C@H]3C[C@H](O)[C@@H](CO)O3",
}
SUGARS_AND_PHOSPHATES = (
    "OC[C@H]1OC(O)[C@H](O)[C@@H]1O",
    "OC[C@H]1OC(O)C[C@@H]1O",
    "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O",
    "OC[C@H]1O[C@H](O)[C@H](O)[C@@H](O)[C@H]1O",
    "OC[C@]1(O)OC[C@@H](O)[C@@H](O)[C@@H]1O",
    "OCC(O)CO",
    "CC(=O)N[C@H]1C(O)O[C@H](CO)[C@@H](O)[C@@H]1O",
    "COP(=O)(O)O",
    "COP(=O)(O)OC",
    "COP(=O)([O-])OC",
    "COP(=O)(O)OP(=O)(O)OC",
)


@dataclass(frozen=True)
class Molecule:
    """A molecule, or two beside each other (``A.B``), and the part that it belongs to."""

    smiles: str
    charge: int
    source: str
    part: str
    heavy_atoms: int


def lines(path: Path, part: str | None = None) -> list[str]:
    """Return the SMILES of a file, or of the part of it below ``# part``."""
    found, current = [], None
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            current = line.removeprefix("#").strip()
        elif line.strip() and part in (None, current):
            found.append(line.split()[0])
    return found


def peptides() -> Iterator[tuple[str, str]]:
    """Yield one and two amino acids between acetyl and methylamide, and who they are."""

    def residue(chain: str) -> str:
        return f"N[C@@H]({chain})C(=O)"

    plain = {"G": GLYCINE, "P": PROLINE} | {k: residue(v) for k, v in SIDE_CHAINS.items()}
    charged = {name: residue(chain) for name, chain in CHARGED_SIDE_CHAINS.items()}
    for middle in (plain | charged).values():
        yield f"CC(=O){middle}NC", "amino acid"
    for first, second in itertools.product(plain.values(), repeat=2):
        yield f"CC(=O){first}{second}NC", "dipeptide"


def termini() -> Iterator[tuple[str, str]]:
    """Yield amino acids as a protein ends: an ammonium and a methylamide, an acetyl and an acid."""
    for chain in SIDE_CHAINS.values():
        yield f"[NH3+][C@@H]({chain})C(=O)NC", "terminus"
        yield f"CC(=O)N[C@@H]({chain})C(=O)[O-]", "terminus"
    yield "[NH3+]CC(=O)NC", "terminus"
    yield "CC(=O)NCC(=O)[O-]", "terminus"
    yield "CNC(=O)[C@@H]1CCC[NH2+]1", "terminus"
    yield "CC(=O)N1CCC[C@H]1C(=O)[O-]", "terminus"


def nucleosides() -> Iterator[tuple[str, str]]:
    """Yield bases, nucleosides, sugars and phosphates."""
    for base, bound in BASES.values():
        yield base, "nucleobase"
        for group in ON_NITROGEN.values():
            yield bound.format(group), "nucleobase" if group == "C" else "nucleoside"
    for smiles in SUGARS_AND_PHOSPHATES:
        yield smiles, "sugar or phosphate"


def recombinations(sources: Iterable[str], number: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield molecules put together from pieces of others, by the rules of BRICS."""
    pieces: set[str] = set()
    for smiles in sources:
        pieces |= BRICS.BRICSDecompose(Chem.MolFromSmiles(smiles))
    blocks = [Chem.MolFromSmiles(piece) for piece in sorted(pieces)]
    blocks = [block for block in blocks if 2 <= block.GetNumHeavyAtoms() <= 16]
    rng = np.random.default_rng(seed)
    found: set[str] = set()
    with tqdm(total=number, unit="molecule", desc="recombinations") as bar:
        while len(found) < number:
            chosen = [blocks[k] for k in rng.choice(len(blocks), size=6, replace=False)]
            built = BRICS.BRICSBuild(chosen, scrambleReagents=False, maxDepth=2)
            for made in itertools.islice(built, 12):
                made.UpdatePropertyCache(strict=False)
                smiles = Chem.MolToSmiles(made)
                mol = Chem.MolFromSmiles(smiles)
                if mol is None or not SMALLEST <= mol.GetNumHeavyAtoms() <= LARGEST:
                    continue
                if rng.random() < 0.25 and smiles not in found and len(found) < number:
                    found.add(smiles)
                    bar.update()
    for smiles in sorted(found):
        yield smiles, "recombination"


def scaffold(mol: Chem.Mol) -> str:
    """Return the scaffold without stereochemistry, or the molecule where it has no ring."""
    plain = Chem.Mol(mol)
    Chem.RemoveStereochemistry(plain)
    return MurckoScaffold.MurckoScaffoldSmiles(mol=plain) or Chem.MolToSmiles(plain)


def drawn_part(content: bytes, held_out: dict[str, int]) -> str:
    """Return the part that a hash draws: one of those held out, in per cent, or the training."""
    percent = int(hashlib.sha256(content).hexdigest(), 16) % 100
    limit = 0
    for part, share in held_out.items():
        limit += share
        if percent < limit:
            return part
    return "train"


def part_of(key: str, common: set[str], tests: set[str]) -> str:
    """Return the part of a scaffold."""
    if key in common:
        return "train"
    if key in tests:
        return "test"
    return drawn_part(key.encode(), HELD_OUT)


def usable(mol: Chem.Mol) -> bool:
    """Return whether a potential for closed shells and our elements can take a molecule."""
    atoms = list(mol.GetAtoms())
    return (
        {atom.GetSymbol() for atom in atoms} <= ELEMENTS
        and not any(atom.GetNumRadicalElectrons() for atom in atoms)
        and abs(Chem.GetFormalCharge(mol)) <= 1
    )


def pairs(singles: list[Molecule], number: int, seed: int) -> Iterator[Molecule]:
    """Yield two small molecules of one part beside each other."""
    rng = np.random.default_rng(seed)
    for part in ("train", *HELD_OUT):
        small = [m for m in singles if m.part == part and m.heavy_atoms <= 9]
        share = round(number * len([m for m in singles if m.part == part]) / len(singles))
        for _ in range(share if len(small) > 1 else 0):
            a, b = (small[k] for k in rng.choice(len(small), size=2, replace=False))
            if abs(a.charge + b.charge) <= 1:
                yield Molecule(
                    smiles=f"{a.smiles}.{b.smiles}",
                    charge=a.charge + b.charge,
                    source="two molecules",
                    part=part,
                    heavy_atoms=a.heavy_atoms + b.heavy_atoms,
                )


def gather(n_recombinations: int, n_pairs: int, seed: int) -> list[Molecule]:
    """Return all molecules, each once."""
    monomers, blocks = lines(HERE / "data" / "des_monomers.smi"), HERE / "data" / "drugs.smi"
    known, unseen = lines(blocks, "building blocks"), lines(blocks, "test")
    tests = {scaffold(Chem.MolFromSmiles(smiles)) for smiles in unseen}
    peptide = [smiles for smiles, _ in peptides()]
    named = itertools.chain(
        ((smiles, "monomer") for smiles in monomers),
        peptides(),
        nucleosides(),
        ((smiles, "medicine") for smiles in known),
        ((smiles, "test medicine") for smiles in unseen),
        recombinations([*monomers, *known, *peptide[:26]], n_recombinations, seed),
    )
    found: dict[str, tuple[Chem.Mol, str, str]] = {}
    for smiles, source in named:
        mol = Chem.MolFromSmiles(smiles)
        if mol is None:
            raise SystemExit(f"{smiles} ({source}) is no molecule; correct it")
        if usable(mol):
            found.setdefault(Chem.MolToSmiles(mol), (mol, source, scaffold(mol)))
    shared = Counter(key for _, _, key in found.values())
    common = {key for key, count in shared.items() if count >= COMMON}
    singles = [
        Molecule(
            smiles=name,
            charge=Chem.GetFormalCharge(mol),
            source=source,
            part="test" if source == "test medicine" else part_of(key, common, tests),
            heavy_atoms=mol.GetNumHeavyAtoms(),
        )
        for name, (mol, source, key) in found.items()
    ]
    return [*singles, *pairs(singles, n_pairs, seed)]


def main() -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recombinations", type=int, default=1500)
    parser.add_argument("--dimers", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=FILE)
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    found = gather(options.recombinations, options.dimers, options.seed)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    written = [asdict(molecule) for molecule in found]
    options.output.write_text(json.dumps(written, indent=0) + "\n", encoding="utf-8")
    for (source, part), count in sorted(Counter((m.source, m.part) for m in found).items()):
        print(f"{source:20s} {part:10s} {count}")


if __name__ == "__main__":
    main()
