"""Molecules to measure a potential on, none of them of its training; and where results go."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase import units
from geometries import mapped_smiles
from molecules import FILE
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
from safetensors import safe_open
from tblite.ase import TBLite
from tqdm import tqdm

from se3set_mlip.shipped import find_model

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from provenance import write_result  # noqa: E402 - needs the path above

RESULTS = HERE / "results"
KCAL = units.kcal / units.mol
"""A kcal/mol in eV."""
DRUG_LIKE = (10, 35)
"""Heavy atoms."""
LARGE = 100
"""From so many atoms on distance geometry starts from random coordinates."""


def unseen_molecules(number: int, seed: int = 1) -> list[dict[str, Any]]:
    """Return drug-like molecules of the test part: all medicines first, then others at random.

    Raises
    ------
    SystemExit
        If there are not so many.
    """
    if not FILE.exists():
        raise SystemExit(f"there is no {FILE}; run molecules.py first")
    known = json.loads(FILE.read_text(encoding="utf-8"))
    found = [
        molecule
        for molecule in known
        if molecule["part"] == "test"
        and DRUG_LIKE[0] <= molecule["heavy_atoms"] <= DRUG_LIKE[1]
        and "." not in molecule["smiles"]
    ]
    order = np.random.default_rng(seed).permutation(len(found))
    mixed = [found[k] for k in order]
    chosen = sorted(mixed, key=lambda molecule: "medicine" not in molecule["source"])[:number]
    if len(chosen) < number:
        raise SystemExit(f"there are {len(chosen)} test molecules, {number} were asked for")
    return chosen


def unseen_pairs(number: int) -> list[dict[str, Any]]:
    """Return the first pairs of small molecules of the test part."""
    known = json.loads(FILE.read_text(encoding="utf-8"))
    found = [m for m in known if m["part"] == "test" and m["source"] == "two molecules"]
    return found[:number]


def conformers(smiles: str, number: int, *, seed: int = 1) -> tuple[Chem.Mol, list[ase.Atoms]]:
    """Return a molecule and conformers that differ, relaxed by a force field where one fits."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    parameters = rdDistGeom.ETKDGv3()
    parameters.randomSeed = seed
    parameters.pruneRmsThresh = 0.5
    parameters.useRandomCoords = mol.GetNumAtoms() > LARGE
    ids = list(rdDistGeom.EmbedMultipleConfs(mol, number, parameters))
    if ids and rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(mol, maxIters=500)
    return mol, [atoms_of(mol, mol.GetConformer(k).GetPositions()) for k in ids]


def atoms_of(mol: Chem.Mol, positions: NDArray[np.float64], *, first: int = 1) -> ase.Atoms:
    """Return atoms that state charge and bonds, numbered from ``first`` on."""
    atoms = ase.Atoms([atom.GetAtomicNum() for atom in mol.GetAtoms()], np.array(positions))
    atoms.info["charge"] = Chem.GetFormalCharge(mol)
    atoms.info["mapped_smiles"] = mapped_smiles(mol, first=first)
    return atoms


def gfn2(charge: int) -> TBLite:
    """Return a calculator of GFN2-xTB."""
    return TBLite(method="GFN2-xTB", charge=charge, verbosity=0)


def write(name: str, model: Path, found: dict[str, Any]) -> Path:
    """Write what was found, and what found it; return the file."""
    path = RESULTS / f"{name}_{model.stem}.json"
    write_result(path, found)
    return path


def weights_of(model: Path) -> str:
    """Return the hash that a checkpoint has of its weights."""
    with safe_open(find_model(model), "pt") as file:
        return str(file.metadata()["weights_sha256"])


def measure_each(
    name: str,
    model: Path,
    molecules: list[dict[str, Any]],
    measure: Callable[[dict[str, Any]], dict[str, Any]],
    summary: Callable[[list[dict[str, Any]]], dict[str, Any]],
    **asked: Any,
) -> tuple[Path, dict[str, Any]]:
    """Measure what an interrupted run left, if that was asked the same; write after each molecule.

    What other weights of the same name were asked is measured again.

    Returns the file, and the last summary with all molecules as ``each``.
    """
    path = RESULTS / f"{name}_{model.stem}.json"
    asked["weights_sha256"] = weights_of(model)
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if any(record.get(f"asked_{key}") != value for key, value in asked.items()):
        record = {}
    each = record.get("each", [])
    known = {row["smiles"] for row in each}
    for molecule in tqdm(molecules, unit="molecule"):
        if molecule["smiles"] not in known:
            each.append(measure(molecule))
            settings = {f"asked_{key}": value for key, value in asked.items()}
            record = settings | summary(each) | {"each": each}
            write(name, model, record)
    return path, record
