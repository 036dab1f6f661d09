"""Dynamics of many molecules never seen, at 300 and 500 K, and how many of them break.

    python benchmarks/organic/stability.py MODEL [--molecules 50] [--picoseconds 50]

The check of ``se3set check``: Langevin dynamics with steps of 1 fs, from the relaxed molecule; a
bond more than 0.5 Å off, or three times the temperature, is a failure. Resumable: molecules that
are in ``results/stability_MODEL.json`` for this length are not run again.
"""

import argparse
from pathlib import Path
from typing import Any

from rdkit import RDLogger
from subjects import conformers, measure_each, unseen_molecules

import se3set_mlip as s3
from se3set_mlip.testing.stability import TEMPERATURES_KELVIN, check_stability
from se3set_mlip.testing.subject import Specimen
from se3set_mlip.testing.subjects import PotentialSubject
from se3set_mlip.topology.molecule import Topology


def measure(smiles: str, potential: Any, picoseconds: float) -> dict[str, Any]:
    """Return what happened to a molecule at both temperatures."""
    atoms = conformers(smiles, 1)[1][0]
    specimen = Specimen(atoms, Topology.from_smiles(atoms.info["mapped_smiles"]))
    found = check_stability(
        PotentialSubject(potential), specimen, duration_ps=picoseconds, n_replicas=1
    )
    failures = [reason for result in found for reason in result.data["failures"]]
    return {
        "smiles": smiles,
        "n_atoms": len(atoms),
        "picoseconds": [result.data["duration_ps"] for result in found],
        "failures": failures,
        "proton_transfers": sum(result.data["transfers"] for result in found),
    }


def summary(each: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what happened to all of them."""
    return {
        "temperatures": TEMPERATURES_KELVIN,
        "molecules": len(each),
        "picoseconds": sum(sum(row["picoseconds"]) for row in each),
        "failures": sum(len(row["failures"]) for row in each),
        "proton_transfers": sum(row["proton_transfers"] for row in each),
    }


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--molecules", type=int, default=50)
    parser.add_argument("--picoseconds", type=float, default=50.0)
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    potential = s3.load(options.model, dtype="float32")
    _, record = measure_each(
        "stability",
        options.model,
        unseen_molecules(options.molecules),
        lambda molecule: measure(molecule["smiles"], potential, options.picoseconds),
        summary,
        picoseconds=options.picoseconds,
    )
    for name, value in summary(record["each"]).items():
        print(f"{name}: {value}")
    for row in record["each"]:
        for failure in row["failures"]:
            print(f"{row['smiles']}: {failure}")


if __name__ == "__main__":
    main()
