"""A small protein in vacuum, and a peptide in a drop of water: does a general potential hold them.

    python benchmarks/organic/showpieces.py MODEL [--picoseconds 2] [--only "villin, charged end"]

Each is relaxed for some steps and then moves at 300 K (Langevin, 2 fs, hydrogens of 4 u). Watched:
the backbone's deviation from the start, the radius of gyration, bonds. Writes
``results/showpieces_MODEL.json`` and ``.png``.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import ase
import matplotlib.pyplot as plt
import numpy as np
from ase import units
from ase.md.langevinbaoab import LangevinBAOAB
from ase.optimize import FIRE
from numpy.typing import NDArray
from openmm import app, unit
from scipy.spatial.transform import Rotation
from subjects import HERE, RESULTS, atoms_of, conformers, weights_of, write_result
from tqdm import tqdm

import se3set_mlip as s3
from se3set_mlip.elements import COVALENT_RADII

TIMESTEP_FS, HYDROGEN_MASS, KELVIN, THERMOSTAT_FS = 2.0, 4.0, 300.0, 500.0
RELAXATION_STEPS, SAMPLE_STEPS = 60, 10
BROKEN = 1.6
"""Times the sum of covalent radii."""
PEPTIDE = "CC(=O)N[C@@H](C)C(=O)N[C@@H](C)C(=O)N[C@@H](C)C(=O)NC"
DROP_ANGSTROM, CLOSEST_ANGSTROM, WATER_PER_CUBIC_ANGSTROM = 8.5, 2.4, 0.0334


def villin(*, charged_end: bool) -> tuple[ase.Atoms, s3.Topology, NDArray[np.int64]]:
    """Return the villin headpiece: atoms, chemistry, and its backbone's atoms.

    So that the charge is 0 as in the training and not +2, two lysines give a proton away, or one
    lysine and the ammonium at the end.
    """
    pdb = app.PDBFile(str(HERE / "data" / "1vii.pdb"))
    modeller = app.Modeller(pdb.topology, pdb.positions)
    residues = list(modeller.topology.residues())
    lysines = [r for r in residues if r.name == "LYS"][-3:-1]
    end = (lysines[1], "HZ3") if charged_end else (residues[0], "H3")
    given = [(lysines[0], "HZ3"), end]
    modeller.delete([a for r, name in given for a in r.atoms() if a.name == name])
    topology = s3.Topology.from_openmm(modeller.topology)
    positions = np.array(modeller.positions.value_in_unit(unit.angstrom))
    names = [atom.name for atom in modeller.topology.atoms()]
    backbone = np.array([k for k, name in enumerate(names) if name in ("N", "CA", "C")])
    return ase.Atoms(topology.numbers, positions), topology, backbone


def drop(seed: int = 1) -> tuple[ase.Atoms, s3.Topology, NDArray[np.int64]]:
    """Return a peptide in a drop of water, and the peptide's heavy atoms."""
    rng = np.random.default_rng(seed)
    mol, found = conformers(PEPTIDE, 1, seed=seed)
    peptide = found[0]
    centred = peptide.positions - peptide.positions.mean(axis=0)
    water_mol, waters = conformers("O", 1, seed=seed)
    water = waters[0].positions - waters[0].positions[0]
    spacing = (1.0 / WATER_PER_CUBIC_ANGSTROM) ** (1.0 / 3.0)
    steps = np.arange(-6, 7) * spacing
    sites = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    parts, smiles = [atoms_of(mol, centred)], [peptide.info["mapped_smiles"]]
    for site in sites[np.linalg.norm(sites, axis=1) < DROP_ANGSTROM]:
        placed = site + Rotation.random(rng=rng).apply(water)
        if np.linalg.norm(placed[:, None] - centred[None], axis=-1).min() > CLOSEST_ANGSTROM:
            first = 1 + sum(len(part) for part in parts)
            parts.append(atoms_of(water_mol, placed, first=first))
            smiles.append(parts[-1].info["mapped_smiles"])
    atoms = ase.Atoms(
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.positions for part in parts]),
    )
    heavy = np.flatnonzero(parts[0].numbers > 1)
    return atoms, s3.Topology.from_smiles(".".join(smiles)), heavy


