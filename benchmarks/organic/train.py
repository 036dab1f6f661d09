r"""Train a potential of organic molecules on what ``sample.py`` and ``se3set label`` made.

    torchrun --nproc-per-node 2 benchmarks/organic/train.py --size small --epochs 12
    python benchmarks/organic/grow.py gfn2-small medium --fragment-charge -o \
        runs/organic/grown_medium.safetensors
    torchrun --nproc-per-node 2 benchmarks/organic/train.py --size medium --steps 1500 \
        --initial runs/organic/grown_medium.safetensors --learning-rate 2e-3

One process for each core or GPU; without torchrun one process. A run that was interrupted is
continued by the same command. No test structure is read: ``judge.py`` does that.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from molecules import FILE
from tqdm import tqdm

from se3set_mlip.training import train, training_config_from_dict

sys.path.insert(0, str(Path(__file__).parents[1]))
from recipe.best import RECIPE, merged

STAGE_TWO_ENERGY_WEIGHT = 300.0
NET_FORCES_WEIGHT = 50.0
"""Of the net forces on molecules beside others, half of what forces on atoms have."""
ELEMENTS = [1, 6, 7, 8, 9, 15, 16, 17]
BATCH_PAIRS = 4000
"""Pairs of a batch: about eight molecules of thirty atoms."""
SWITCH_ON_ANGSTROM, CUTOFF_ANGSTROM = 2.5, 5.5
"""Where memberships begin to fade, and end: beyond, molecules do not know of each other."""
PAIR_RANGE_ANGSTROM = 6.5
"""Where the envelope of pairs ends; at 4.2 Å, between molecules, more than half of it is left."""


def labelled(folder: Path, part: str) -> list[str]:
    """Return the files of a part that have labels.

    Raises
    ------
    SystemExit
        If there are none.
    """
    found = sorted(str(path) for path in folder.glob(f"{part}*_gfn2.xyz"))
    if not found:
        raise SystemExit(f"no {part}*_gfn2.xyz in {folder}; run sample.py and se3set label first")
    return found


def main() -> None:
    """Train, or continue."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="small")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--steps", type=int, help="instead of passes")
    parser.add_argument("--n-train", type=int, help="learn so many geometries; default: all")
    parser.add_argument("--initial", type=Path, help="start from this, see grow.py")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--batch-pairs", type=int, default=BATCH_PAIRS)
    parser.add_argument("--minutes", type=float, help="stop after so long, all starts together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data", type=Path, default=FILE.parent)
    options = parser.parse_args()
    number = options.n_train or "all"
    length = f"{options.steps}steps" if options.steps else options.epochs
    name = f"{options.size}_{number}_{length}_{options.seed}"
    folder = options.data / (f"{name}_from_{options.initial.stem}" if options.initial else name)
    settings: dict[str, Any] = {
        "data": {
            "train_files": labelled(options.data, "train"),
            "validation_files": labelled(options.data, "validation"),
            "n_train": options.n_train,
            "bond_stretch": 0.0,  # bonds are stated by mapped_smiles
        },
        "potential": {
            "model": {
                "size": options.size,
                "elements": ELEMENTS,
                "fragment_charge": True,
                "pair_range_angstrom": PAIR_RANGE_ANGSTROM,
            },
            "hypergraph": {
                "switch_on_angstrom": SWITCH_ON_ANGSTROM,
                "cutoff_angstrom": CUTOFF_ANGSTROM,
            },
            "repulsion": "zbl",
        },
        "optimizer": {
            "batch_size": None,
            "batch_pairs": options.batch_pairs,
            "epochs": None if options.steps else options.epochs,
            "max_steps": options.steps,
            "max_wall_time_minutes": options.minutes,
            "ema_decay": 0.999,
        },
        # The usual weight of the energy in the second stage takes from the forces here.
        "loss": {
            "net_forces_weight": NET_FORCES_WEIGHT,
            "stage_two": {
                "energy_weight": STAGE_TWO_ENERGY_WEIGHT,
                "net_forces_weight": NET_FORCES_WEIGHT,
            },
        },
        "run": {
            "output_dir": str(folder),
            "seed": options.seed,
            "threads": 1,
            "device": options.device,
            "initial_model": str(options.initial) if options.initial else None,
            "checkpoint_every_steps": 500,
        },
        "model_card": {
            "level_of_theory": "GFN2-xTB",
            "training_data": "organic molecules, benchmarks/organic",
        },
    }
    if options.learning_rate:
        settings["optimizer"]["learning_rate"] = options.learning_rate
    config = training_config_from_dict(merged(RECIPE, settings))
    train(config, resume=(folder / "training_config.json").exists(), echo=tqdm.write)


if __name__ == "__main__":
    main()
