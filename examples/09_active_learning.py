"""Active learning: a committee runs hot dynamics, stops where it disagrees, and asks for a label.

GFN2-xTB (tblite) answers. The committee starts from ethanol at 300 K, explores at a higher
temperature, and each round learns the geometries at which it had to stop. Draws the error on hot
geometries that it never learns, and how long it ran before it stopped.
"""

import argparse
from pathlib import Path

import ase
import ase.io
import ase.units
import matplotlib as mpl
import numpy as np
from ase.build import molecule
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from tblite.ase import TBLite

from se3set_mlip import CommitteeCalculator
from se3set_mlip.engines.uncertainty import UncertaintyError
from se3set_mlip.training import train, training_config_from_dict

mpl.use("Agg")
import matplotlib.pyplot as plt

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--members", type=int, default=3)
parser.add_argument("--epochs", type=int, default=40)
parser.add_argument("--walks", type=int, default=12, help="runs of dynamics in a round")
parser.add_argument("--steps", type=int, default=400, help="of a run, 0.5 fs each")
parser.add_argument("--kelvin", type=float, default=600.0)
parser.add_argument("--stop-above", type=float, default=0.5, help="spread of a force, eV/Å")
parser.add_argument("--output-dir", type=Path, default=Path("runs/09_active_learning"))
arguments = parser.parse_args()
folder = arguments.output_dir
folder.mkdir(parents=True, exist_ok=True)


def walk(atoms: ase.Atoms, kelvin: float, seed: int) -> Langevin:
    """Return dynamics of atoms with a calculator, with velocities of this temperature."""
    rng = np.random.default_rng(seed)
    MaxwellBoltzmannDistribution(atoms, temperature_K=kelvin, rng=rng)
    return Langevin(
        atoms, 0.5 * ase.units.fs, temperature_K=kelvin, friction=0.02 / ase.units.fs, rng=rng
    )


def label(atoms: ase.Atoms) -> ase.Atoms:
    """Return the atoms with energy (eV) and forces (eV/Å) of GFN2-xTB."""
    found = ase.Atoms(atoms.numbers, atoms.positions, calculator=TBLite(verbosity=0))
    energy, forces = found.get_potential_energy(), found.get_forces()
    found.calc = None
    found.info["REF_energy"], found.arrays["REF_forces"] = energy, forces
    return found


def sample(kelvin: float, n: int, seed: int) -> list[ase.Atoms]:
    """Return labelled geometries of dynamics with GFN2-xTB itself."""
    atoms = molecule("CH3CH2OH")
    atoms.calc = TBLite(verbosity=0)
    dynamics = walk(atoms, kelvin, seed)
    frames = []
    for _ in range(n):
        dynamics.run(20)
        frames.append(label(atoms))
    return frames


def learn(frames: list[ase.Atoms], validation: list[ase.Atoms], number: int) -> list[Path]:
    """Train the members, which differ in their seeds; return their checkpoints."""
    here = folder / f"round_{number}"
    here.mkdir(exist_ok=True)
    ase.io.write(here / "train.xyz", frames)
    ase.io.write(here / "validation.xyz", validation)
    found = []
    for seed in range(arguments.members):
        settings = {
            "data": {
                "train_files": str(here / "train.xyz"),
                "validation_files": str(here / "validation.xyz"),
            },
            "potential": {"model": {"size": "small", "elements": [1, 6, 8]}},
            "loss": {"energy_weight": 10.0, "forces_weight": 100.0},
            "optimizer": {
                "epochs": arguments.epochs, "batch_size": 4, "learning_rate": 0.006,
                "warmup_steps": 20, "ema_decay": 0.98,
            },
            "run": {
                "output_dir": str(here / f"member_{seed}"), "seed": seed, "plots": False,
                "validate_every_epochs": 10,
            },
        }  # fmt: skip
        result = train(training_config_from_dict(settings), resume=False)
        found.append(result.best_model)
    return found


frames, validation = sample(300.0, 24, seed=1), sample(300.0, 8, seed=2)
hot = sample(arguments.kelvin, 40, seed=3)  # to judge by; never learned
rounds = []
for number in range(arguments.rounds):
    members = learn(frames, validation, number)
    committee = CommitteeCalculator(members, stop_above=arguments.stop_above)
    found = committee.potential.evaluate(hot, forces=True)
    errors = [
        result.forces - atoms.arrays["REF_forces"] for result, atoms in zip(found, hot, strict=True)
    ]
    error = 1000 * float(np.sqrt(np.mean(np.square(errors))))
    asked, steps = [], []
    for k in range(arguments.walks):
        atoms = frames[k % len(frames)].copy()
        atoms.calc = committee
        dynamics = walk(atoms, arguments.kelvin, seed=100 * number + k)
        try:
            dynamics.run(arguments.steps)
        except UncertaintyError as stop:
            asked.append(label(ase.Atoms(stop.geometry.numbers, stop.geometry.positions)))
        steps.append(dynamics.nsteps)
    rounds.append((len(frames), error, float(np.mean(steps))))
    print(
        f"round {number}: {len(frames)} structures, {error:.0f} meV/Å on hot geometries; "
        f"{len(asked)} of {arguments.walks} runs stopped, {np.mean(steps):.0f} steps on average"
    )
    frames += asked

sizes, errors, lengths = zip(*rounds, strict=True)
figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
axes[0].plot(sizes, errors, "o-")
axes[0].set(xlabel="structures learned", ylabel=f"force RMSE at {arguments.kelvin:g} K, meV/Å")
axes[1].plot(sizes, lengths, "o-")
axes[1].set(xlabel="structures learned", ylabel="steps before it stopped")
figure.savefig(folder / "active_learning.png", dpi=150)
print(f"picture in {folder / 'active_learning.png'}; a member: {members[0]}")
