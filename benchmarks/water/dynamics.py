"""Water at constant temperature: whether it is stable, and its structure beside that of the data.

    python benchmarks/water/dynamics.py MODEL.safetensors --molecules 64 --picoseconds 20
    python benchmarks/water/dynamics.py MODEL.safetensors --molecules 216 --picoseconds 20
    python benchmarks/water/dynamics.py --only-report

Langevin dynamics through the ASE calculator, from water that a classical force field has made
liquid (``box.py``); the first ``--equilibrate`` ps, on top of those asked for, are not counted. The
same command continues a run that was interrupted, on the same path: each stretch between two saves
has random numbers of its own. A run in which a molecule breaks, or which gets hotter than
``HOT_KELVIN``, is stopped and reported as such.

The structure at equilibrium does not depend on masses: with ``--hydrogen-mass 4`` the vibration
of O-H is slower by 1.8, and a step of 2 fs is a ninth of its period. The integrator is BAOAB
(Leimkuhler and Matthews 2013), whose positions have next to no error from the time step.
"""

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import torch
from ase import units
from ase.io.trajectory import Trajectory
from ase.md.langevinbaoab import LangevinBAOAB
from box import liquid
from figures import report
from radial import BROKEN_ANGSTROM, changed_hands, longest_bond, molecules
from tqdm import tqdm

import se3set_mlip as s3

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from provenance import provenance  # noqa: E402 - needs the path above

