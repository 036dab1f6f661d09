"""Judges that no one here wrote, ml-peg and mlipaudit, on a model of this package.

    python benchmarks/trust/outside.py models/acetylacetone.safetensors

Both live in environments of their own (README.md), and ask our calculator, which stays in this one,
through a pipe. What they found goes to ``results/outside_*.json``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import yaml
from ase import Atoms, units
from rdkit import Chem
from rdkit.Geometry import Point3D

from se3set_mlip.elements import SYMBOLS
from se3set_mlip.potential.checkpoint import load_checkpoint
from se3set_mlip.topology.molecule import Topology

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS = HERE / "results"
REFERENCES = ROOT / "benchmarks" / "acetylacetone" / "data"
TARGET = "se3set_mlip.engines.ase_calculator:SE3SetCalculator"
TORSION = (2, 1, 3, 4)


def molecule(atoms: Atoms) -> dict[str, Any]:
    """Return a structure as mlipaudit's files of reference geometries have it."""
    return {
        "atom_symbols": atoms.get_chemical_symbols(),
        "coordinates": atoms.positions.tolist(),
        "smiles": "CC(=O)C=C(C)O",
        "charge": 0,
    }


def pdb_with_bonds(atoms: Atoms) -> str:
    """Return a PDB file with the bonds as CONECT records, one residue."""
    topology = Topology.from_coordinates(atoms.numbers, atoms.positions, 0)
    editable = Chem.RWMol()
    conformer = Chem.Conformer(len(atoms))
    for k, (number, position) in enumerate(zip(atoms.numbers, atoms.positions, strict=True)):
        editable.AddAtom(Chem.Atom(int(number)))
        conformer.SetAtomPosition(k, Point3D(*position.tolist()))
    for i, j in topology.bonds:
        editable.AddBond(i, j, Chem.BondType.SINGLE)
    editable.AddConformer(conformer)
    return str(Chem.MolToPDBBlock(editable, flavor=4))


def write_mlipaudit_data(folder: Path) -> None:
    """Write acetylacetone as the input of four benchmarks of mlipaudit."""
    ends = ase.io.read(REFERENCES / "test_H_transfer.xyz", index=":")
    start = ase.io.read(ROOT / "models" / "acetylacetone.xyz")
    start.info, start.calc = {}, None
    for name in ("nve_energy_conservation", "stability"):
        (folder / name).mkdir()
        ase.io.write(folder / name / "small_molecule_HCNO.xyz", start, format="xyz")
    (folder / "stability" / "small_molecule_HCNO.pdb").write_text(pdb_with_bonds(start))
    geometries = folder / "reference_geometry_stability"
    geometries.mkdir()
    # Two sets are read, and neither may be empty: one end of the path for each.
    for name, end in (("openff_n200_neutral", ends[0]), ("openff_n20_charged", ends[-1])):
        (geometries / f"{name}.json").write_text(json.dumps({"acetylacetone": molecule(end)}))
    scan = ase.io.read(REFERENCES / "test_dihedral.xyz", index=":")
    energies = np.array([atoms.get_potential_energy() for atoms in scan])
    energies = (energies - energies.min()) / (units.kcal / units.mol)
    angles = [atoms.info["dihedral_angle"] for atoms in scan]
    fragment = {
        "torsion_atom_indices": list(TORSION),
        "dft_energy_profile": list(zip(angles, energies.tolist(), strict=True)),
        "atom_symbols": scan[0].get_chemical_symbols(),
        "conformer_coordinates": [atoms.positions.tolist() for atoms in scan],
        "smiles": "CC(=O)C=C(C)O",
    }
    (folder / "dihedral_scan").mkdir()
    (folder / "dihedral_scan" / "TorsionNet500.json").write_text(
        json.dumps({"acetylacetone": fragment})
    )


def calculator(model: Path, elements: tuple[int, ...]) -> dict[str, Any]:
    """Return the arguments of a RemoteCalculator that asks for our model in this environment."""
    return {
        "python": sys.executable,
        "target": TARGET,
        "arguments": {"potential": str(model.resolve()), "dtype": "float64"},
        "allowed_atomic_numbers": list(elements),
    }


def ask(python: Path, script: str, *arguments: str) -> None:
    """Run a judge in its environment."""
    paths = {**os.environ, "PYTHONPATH": str(HERE)}
    subprocess.run([str(python), str(HERE / script), *arguments], check=True, env=paths)


def main() -> None:
    """Ask the judges named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--judges", nargs="+", default=["ml_peg", "mlipaudit"])
    parser.add_argument("--environments", type=Path, default=ROOT / ".venvs")
    parser.add_argument("--nve-steps", type=int, default=50_000)
    parser.add_argument("--stability-steps", type=int, default=100_000)
    chosen = parser.parse_args()
    elements = load_checkpoint(chosen.model).elements
    remote = calculator(chosen.model, elements)
    RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if "ml_peg" in chosen.judges:
            entry = {
                "module": "remote",
                "class_name": "RemoteCalculator",
                "device": None,
                "trained_on_dispersion": True,
                "kwargs": remote,
            }
            models_file = folder / "models.yml"
            models_file.write_text(yaml.safe_dump({"se3set": entry}))
            ask(
                chosen.environments / "mlpeg" / "bin" / "python",
                "judge_ml_peg.py",
                str(models_file),
                str((RESULTS / "outside_ml_peg.json").resolve()),
                *(SYMBOLS[number] for number in elements),
            )
        if "mlipaudit" in chosen.judges:
            data = folder / "data"
            data.mkdir()
            write_mlipaudit_data(data)
            request = {
                "calculator": remote,
                "data": str(data),
                "nve_steps": chosen.nve_steps,
                "stability_steps": chosen.stability_steps,
            }
            (folder / "request.json").write_text(json.dumps(request))
            ask(
                chosen.environments / "mlipaudit" / "bin" / "python",
                "judge_mlipaudit.py",
                str(folder / "request.json"),
                str((RESULTS / "outside_mlipaudit.json").resolve()),
            )


if __name__ == "__main__":
    main()
