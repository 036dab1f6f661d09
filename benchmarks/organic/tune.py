r"""From GFN2-xTB to density functional theory: errors against frames used, from scratch and tuned.

    python benchmarks/organic/tune.py MODEL [--frames 50 200 660] [--steps 600 1200 2400]
    python benchmarks/organic/tune.py MODEL --choose 340
    cd runs/organic/tune
    se3set label more.xyz -o more_wb97x.xyz --method wb97x/6-31g* --density-fitting
    python benchmarks/organic/tune.py MODEL --frames 660 --steps 1200 \
        --more benchmarks/organic/data/small_340_wb97x_631gs.xyz.gz
    python benchmarks/organic/tune.py MODEL --check 12 [--grid 5]

Labels are those of ANI-1x, wB97X/6-31G(d), in ``data``; structures of one formula are of one part.
Runs from scratch and tuned take the same number of steps. ``--more`` adds structures to learn from
that ``se3set label --method wb97x/6-31g*`` has labelled; they must have no formula that is held
out; ``--choose`` draws such ones from what ``small.py`` made. ``--check`` computes a few of the
labels again with PySCF. Writes ``results/tune_MODEL.json``, which keeps what was measured before
with the same weights, and a picture, or ``results/ani1x_labels_gridN.json``.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import ase
import ase.io
import matplotlib.pyplot as plt
import numpy as np
from molecules import drawn_part
from subjects import HERE, RESULTS, weights_of, write, write_result
from tqdm import tqdm
from train import RECIPE, merged

import se3set_mlip as s3
from se3set_mlip.configuration import config_to_dict
from se3set_mlip.labelling.methods import DFT
from se3set_mlip.training import train, training_config_from_dict
from se3set_mlip.units import EV_PER_HARTREE

SOURCE = HERE / "data" / "ani1x_1000_wb97x_631gs.npz"
WORK = HERE.parents[1] / "runs" / "organic" / "tune"
FORMULAS_HELD_OUT = {"validation": 8, "test": 20}
"""Per cent of the formulas."""
STEPS = (600, 1200, 2400)
LARGEST_CHECKED = 10
"""Atoms of the structures whose labels are computed again."""
LARGEST_CHOSEN = 5
"""Heavy atoms of the structures that are to be labelled besides."""
RATES = {"scratch": 6e-3, "tuned": 2e-3}


def frames() -> list[ase.Atoms]:
    """Return all structures with their labels."""
    data = np.load(SOURCE)
    found = []
    for k, energy in enumerate(data["energy"]):
        rows = slice(data["ptr"][k], data["ptr"][k + 1])
        atoms = ase.Atoms(data["z"][rows], data["pos"][rows])
        atoms.info |= {"REF_energy": float(energy), "place": k}
        atoms.arrays["REF_forces"] = data["forces"][rows].astype(float)
        found.append(atoms)
    return found


def part_of_formula(formula: str) -> str:
    """Return the part of all structures of a formula (as ASE writes it)."""
    return drawn_part(formula.encode(), FORMULAS_HELD_OUT)


def prepare() -> dict[str, Path]:
    """Write a file for each part."""
    WORK.mkdir(parents=True, exist_ok=True)
    parts: dict[str, list[ase.Atoms]] = {}
    for atoms in frames():
        part = part_of_formula(atoms.get_chemical_formula())
        parts.setdefault(part, []).append(atoms)
    paths = {part: WORK / f"{part}.xyz" for part in parts}
    for part, path in paths.items():
        ase.io.write(path, parts[part], format="extxyz")
        print(f"{part}: {len(parts[part])} structures")
    return paths


def run(
    model: Path,
    kind: str,
    number: int,
    steps: int,
    paths: dict[str, Path],
    seed: int,
    more: Path | None,
) -> dict[str, float]:
    """Train once; return the errors on the test set."""
    start = f"tuned_{weights_of(model)[:8]}" if kind == "tuned" else kind
    name = f"{model.stem}_{start}_{number}_{steps}_{seed}"
    folder = WORK / (f"{name}_{more.stem}" if more else name)
    settings: dict[str, Any] = {
        "data": {
            "train_files": [str(paths["train"])],
            "validation_files": [str(paths["validation"])],
            "test_files": [str(paths["test"])],
            "n_train": number,
            "auxiliary_files": [str(more)] if more else [],
            "skip_unperceived": True,
            "bond_stretch": 0.0,
        },
        "potential": config_to_dict(s3.load(model).config),
        "loss": {"stage_two": {"energy_weight": 300.0}},
        "optimizer": {
            "batch_size": 8,
            "epochs": None,
            "max_steps": steps,
            "learning_rate": RATES[kind],
            "ema_decay": 0.99,
        },
        "run": {
            "output_dir": str(folder),
            "seed": seed,
            "threads": 1,
            "plots": False,
            "initial_model": str(model) if kind == "tuned" else None,
            "initial_energies": False,
            "validate_every_epochs": max(1, 8 * 100 // number),
        },
        "model_card": {"level_of_theory": "wB97X/6-31G(d)", "training_data": "ANI-1x"},
    }
    if not (folder / "report.json").exists():
        config = training_config_from_dict(merged(RECIPE, settings))
        train(config, resume=(folder / "training_config.json").exists(), echo=tqdm.write)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    found = report["errors"]["test"]
    return {
        "force_mae": found["force_mae_mev_per_angstrom"],
        "energy_mae_per_atom": found["energy_mae_mev_per_atom"],
        "n_test": found["n_structures"],
    }


def check_formulas(path: Path) -> None:
    """Refuse structures with a formula that is held out.

    Raises
    ------
    SystemExit
        If there is one.
    """
    for atoms in ase.io.read(path, ":"):
        formula = atoms.get_chemical_formula()
        if part_of_formula(formula) != "train":
            raise SystemExit(f"{path} holds {formula}, which is held out; leave it out")


def choose(number: int, seed: int) -> Path:
    """Write small torn molecules of the training whose formulas are not held out; no labels.

    Raises
    ------
    SystemExit
        If there are not so many.
    """
    known: list[ase.Atoms] = ase.io.read(WORK.parent / "train_small_gfn2.xyz", ":")
    fitting = [
        atoms
        for atoms in known
        if (atoms.numbers > 1).sum() <= LARGEST_CHOSEN
        and part_of_formula(atoms.get_chemical_formula()) == "train"
    ]
    if len(fitting) < number:
        raise SystemExit(f"{len(fitting)} structures fit, {number} were asked for")
    WORK.mkdir(parents=True, exist_ok=True)
    chosen = []
    for k in np.random.default_rng(seed).permutation(len(fitting))[:number]:
        atoms = ase.Atoms(fitting[k].numbers, fitting[k].positions)
        atoms.info |= {key: fitting[k].info[key] for key in ("mapped_smiles", "charge")}
        chosen.append(atoms)
    ase.io.write(WORK / "more.xyz", chosen, format="extxyz")
    return WORK / "more.xyz"


def together(model: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows and those of earlier runs with the same weights that they do not replace."""
    path = RESULTS / f"tune_{model.stem}.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if known.get("asked_weights_sha256") != weights_of(model):
        return rows
    names = ("kind", "frames", "more", "steps", "seed")
    measured = [[row[name] for name in names] for row in rows]
    before = [row for row in known["runs"] if [row[name] for name in names] not in measured]
    return sorted(
        [*before, *rows], key=lambda row: (row["kind"], row["frames"] + row["more"], row["steps"])
    )


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the errors of all runs, and how many steps each took."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.5), layout="constrained")
    names = {"force_mae": "force MAE, meV/Å", "energy_mae_per_atom": "energy MAE, meV/atom"}
    for axis, (measure, label) in zip(axes, names.items(), strict=True):
        for kind in RATES:
            part = [row for row in rows if row["kind"] == kind]
            numbers = [row["frames"] + row["more"] for row in part]
            axis.loglog(numbers, [row[measure] for row in part], "o", label=kind)
            for number, row in zip(numbers, part, strict=True):
                text = f" {row['steps']:,} steps"
                axis.annotate(text, (number, row[measure]), fontsize=6, rotation=40)
        axis.set(xlabel="frames of wB97X/6-31G(d)", ylabel=label)
        axis.margins(x=0.25)
        axis.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def check(number: int, grid: int) -> None:
    """Compute labels again, to see that they are those of this functional and basis."""
    compute = DFT(grid_level=grid).start()
    known = [atoms for atoms in frames() if len(atoms) <= LARGEST_CHECKED]
    chosen = np.random.default_rng(1).permutation(len(known))[:number]
    rows = []
    for k in tqdm(chosen, unit="structure"):
        atoms = known[k]
        label = compute(atoms.numbers, atoms.positions, 0)
        forces = atoms.arrays["REF_forces"]
        rows.append(
            {
                "formula": atoms.get_chemical_formula(),
                "energy_mha": 1000.0 * (label.energy - atoms.info["REF_energy"]) / EV_PER_HARTREE,
                "largest_force_mev": 1000.0 * float(np.abs(label.forces - forces).max()),
            }
        )
    result = {
        "grid_level": grid,
        "largest_energy_mha": max(abs(row["energy_mha"]) for row in rows),
        "largest_force_mev": max(row["largest_force_mev"] for row in rows),
        "structures": rows,
    }
    write_result(RESULTS / f"ani1x_labels_grid{grid}.json", result)
    print({name: value for name, value in result.items() if name != "structures"})