HOT_KELVIN = 1000.0
SAMPLE_FS = 10.0  # between frames of the trajectory
SAVE_FS = 100.0  # between saved states
FRICTION_PER_PS = 1.0
EQUILIBRATION_FRICTION_PER_PS = 10.0
CLASSICAL_PS = 10.0
COLUMNS = ("time_ps", "potential_ev", "kinetic_ev", "temperature_k", "longest_bond_a", "changed")


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what makes the path of a run."""
    names = ("molecules", "timestep", "temperature", "hydrogen_mass", "equilibrate", "seed")
    content = hashlib.sha256(options.model.read_bytes()).hexdigest()
    about = {"model": options.model.name, "model_sha256": content, "dtype": options.dtype}
    about["integrator"] = "BAOAB"
    return about | {name: getattr(options, name) for name in names}


def start(options: argparse.Namespace, path: Path) -> ase.Atoms:
    """Return the liquid with velocities, made once and kept."""
    if not path.exists():
        found = liquid(
            options.molecules,
            temperature=options.temperature,
            picoseconds=CLASSICAL_PS,
            seed=options.seed,
        )
        ase.io.write(path, found, format="extxyz")
    atoms = ase.io.read(path, format="extxyz")
    masses = atoms.get_masses()
    masses[atoms.numbers == 1] = options.hydrogen_mass
    atoms.set_masses(masses)
    normal = np.random.default_rng(options.seed).standard_normal((len(atoms), 3))
    atoms.set_momenta(np.sqrt(masses[:, None] * units.kB * options.temperature) * normal)
    return atoms


def sample(atoms: ase.Atoms, owner: np.ndarray, time_ps: float) -> list[float]:
    """Return the row of ``COLUMNS`` at this time."""
    potential, kinetic = atoms.get_potential_energy(), atoms.get_kinetic_energy()
    temperature = 2.0 * kinetic / (3 * len(atoms) * units.kB)
    longest, changed = longest_bond(atoms, owner), changed_hands(atoms, owner)
    return [time_ps, potential, kinetic, temperature, longest, float(changed)]


def failure(rows: list[list[float]]) -> str | None:
    """Return what went wrong at the last sample, if anything did."""
    time_ps, potential, _, temperature, longest, changed = rows[-1]
    if not np.isfinite(potential) or not temperature < HOT_KELVIN:
        return f"{temperature:.0f} K at {time_ps:.3f} ps"
    if longest > BROKEN_ANGSTROM or changed:
        return f"a bond of {longest:.2f} Å at {time_ps:.3f} ps, {changed:.0f} protons moved over"
    return None


def move(options: argparse.Namespace, folder: Path) -> None:
    """Run, or continue, the dynamics; write ``state.npz``, ``path.traj`` and ``run.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    written = json.dumps(settings_of(options), sort_keys=True)
    atoms = start(options, folder / "start.xyz")
    owner = molecules(atoms)
    atoms.calc = s3.SE3SetCalculator(s3.load(options.model), dtype=options.dtype)
    every, stretch = (round(fs / options.timestep) for fs in (SAMPLE_FS, SAVE_FS))
    if min(every, stretch) < 1 or stretch % every:
        sys.exit(f"--timestep {options.timestep} does not divide {SAMPLE_FS} fs; give 0.5, 1 or 2")
    done, rows, wall = 0, [], 0.0
    state = folder / "state.npz"
    if state.exists():
        with np.load(state) as kept:
            if str(kept["settings"]) != written:
                sys.exit(f"{folder} holds a run with {kept['settings']}; give another --name")
            atoms.positions, done = kept["positions"], int(kept["step"])
            atoms.set_momenta(kept["momenta"])
            rows, wall = kept["rows"].tolist(), float(kept["wall"])
    total = round(1000.0 * (options.picoseconds + options.equilibrate) / options.timestep)
    broken = failure(rows) if rows else None
    with (
        Trajectory(str(folder / "path.traj"), "a") as trajectory,
        tqdm(total=total, initial=done, unit="step", desc=folder.name) as bar,
    ):
        while done < total and broken is None:
            frames, begun = [], time.perf_counter()
            counted = done * options.timestep >= 1000.0 * options.equilibrate
            friction = FRICTION_PER_PS if counted else EQUILIBRATION_FRICTION_PER_PS
            langevin = LangevinBAOAB(
                atoms,
                options.timestep * units.fs,
                temperature_K=options.temperature,
                T_tau=1000.0 * units.fs / friction,
                rng=np.random.default_rng([options.seed, done]),
            )
            for _ in range(stretch // every):
                langevin.run(every)
                done += every
                bar.update(every)
                rows.append(sample(atoms, owner, done * options.timestep / 1000.0))
                frames.append(ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True))
                frames[-1].info["step"] = done
                broken = failure(rows)
                if broken is not None:
                    break
            wall += time.perf_counter() - begun
            bar.set_postfix_str(f"{rows[-1][3]:.0f} K", refresh=False)
            # Frames first: those of a stretch that is repeated are found twice, and read once.
            for frame in frames:
                trajectory.write(frame)
            temporary = folder / "state.tmp.npz"
            np.savez(
                temporary,
                positions=atoms.positions,
                momenta=atoms.get_momenta(),
                step=done,
                rows=np.array(rows),
                wall=wall,
                settings=written,
            )
            temporary.replace(state)
    about = settings_of(options) | {
        "picoseconds": done * options.timestep / 1000.0 - options.equilibrate,
        "stable": broken is None,
        "failure": broken,
        "threads": options.threads,
        "wall_time_s": wall,
        "seconds_per_step": wall / done if done else None,
    }
    about |= provenance() | {"columns": COLUMNS, "rows": rows}
    (folder / "run.json").write_text(json.dumps(about) + "\n", encoding="utf-8")
    print(f"{folder.name}: {broken or 'stable'}, {about['seconds_per_step']:.4f} s a step")


def main() -> None:
    """Run the dynamics that is asked for, and report all that there is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, nargs="?", help="a .safetensors file")
    parser.add_argument("--molecules", type=int, default=64, help="a cube of a whole number")
    parser.add_argument("--picoseconds", type=float, default=20.0)
    parser.add_argument("--equilibrate", type=float, default=2.0, help="ps before")
    parser.add_argument("--timestep", type=float, default=0.5, help="fs")
    parser.add_argument("--temperature", type=float, default=300.0, help="K")
    parser.add_argument("--hydrogen-mass", type=float, default=1.008, help="u")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--name", help="of the run; made of molecules, temperature, seed")
    parser.add_argument("--data", type=Path, default=Path("runs/water/data"))
    parser.add_argument("--runs", type=Path, default=Path("runs/water/dynamics"))
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--only-report", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not options.only_report:
        if options.model is None or not options.model.exists():
            parser.error(f"there is no model {options.model}; train one, see README.md")
        made = f"{options.molecules}-{options.temperature:g}K-{options.seed}"
        move(options, options.runs / (options.name or made))
    report(options.runs, options.data, options.results)


if __name__ == "__main__":
    main()
