"""The recipe that came out best (docs/recipe.md), and how settings are laid over it.

The radial part that came out best is that of the named sizes, and so not repeated here.

What trains here by that recipe starts from :data:`RECIPE`: ``benchmarks/rmd17/train.py``,
``benchmarks/equal_compute``, ``benchmarks/water/cost.py``.
"""

import copy
from typing import Any

RECIPE: dict[str, Any] = {
    "data": {"energy_scale_ev": 1.0},
    "potential": {"hypergraph": {"switch_on_angstrom": 1.0}},
    "loss": {
        "kind": "huber",
        "energy_weight": 100.0,
        "forces_weight": 100.0,
        "stage_two": {"start_fraction": 0.7, "energy_weight": 1000.0},
    },
    "optimizer": {
        "method": "soap",
        "learning_rate": 6.0e-3,
        "batch_size": 4,
        "warmup_steps": 200,
        "ema_decay": 0.995,
    },
}


def merged(*parts: dict[str, Any]) -> dict[str, Any]:
    """Return nested settings: of two values for a key, the later one."""
    found: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            old = found.get(key)
            both = isinstance(old, dict) and isinstance(value, dict)
            found[key] = merged(old, value) if both else copy.deepcopy(value)
    return found
