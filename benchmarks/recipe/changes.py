"""The reference recipe, and what each experiment changes of it.

Data only: ``run.py`` trains, ``report.py`` shows. Every experiment differs from the reference in
the keys it names; a dot leads into a section. The training files and the seeds are equal for all.
"""

import copy
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS = HERE / "results"
DATA = ROOT / "benchmarks" / "acetylacetone" / "data"
REFERENCE = "reference"
EPOCHS = 45
THREADS = 1

BASE: dict[str, Any] = {
    "data": {
        "train_files": [str(DATA / "train_300K.xyz")],
        "n_validation": 50,
        "split_seed": 1,
        "energy_scale_ev": 1.0,
    },
    "potential": {
        "model": {
            "size": "small",
            "elements": [1, 6, 8],
            "radial_basis": "exponential_normal",
            "n_radial": 24,
            "radial_range_angstrom": 6.0,
            "radial_hidden": [32, 32],
        },
        "hypergraph": {},
    },
    "loss": {
        "kind": "mse",
        "energy_weight": 100.0,
        "forces_weight": 100.0,
        "stage_two": {"start_fraction": 0.7, "energy_weight": 1000.0},
    },
    "optimizer": {
        "method": "adamw",
        "learning_rate": 4.0e-3,
        "batch_size": 5,
        "epochs": EPOCHS,
        "warmup_steps": 200,
        "ema_decay": 0.998,
    },
    "run": {
        "seed": 1,
        "threads": THREADS,
        "progress": False,
        "plots": False,
        "validate_every_epochs": 5,
        "checkpoint_every_epochs": 5,
    },
}

_TOGETHER = {
    "loss.kind": "huber",
    "optimizer.ema_decay": 0.99,
    "potential.hypergraph.switch_on_angstrom": 1.0,
}
_SOAP = _TOGETHER | {"optimizer.method": "soap", "optimizer.learning_rate": 8.0e-3}
_SOAP_20 = _SOAP | {"optimizer.epochs": 20}
EXTREMES = ROOT / "runs" / "recipe" / "data"
"""Where ``run.py`` writes the structures sorted, in two files each.

``low``, ``high``: the 400 of lowest energy, the other 100. ``long``, ``short``: the 420 whose
shortest O-H distance is longest, the other 80.
"""


def _split(train: str, validation: str) -> dict[str, Any]:
    """Return the recipe of 20 epochs on one of two files, errors on the other."""
    return _SOAP_20 | {
        "optimizer.learning_rate": 6.0e-3,
        "optimizer.batch_size": 4,
        "data.train_files": [str(EXTREMES / f"{train}.xyz")],
        "data.validation_files": [str(EXTREMES / f"{validation}.xyz")],
        "data.n_validation": None,
    }


_EXTREMES, _BONDS = _split("low", "high"), _split("long", "short")
_MODEL = "potential.model."
_BESSEL = {
    _MODEL + "radial_basis": "bessel",
    _MODEL + "n_radial": 8,
    _MODEL + "radial_range_angstrom": 5.0,
}
_ONE_HIDDEN = {_MODEL + "radial_hidden": [64]}
_GRAPH = "potential.hypergraph."
_FRAGMENTS = "potential.fragmentation."

CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    REFERENCE: ("small, 45 epochs", {}),
    "seed_2": ("another seed: what chance does", {"run.seed": 2}),
    "range_5": (
        "membership to 5 Å, radial range 7 Å",
        {
            _GRAPH + "cutoff_angstrom": 5.0,
            _GRAPH + "switch_on_angstrom": 3.5,
            _MODEL + "radial_range_angstrom": 7.0,
            _MODEL + "average_sources": 4.0,
            _MODEL + "average_incidences": 5.0,
        },
    ),
    "hard": ("hard membership", {_GRAPH + "membership": "hard"}),
    "switch_on_1": ("memberships fade from 1 Å on", {_GRAPH + "switch_on_angstrom": 1.0}),
    "explicit": (
        "explicit overlap, the published setting of MD17",
        {
            _FRAGMENTS + "overlap": "explicit",
            _FRAGMENTS + "bond_order": "lendvay",
            _FRAGMENTS + "min_atoms": 2,
            _FRAGMENTS + "max_atoms": 16,
            _FRAGMENTS + "overlap_bond_order": 0.1,
        },
    ),
    "single_groups": ("fragments of at most 3 atoms", {_FRAGMENTS + "max_atoms": 3}),
    "rate_2": ("learning rate 2e-3", {"optimizer.learning_rate": 2.0e-3}),
    "rate_8": ("learning rate 8e-3", {"optimizer.learning_rate": 8.0e-3}),
    "batch_2": ("batches of 2", {"optimizer.batch_size": 2}),
    "batch_10": ("batches of 10", {"optimizer.batch_size": 10}),
    "ema_99": ("moving average over 100 steps", {"optimizer.ema_decay": 0.99}),
    "decay": ("weight decay 0.01", {"optimizer.weight_decay": 0.01}),
    "huber": ("Huber loss", {"loss.kind": "huber"}),
    "l2norm": ("norm of each atom's error", {"loss.kind": "l2norm"}),
    "together": (
        "Huber loss, moving average over 100 steps, memberships fade from 1 Å on",
        _TOGETHER,
    ),
    "together_20": ("the three, 20 epochs", _TOGETHER | {"optimizer.epochs": 20}),
    "soap_20": ("the three and SOAP, rate 8e-3, 20 epochs", _SOAP_20),
    "soap_20_rate_4": ("the same, rate 4e-3", _SOAP_20 | {"optimizer.learning_rate": 4.0e-3}),
    "soap_20_batch_3": (
        "the same, rate 6e-3, batches of 3",
        _SOAP_20 | {"optimizer.learning_rate": 6.0e-3, "optimizer.batch_size": 3},
    ),
    "soap_20_bessel_8": (
        "the same, 8 Bessel functions, rate 8e-3, batches of 5",
        _SOAP_20 | {_MODEL + "radial_basis": "bessel", _MODEL + "n_radial": 8},
    ),
    "extremes": (
        "SOAP, 20 epochs, batches of 4, on the 400 lowest energies; errors on the others",
        _EXTREMES,
    ),
    "extremes_radial_8": (
        "extremes, 8 exponential-normal functions",
        _EXTREMES | {_MODEL + "n_radial": 8},
    ),
    "extremes_bessel_8": (
        "extremes, 8 Bessel functions",
        _EXTREMES | {_MODEL + "radial_basis": "bessel", _MODEL + "n_radial": 8},
    ),
    "bonds": (
        "SOAP, 20 epochs, batches of 4, on the 420 with longer O-H bonds; errors on the others",
        _BONDS,
    ),
    "bonds_bessel_8": ("bonds, 8 Bessel functions to 5 Å", _BONDS | _BESSEL),
    "bonds_hidden_64": ("bonds, radial networks of one hidden layer, 64", _BONDS | _ONE_HIDDEN),
    "bonds_both": (
        "bonds, 8 Bessel functions to 5 Å, one hidden layer of 64: now in the named sizes",
        _BONDS | _BESSEL | _ONE_HIDDEN,
    ),
    "bonds_both_seed_2": (
        "the same, another seed",
        _BONDS | _BESSEL | _ONE_HIDDEN | {"run.seed": 2},
    ),
    "soap_20_both": (
        "SOAP, rate 8e-3, 20 epochs, with the radial part of the named sizes",
        _SOAP_20 | _BESSEL | _ONE_HIDDEN,
    ),
    "soap": ("the three and SOAP, rate 8e-3", _SOAP),
    "energy_10": ("energy weight 10, then 1000", {"loss.energy_weight": 10.0}),
    "features_2": (
        "atom features to l = 2",
        {_MODEL + "irreps": "32x0e+32x1o+32x2e"},
    ),
    "update": ("a network of the fragments", {_MODEL + "fragment_update": True}),
    "gaussian": ("Gaussian radial basis", {_MODEL + "radial_basis": "gaussian"}),
    "radial_8": ("8 radial functions", {_MODEL + "n_radial": 8}),
    "radial_64": ("wider radial networks", {_MODEL + "radial_hidden": [64, 64]}),
    "epochs_180": ("four times the epochs", {"optimizer.epochs": 4 * EPOCHS}),
}
"""Name -> what it is, and the settings that it changes."""


def settings(name: str, output_dir: Path) -> dict[str, Any]:
    """Return the settings of an experiment as ``training_config_from_dict`` takes them."""
    merged = copy.deepcopy(BASE)
    merged["run"]["output_dir"] = str(output_dir)
    for key, value in CHANGES[name][1].items():
        *path, last = key.split(".")
        place = merged
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return merged
