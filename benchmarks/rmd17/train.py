"""Train on molecules of revised MD17: 950 structures, 50 for validation, one recipe for all.

    python benchmarks/rmd17/train.py aspirin ethanol [--seed 1] [--epochs 100]

Reads what ``prepare.py`` wrote. A run that was interrupted is continued. No test set is read:
``se3set evaluate`` does that, once a model is chosen.
"""

import argparse
import sys
from pathlib import Path

from prepare import MOLECULES
from tqdm import tqdm

from se3set_mlip.training import train, training_config_from_dict

sys.path.insert(0, str(Path(__file__).parents[1]))
from recipe.best import RECIPE, merged

ELEMENTS = {"azobenzene": [1, 6, 7], "paracetamol": [1, 6, 7, 8], "uracil": [1, 6, 7, 8]} | {
    name: [1, 6] for name in ("benzene", "naphthalene", "toluene")
}


def main() -> None:
    """Train, or continue, one molecule after another."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("molecules", nargs="+", choices=MOLECULES)
    parser.add_argument("--data", type=Path, default=Path("runs/rmd17/data"))
    parser.add_argument("--runs", type=Path, default=Path("runs/rmd17"))
    parser.add_argument("--size", default="medium")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    for name in options.molecules:
        folder = options.runs / f"{name}_{options.size}_{options.epochs}_{options.seed}"
        settings = {
            "data": {
                "train_files": [str(options.data / f"{name}_train.xyz")],
                "validation_files": [str(options.data / f"{name}_validation.xyz")],
            },
            "potential": {
                "model": {"size": options.size, "elements": ELEMENTS.get(name, [1, 6, 8])}
            },
            "optimizer": {"epochs": options.epochs},
            "run": {
                "output_dir": str(folder),
                "seed": options.seed,
                "threads": options.threads,
                "validate_every_epochs": 5,
                "checkpoint_every_epochs": 2,
            },
            "model_card": {
                "level_of_theory": "PBE/def2-SVP",
                "training_data": f"revised MD17 (arXiv 2007.09593, CC0), {name}, split 01, 950",
            },
        }
        config = training_config_from_dict(merged(RECIPE, settings))
        train(config, resume=(folder / "training_config.json").exists(), echo=tqdm.write)


if __name__ == "__main__":
    main()
