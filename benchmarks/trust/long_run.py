"""NVE without end: memory that stays flat, energy that stays where it is.

Velocity Verlet through the ASE calculator. Each 1,000 steps: resident memory, total energy, the
number of incidences of the hypergraph (that it changes), and the speed. A run that was stopped goes
on from its last checkpoint when the same command is given again.

    python benchmarks/trust/long_run.py --model MODEL.safetensors --output long
"""

import argparse
import json
import os
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from ase import Atoms, units
from ase.io import read
from ase.md.velocitydistribution import Stationary, force_temperature
from ase.md.verlet import VelocityVerlet
from tqdm import tqdm

import se3set_mlip as s3

MODELS = Path(__file__).parents[2] / "models"
COLUMNS = ("step", "resident_mib", "energy_ev", "temperature_k", "incidences", "process")
SECONDS_PER_DAY = 86_400.0
WARMUP_STEPS = 1000  # of each process, before its memory counts


def resident_mib() -> float:
    """Return the resident memory of this process in MiB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def incidences(atoms: Atoms) -> int:
    """Return the number of incidences of the hypergraph of the atoms."""
    potential = atoms.calc.potential
    system = potential.system(
        atoms.numbers, atoms.positions, atoms.calc.fragmentation(atoms), cell=None, pbc=None
    )
    with torch.no_grad():
        return int(potential.module.builder(system).incidence_atom.shape[0])


def start(arguments: argparse.Namespace) -> Atoms:
    """Return the structure with velocities of the temperature, and fragments already found."""
    atoms = read(arguments.structure)
    atoms.calc = s3.SE3SetCalculator(s3.load(arguments.model), dtype=arguments.dtype)
    atoms.get_potential_energy()  # fragments are those of this geometry, however often resumed
    rng = np.random.default_rng(arguments.seed)
    momenta = rng.standard_normal((len(atoms), 3)) * np.sqrt(atoms.get_masses())[:, None]
    atoms.set_momenta(momenta)
    Stationary(atoms)
    force_temperature(atoms, arguments.temperature)
    return atoms


def save(path: Path, atoms: Atoms, step: int, rows: list[list[float]], settings: str) -> None:
    """Write the state to a file, whole or not at all."""
    temporary = path.with_suffix(".tmp.npz")
    np.savez(
        temporary,
        positions=atoms.positions,
        momenta=atoms.get_momenta(),
        step=step,
        rows=np.array(rows),
        settings=settings,
    )
    temporary.replace(path)


def summary(rows: np.ndarray, n_atoms: int, timestep: float) -> dict[str, float | None]:
    """Return drift, fluctuation, and the growth of memory after the warm-up of each process."""
    step, resident, energy = rows[:, 0], rows[:, 1], rows[:, 2]
    picoseconds = step * timestep / 1000.0
    drift = np.polyfit(picoseconds, energy, 1)[0] if len(rows) > 1 else np.nan
    growth = None  # as long as no process is past its warm-up
    for process in np.unique(rows[:, 5]):
        of_process = rows[:, 5] == process
        counted = resident[of_process & (step >= step[of_process][0] + WARMUP_STEPS)]
        if len(counted) > 1:
            growth = max(growth or 0.0, float(counted.max() / counted[0] - 1.0))
    return {
        "steps": int(step[-1]),
        "picoseconds": float(picoseconds[-1]),
        "drift_mev_per_atom_per_ps": float(1000.0 * drift / n_atoms),
        "energy_std_mev_per_atom": float(1000.0 * energy.std() / n_atoms),
        "memory_growth_percent": None if growth is None else 100.0 * growth,
        "different_incidences": len(np.unique(rows[:, 4])),
        "processes": len(np.unique(rows[:, 5])),
    }


def draw(rows: np.ndarray, n_atoms: int, path: Path) -> None:
    """Draw memory and energy against the step."""
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(7, 5), layout="constrained")
    for process in np.unique(rows[:, 5]):
        part = rows[rows[:, 5] == process]
        above.plot(part[:, 0], part[:, 1])
    above.set_ylabel("resident memory / MiB")
    above.set_ylim(0.0, 1.2 * rows[:, 1].max())
    below.plot(rows[:, 0], 1000.0 * (rows[:, 2] - rows[0, 2]) / n_atoms)
    below.set_ylabel("change of total energy / meV/atom")
    below.set_xlabel("step")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def parse() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=MODELS / "acetylacetone.safetensors")
    parser.add_argument("--structure", type=Path, default=MODELS / "acetylacetone.xyz")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--timestep", type=float, default=0.5, help="fs")
    parser.add_argument("--temperature", type=float, default=300.0, help="K")
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", type=int, default=1000, help="steps between records")
    parser.add_argument("--checkpoint", type=int, default=5000, help="steps between checkpoints")
    parser.add_argument("--output", type=Path, required=True, help="path without a suffix")
    return parser.parse_args()


def report(
    arguments: argparse.Namespace,
    settings: dict[str, object],
    rows: np.ndarray,
    ns_per_day: float | None,
) -> None:
    """Write JSON and the picture; print the JSON without the records."""
    n_atoms = int(str(settings["n_atoms"]))
    result = {"settings": settings, **summary(rows, n_atoms, arguments.timestep)}
    result["ns_per_day"] = ns_per_day
    print(json.dumps(result, indent=1))
    result["records"] = {name: rows[:, k].tolist() for k, name in enumerate(COLUMNS)}
    arguments.output.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    draw(rows, n_atoms, arguments.output.with_suffix(".png"))


def main() -> None:
    """Run, or go on with, the dynamics; write JSON and a picture."""
    arguments = parse()
    torch.set_num_threads(1)

    names = ("timestep", "temperature", "dtype", "seed", "record")
    settings = {name: getattr(arguments, name) for name in names}
    settings |= {name: getattr(arguments, name).name for name in ("model", "structure")}
    written = json.dumps(settings, sort_keys=True)
    state = arguments.output.with_suffix(".npz")
    state.parent.mkdir(parents=True, exist_ok=True)
    atoms = start(arguments)
    done, rows = 0, []
    if state.exists():
        with np.load(state) as kept:
            if str(kept["settings"]) != written:
                raise SystemExit(
                    f"{state} is of a run with {kept['settings']}; give another output"
                )
            atoms.positions = kept["positions"]
            atoms.set_momenta(kept["momenta"])
            done, rows = int(kept["step"]), kept["rows"].tolist()
    process = rows[-1][5] + 1 if rows else 0

    dynamics = VelocityVerlet(atoms, timestep=arguments.timestep * units.fs)

    def record(step: int) -> None:
        energy, temperature = atoms.get_total_energy(), atoms.get_temperature()
        rows.append([step, resident_mib(), energy, temperature, incidences(atoms), process])

    if done == 0:
        record(0)
    begun, wall = done, 0.0
    with tqdm(total=arguments.steps, initial=done, unit="step") as bar:
        while done < arguments.steps:
            n_steps = min(arguments.record - done % arguments.record, arguments.steps - done)
            clock = time.perf_counter()
            dynamics.run(n_steps)
            wall += time.perf_counter() - clock
            done += n_steps
            record(done)
            bar.update(n_steps)
            if done % arguments.checkpoint == 0 or done == arguments.steps:
                save(state, atoms, done, rows, written)

    days = wall / SECONDS_PER_DAY
    speed = (done - begun) * arguments.timestep * 1e-6 / days if wall else None
    report(arguments, settings | {"n_atoms": len(atoms)}, np.array(rows), speed)


if __name__ == "__main__":
    main()