def deviation(positions: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Return the root mean square deviation after superposition, Å."""
    a, b = positions - positions.mean(axis=0), reference - reference.mean(axis=0)
    turn, _ = Rotation.align_vectors(b, a)
    return float(np.sqrt(((turn.apply(a) - b) ** 2).sum(axis=1).mean()))


def stretched(atoms: ase.Atoms, topology: s3.Topology) -> float:
    """Return the longest bond over the sum of covalent radii."""
    bonds = np.array(topology.bonds)
    radii = np.array([COVALENT_RADII[int(z)] for z in atoms.numbers])
    lengths = np.linalg.norm(atoms.positions[bonds[:, 0]] - atoms.positions[bonds[:, 1]], axis=1)
    return float((lengths / radii[bonds].sum(axis=1)).max())


def run(
    atoms: ase.Atoms,
    topology: s3.Topology,
    watched: NDArray[np.int64],
    potential: Any,
    picoseconds: float,
) -> dict[str, Any]:
    """Relax and move; return what was seen."""
    atoms.calc = s3.SE3SetCalculator(potential, topology=topology)
    start = atoms.positions[watched].copy()
    FIRE(atoms, logfile=None).run(fmax=0.1, steps=RELAXATION_STEPS)
    relaxed = atoms.positions.copy()
    masses = atoms.get_masses()
    masses[atoms.numbers == 1] = HYDROGEN_MASS
    atoms.set_masses(masses)
    rng = np.random.default_rng(1)
    thermal = np.sqrt(2.0 * masses * units.kB * KELVIN)[:, None]  # half of it goes into bonds
    atoms.set_momenta(thermal * rng.standard_normal(atoms.positions.shape))
    engine = LangevinBAOAB(
        atoms,
        TIMESTEP_FS * units.fs,
        temperature_K=KELVIN,
        T_tau=THERMOSTAT_FS * units.fs,
        rng=rng,
    )
    rows = []
    began = time.perf_counter()
    n_samples = round(1000.0 * picoseconds / TIMESTEP_FS / SAMPLE_STEPS)
    for sample in tqdm(range(n_samples), unit="sample"):
        engine.run(SAMPLE_STEPS)
        centred = atoms.positions[watched] - atoms.positions[watched].mean(axis=0)
        rows.append(
            {
                "ps": (sample + 1) * SAMPLE_STEPS * TIMESTEP_FS / 1000.0,
                "kelvin": float(atoms.get_temperature()),
                "ev": float(atoms.get_potential_energy()),
                "rmsd": deviation(atoms.positions[watched], start),
                "gyration": float(np.sqrt((centred**2).sum(axis=1).mean())),
                "stretch": stretched(atoms, topology),
            }
        )
        if rows[-1]["stretch"] > BROKEN or not np.isfinite(rows[-1]["ev"]):
            break
    place = {int(atom): k for k, atom in enumerate(watched)}
    bonds = [[place[i], place[j]] for i, j in topology.bonds if i in place and j in place]
    seconds = (time.perf_counter() - began) / (len(rows) * SAMPLE_STEPS)
    return {
        "atoms": len(atoms),
        "picoseconds": rows[-1]["ps"],
        "seconds_per_step": seconds,
        "rmsd_of_relaxed": deviation(relaxed[watched], start),
        "rmsd_last": rows[-1]["rmsd"],
        "longest_stretch": max(row["stretch"] for row in rows),
        "mean_kelvin_second_half": float(np.mean([r["kelvin"] for r in rows[len(rows) // 2 :]])),
        "broken": rows[-1]["stretch"] > BROKEN,
        "rows": rows,
        "bonds": bonds,
        "start": start.tolist(),
        "end": atoms.positions[watched].tolist(),
    }


def draw(found: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw the atoms that were watched, before and after, and what happened between."""
    figure = plt.figure(figsize=(11, 4 * len(found)), layout="constrained")
    for line, (name, result) in enumerate(found.items()):
        start, end = np.array(result["start"]), np.array(result["end"])
        a, b = start - start.mean(axis=0), end - end.mean(axis=0)
        turn, _ = Rotation.align_vectors(a, b)
        axis = figure.add_subplot(len(found), 2, 2 * line + 1, projection="3d")
        now = f"after {result['picoseconds']:g} ps"
        for points, style, width, label in ((a, "k-", 1, "start"), (turn.apply(b), "C1-", 2, now)):
            for number, bond in enumerate(result["bonds"]):
                axis.plot(*points[bond].T, style, lw=width, label="" if number else label)
        axis.set_axis_off()
        axis.set_title(f"{name}, {result['atoms']} atoms")
        axis.legend()
        axis = figure.add_subplot(len(found), 2, 2 * line + 2)
        times = [row["ps"] for row in result["rows"]]
        axis.plot(times, [row["rmsd"] for row in result["rows"]], label="RMSD, Å")
        axis.plot(times, [row["kelvin"] / 300.0 for row in result["rows"]], label="T / 300 K")
        axis.plot(times, [row["stretch"] for row in result["rows"]], label="longest bond / radii")
        axis.set(xlabel="ps", ylim=(0, None))
        axis.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


MAKERS = {
    "villin": partial(villin, charged_end=False),
    "villin, charged end": partial(villin, charged_end=True),
    "drop": drop,
}


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--picoseconds", type=float, default=2.0)
    parser.add_argument("--only", choices=list(MAKERS))
    options = parser.parse_args()
    potential = s3.load(options.model, dtype="float32")
    path = RESULTS / f"showpieces_{options.model.stem}.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    weights = weights_of(options.model)
    found = known["each"] if known.get("weights_sha256") == weights else {}
    for name in [options.only] if options.only else list(MAKERS):
        found[name] = run(*MAKERS[name](), potential, options.picoseconds)
        write_result(path, {"weights_sha256": weights, "each": found}, indent=None)
        shown = ("atoms", "picoseconds", "rmsd_last", "longest_stretch", "seconds_per_step")
        print(name, {key: found[name][key] for key in shown})
    draw(found, path.with_suffix(".png"))


if __name__ == "__main__":
    main()
