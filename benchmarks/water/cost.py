"""What a step costs: dynamics of 64 and 216 molecules, and training on a frame of 64.

    python benchmarks/water/cost.py [--sizes small small-16] [--steps 6]

Untrained weights (the time does not depend on them), float32, one thread, time of the processor, so
that other programs on the machine matter less; each number is the median over the steps. A size may
be followed by a number of channels. Steps of dynamics go through the ASE calculator as in
``dynamics.py``.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from ase import units
from ase.md.langevin import Langevin
from tqdm import tqdm

import se3set_mlip as s3
from se3set_mlip.potential.potential import Potential
from se3set_mlip.potential.potential_module import PotentialModule
from se3set_mlip.training import training_config_from_dict
from se3set_mlip.training.batches import make_samples, make_share
from se3set_mlip.training.datasets import Frame
from se3set_mlip.training.loss import loss_weights
from se3set_mlip.training.optimizers import make_optimizer
from se3set_mlip.training.processes import join_processes
from se3set_mlip.training.step import training_step

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from provenance import provenance  # noqa: E402 - needs the path above
from recipe.best import RECIPE, merged  # noqa: E402 - likewise
from speed.systems import water  # noqa: E402 - likewise

EDGES = {64: 4, 216: 6}
"""Molecules along an edge of the box."""
FEMTOSECONDS = 20_000.0


def settings_of(name: str) -> dict[str, Any]:
    """Return the settings of a size, or of the channels of one, such as ``small-16``."""
    size, _, channels = name.partition("-")
    model: dict[str, Any] = {"size": size, "elements": [1, 8]}
    if channels:
        model["irreps"] = f"{channels}x0e+{channels}x1o"
        model["irreps_density"] = "+".join(f"{channels}x{ir}" for ir in ("0e", "1o", "2e", "3o"))
    files = {"data": {"train_files": ["none"]}, "run": {"output_dir": "none"}}
    once = {"optimizer": {"epochs": 1}}
    return merged(RECIPE, {"potential": {"model": model}}, files, once)


def box(molecules: int) -> ase.Atoms:
    """Return water on a lattice at the density of the liquid."""
    found = water((EDGES[molecules],) * 3)
    return ase.Atoms(found.numbers, found.positions, cell=found.cell, pbc=True)


def seconds(step: Callable[[], Any], n_steps: int) -> float:
    """Return the median processor time of a step in s, after two that do not count."""
    times = []
    for _ in range(n_steps + 2):
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    return statistics.median(times[2:])


def untrained(name: str) -> tuple[Potential, Any]:
    """Return a potential with random weights, and the settings of its training."""
    config = training_config_from_dict(settings_of(name))
    torch.manual_seed(1)
    module = PotentialModule(config.potential, dtype=torch.float32)
    module.set_energies(reference=dict.fromkeys(config.potential.model.elements, 0.0), scale=1.0)
    return Potential(module, config.potential), config


def dynamics_step(potential: Potential, atoms: ase.Atoms) -> Callable[[], Any]:
    """Return a function that takes a step of Langevin dynamics of 0.5 fs."""
    atoms.calc = s3.SE3SetCalculator(potential, dtype="float32")
    rng = np.random.default_rng(1)
    friction = 0.01 / units.fs
    langevin = Langevin(
        atoms, 0.5 * units.fs, temperature_K=300.0, friction=friction, fixcm=False, rng=rng
    )
    return lambda: langevin.run(1)


def learning_step(potential: Potential, config: Any, atoms: ase.Atoms) -> Callable[[], Any]:
    """Return a function that takes a step of training on one frame."""
    forces = np.random.default_rng(1).standard_normal((len(atoms), 3))
    frame = Frame(name="box", atoms=atoms, energy=0.0, forces=forces, stress=None)
    samples = make_samples(potential, [frame])
    share = make_share(samples, samples).to(potential.device)
    optimizer = make_optimizer(potential.module, config.optimizer)
    potential.module.train()
    processes = join_processes()
    return lambda: training_step(
        potential.module,
        share,
        optimizer=optimizer,
        loss=config.loss,
        weights=loss_weights(config.loss, step=0, n_steps=1),
        gradient_clip_norm=config.optimizer.gradient_clip_norm,
        step=0,
        processes=processes,
    )


def measure(name: str, n_steps: int) -> dict[str, Any]:
    """Return what the steps of a size cost."""
    row: dict[str, Any] = {}
    for molecules in EDGES:
        potential, _ = untrained(name)
        step = seconds(dynamics_step(potential, box(molecules)), n_steps)
        row[f"dynamics_{molecules}_s"] = step
        row[f"hours_of_20_ps_at_0.5_fs_{molecules}"] = FEMTOSECONDS / 0.5 * step / 3600.0
    potential, config = untrained(name)
    row["parameters"] = sum(p.numel() for p in potential.module.parameters())
    row["training_64_s"] = seconds(learning_step(potential, config, box(64)), n_steps)
    return row


def main() -> None:
    """Measure, print, and write ``results/cost.json``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", nargs="+", default=["small", "small-16"])
    parser.add_argument("--steps", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = HERE / "results" / "cost.json"
    results.parent.mkdir(exist_ok=True)
    table = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    for name in tqdm(options.sizes, unit="size"):
        start = time.perf_counter()
        about = {"threads": 1, "steps": options.steps, "seed": 1}
        table[name] = measure(name, options.steps) | about | provenance()
        table[name]["wall_time_s"] = time.perf_counter() - start
        results.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
        tqdm.write(f"{name}: {json.dumps(table[name], indent=1)}")


if __name__ == "__main__":
    main()
