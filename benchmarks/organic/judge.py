"""Errors on molecules that were never seen: by size, element, kind of molecule and of geometry.

    python benchmarks/organic/judge.py MODEL.safetensors [--part test]

``--part validation`` while choosing, ``test`` once. Writes ``results/NAME_PART.json`` and ``.png``;
structures of another folder, such as those of ``ions.py``, go to ``results/NAME_FOLDER_PART``.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ase
import ase.io
import matplotlib.pyplot as plt
import numpy as np
from molecules import FILE
from numpy.typing import NDArray
from rdkit import Chem
from train import labelled

import se3set_mlip as s3
from se3set_mlip.elements import symbol

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from provenance import write_result  # noqa: E402 - needs the path above

SIZES = (10, 20, 30, 40, 60)
GROUPS = {
    name: Chem.MolFromSmarts(smarts)
    for name, smarts in {
        "alcohol, ether": "[OX2;!$(OC=O);!$(OP);!$(OS)]",
        "carbonyl": "[CX3]=[OX1]",
        "amide": "[NX3][CX3]=[OX1]",
        "amine": "[NX3;!$(N[C,S,P]=[O,S]);!$(N~[O-])]",
        "aromatic carbon": "[c]",
        "aromatic nitrogen": "[n]",
        "nitrile, alkyne": "[C]#[C,N]",
        "alkene": "[CX3]=[CX3]",
        "halogen": "[F,Cl]",
        "phosphorus": "[P]",
        "sulfur": "[#16]",
        "charged": "[+,-;!$([N+][O-]);!$([O-][N+])]",
    }.items()
}


def measures(errors: Iterable[NDArray[np.float64]], energies: Iterable[float]) -> dict[str, Any]:
    """Return mean errors of forces (meV/Å) and of energies per atom (meV)."""
    flat = 1000.0 * np.concatenate([np.ravel(error) for error in errors])
    per_atom = 1000.0 * np.array(list(energies))
    return {
        "force_mae": float(np.abs(flat).mean()),
        "force_rmse": float(np.sqrt(np.mean(flat**2))),
        "energy_mae_per_atom": float(np.abs(per_atom).mean()) if len(per_atom) else None,
        "n": len(per_atom) or len(flat) // 3,
    }


def labels_of(frame: ase.Atoms) -> list[tuple[str, str]]:
    """Return the classes that a structure belongs to."""
    mol = Chem.MolFromSmiles(frame.info["smiles"])
    size = next((limit for limit in SIZES if len(frame) <= limit), None)
    found = [
        ("atoms", f"up to {size}" if size else f"more than {SIZES[-1]}"),
        ("molecule", frame.info["source"]),
        ("geometry", frame.info["kind"]),
    ]
    return found + [
        ("group", name) for name, pattern in GROUPS.items() if mol.HasSubstructMatch(pattern)
    ]


def judge(potential: Any, frames: list[ase.Atoms]) -> dict[str, Any]:
    """Return the errors of all, and of each class."""
    results = potential.evaluate(frames, forces=True, batch_size=16, progress=True)
    classes: dict[tuple[str, str], list[int]] = defaultdict(list)
    by_element: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    errors, energies = [], []
    for k, (frame, result) in enumerate(zip(frames, results, strict=True)):
        error = result.forces - frame.arrays["REF_forces"]
        errors.append(error)
        energies.append((result.energy - frame.info["REF_energy"]) / len(frame))
        for label in labels_of(frame):
            classes[label].append(k)
        for number in set(frame.numbers.tolist()):
            by_element[symbol(number)].append(error[frame.numbers == number])
    found: dict[str, Any] = {"all": measures(errors, energies)}
    for (kind, name), members in sorted(classes.items()):
        part = measures([errors[k] for k in members], [energies[k] for k in members])
        found.setdefault(kind, {})[name] = part
    found["element"] = {name: measures(parts, []) for name, parts in sorted(by_element.items())}
    found["molecules"] = len({frame.info["smiles"] for frame in frames})
    return found


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw the force errors of all classes."""
    kinds = [
        kind for kind in ("atoms", "element", "group", "molecule", "geometry") if kind in found
    ]
    figure, axes = plt.subplots(1, len(kinds), figsize=(3.2 * len(kinds), 4), layout="constrained")
    for axis, kind in zip(np.atleast_1d(axes), kinds, strict=True):
        names = list(found[kind])
        axis.barh(names, [found[kind][name]["force_mae"] for name in names])
        axis.axvline(found["all"]["force_mae"], color="grey", lw=1)
        axis.set(title=kind, xlabel="force MAE, meV/Å")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Evaluate, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--part", choices=["validation", "test"], default="validation")
    parser.add_argument("--data", type=Path, default=FILE.parent)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    options = parser.parse_args()
    files = labelled(options.data, options.part)
    frames = [frame for path in files for frame in ase.io.read(path, ":")]
    found = judge(s3.load(options.model), frames)
    other = "" if options.data.resolve() == FILE.parent.resolve() else f"_{options.data.name}"
    path = options.results / f"{options.model.stem}{other}_{options.part}.json"
    write_result(path, found)
    draw(found, path.with_suffix(".png"))
    print(json.dumps(found["all"], indent=1))


if __name__ == "__main__":
    main()