def main() -> None:
    """Train at each number of frames, or check the labels."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--frames", type=int, nargs="+", default=[50, 200, 660])
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, help="one for each")
    parser.add_argument("--more", type=Path, help="labelled structures to add to each")
    parser.add_argument("--kinds", nargs="+", choices=list(RATES), default=list(RATES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--choose", type=int, help="write so many structures for --more")
    parser.add_argument("--check", type=int, help="compute so many labels again, and no more")
    parser.add_argument("--grid", type=int, default=DFT.grid_level, help="PySCF's, for --check")
    options = parser.parse_args()
    if options.check:
        check(options.check, options.grid)
        return
    if options.choose:
        print(choose(options.choose, options.seed))
        return
    if len(options.steps) != len(options.frames):
        parser.error("give one number of steps for each number of frames")
    if options.more:
        check_formulas(options.more)
    paths = prepare()
    more = len(ase.io.read(options.more, ":")) if options.more else 0
    rows: list[dict[str, Any]] = []
    for number, steps in zip(options.frames, options.steps, strict=True):
        for kind in options.kinds:
            settings = {
                "kind": kind,
                "frames": number,
                "more": more,
                "steps": steps,
                "seed": options.seed,
            }
            row = settings | run(
                options.model, kind, number, steps, paths, options.seed, more=options.more
            )
            rows.append(row)
            print(row)
    rows = together(options.model, rows)
    record = {"asked_weights_sha256": weights_of(options.model), "runs": rows}
    draw(rows, write("tune", options.model, record).with_suffix(".png"))


if __name__ == "__main__":
    main()
