"""What each engine adds to a bare evaluation of energy and forces, and whether numbers agree.

    python benchmarks/engines/overhead.py [--models acetylacetone rmd17_aspirin] [--rounds 15]

Along a short trajectory every engine computes the same geometries, in turns, so that what else the
machine does meets all of them. Bare is the potential's own ``compute`` of systems that exist as
tensors. ``results/`` keeps a file for each version of torch, as TorchForce needs one of its own;
the table in docs/engines.md shows all of them.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ase
import ase.io
import ase.units
import numpy as np
import openmm
import torch
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray
from openmm import unit
from tqdm import tqdm

import se3set_mlip as s3
from se3set_mlip.engines.openmm_force import create_force
from se3set_mlip.export.torchscript import bind
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.potential.candidate_cache import CandidateCache
from se3set_mlip.potential.potential import Potential
from se3set_mlip.shipped import shipped_model, shipped_structure
from se3set_mlip.units import ANGSTROM_PER_NANOMETER, KJ_PER_MOL_PER_EV

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from pages import write_between_markers  # noqa: E402 - needs the path above
from provenance import provenance  # noqa: E402 - likewise

RESULTS = HERE / "results"
PAGE = HERE.parents[1] / "docs" / "engines.md"
BARE = "bare evaluation"
N_RANDOM, DISPLACEMENT_ANGSTROM = 20, 0.05
"""Geometries on which numbers are compared, and how far atoms are moved at random for them."""
Evaluate = Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]]
"""Positions (n_atoms, 3) in Å -> energy in eV, forces in eV/Å."""


def trajectory(potential: Potential, atoms: ase.Atoms, n_geometries: int) -> list[Any]:
    """Return geometries (n_atoms, 3) in Å of dynamics at 300 K, 0.5 fs apart."""
    moving = atoms.copy()
    moving.calc = s3.SE3SetCalculator(potential)
    MaxwellBoltzmannDistribution(moving, temperature_K=300, rng=np.random.default_rng(1))
    dynamics = VelocityVerlet(moving, timestep=0.5 * ase.units.fs)
    found = []
    for _ in range(n_geometries):
        dynamics.run(1)
        found.append(moving.positions.copy())
    return found


def bare(potential: Potential, atoms: ase.Atoms, fragments: Fragmentation) -> Evaluate:
    """Return the potential's own evaluation; making the tensors is not timed twice."""
    cache = CandidateCache()
    made: dict[bytes, Any] = {}

    def evaluate(positions: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        key = positions.tobytes()
        if key not in made:
            made[key] = potential.system(atoms.numbers, positions, fragments)
        output = potential.compute(made[key], cache=cache)
        return float(output.energy), output.forces.numpy()

    return evaluate


def in_ase(potential: Potential, atoms: ase.Atoms, _: Fragmentation) -> Evaluate:
    """Return the evaluation by ASE's calculator."""
    mine = atoms.copy()
    mine.calc = s3.SE3SetCalculator(potential, dtype=potential.dtype)

    def evaluate(positions: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        mine.positions = positions
        forces = mine.get_forces()
        return mine.get_potential_energy(), forces

    return evaluate


def in_openmm(platform: str, *, bound: bool = False) -> Callable[..., Evaluate]:
    """Return how to make the evaluation by OpenMM on a platform, of an eager or a bound program."""

    def make(potential: Potential, atoms: ase.Atoms, fragments: Fragmentation) -> Evaluate:
        force = (
            create_force(bind(potential, fragments))
            if bound
            else create_force(potential, fragments, kind="PythonForce")
        )
        system = openmm.System()
        for mass in atoms.get_masses():
            system.addParticle(mass)
        system.addForce(force)
        place = openmm.Platform.getPlatformByName(platform)
        context = openmm.Context(system, openmm.VerletIntegrator(0.0005), place)
        kilojoule = unit.kilojoule_per_mole

        def evaluate(positions: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            context.setPositions(positions / ANGSTROM_PER_NANOMETER)
            state = context.getState(energy=True, forces=True)
            forces = state.getForces(asNumpy=True).value_in_unit(kilojoule / unit.angstrom)
            energy = state.getPotentialEnergy().value_in_unit(kilojoule)
            return energy / KJ_PER_MOL_PER_EV, forces / KJ_PER_MOL_PER_EV

        return evaluate

    return make


ENGINES: dict[str, Callable[..., Evaluate]] = {
    BARE: bare,
    "ASE calculator": in_ase,
    "OpenMM PythonForce, Reference": in_openmm("Reference"),
    "OpenMM PythonForce, CPU": in_openmm("CPU"),
    "OpenMM TorchForce, CPU": in_openmm("CPU", bound=True),
}


def here() -> dict[str, Callable[..., Evaluate]]:
    """Return the engines that this environment has."""
    if find_spec("openmmtorch"):
        return ENGINES
    return {name: make for name, make in ENGINES.items() if "TorchForce" not in name}


def measure(name: str, precision: str, *, rounds: int, calls: int) -> list[dict[str, Any]]:
    """Return a row for each engine: medians of ms, and the largest differences from bare."""
    potential = s3.load(shipped_model(name)).to(dtype=precision)
    atoms = ase.io.read(shipped_structure(name))
    topology = s3.Topology.from_coordinates(atoms.numbers, atoms.positions, charge=0)
    fragments = potential.fragment(topology, atoms.positions)
    path = trajectory(potential, atoms, calls)
    noise = np.random.default_rng(2).normal(size=(N_RANDOM, len(atoms), 3))
    engines = {engine: make(potential, atoms, fragments) for engine, make in here().items()}
    shifts = {engine: [0.0, 0.0] for engine in engines}
    for moved in atoms.positions + DISPLACEMENT_ANGSTROM * noise:
        energy, forces = engines[BARE](moved)
        for engine, evaluate in engines.items():
            other_energy, other_forces = evaluate(moved)
            found = (abs(other_energy / energy - 1), np.abs(other_forces - forces).max())
            relative = (found[0], float(found[1] / np.abs(forces).max()))
            shifts[engine] = [max(pair) for pair in zip(shifts[engine], relative, strict=True)]
    times: dict[str, list[float]] = {engine: [] for engine in engines}
    for engine in engines.values():  # makes what is made once
        for positions in path:
            engine(positions)
    for _ in tqdm(range(rounds), desc=f"{name}, {precision}", unit="round"):
        for engine, evaluate in engines.items():
            began = time.perf_counter()
            for positions in path:
                evaluate(positions)
            times[engine].append(1000 * (time.perf_counter() - began) / len(path))
    ratios = {
        engine: statistics.median(
            mine / base for mine, base in zip(values, times[BARE], strict=True)
        )
        for engine, values in times.items()
    }
    return [
        {
            "model": name,
            "atoms": len(atoms),
            "precision": precision,
            "engine": engine,
            "ms": statistics.median(values),
            "ratio_to_bare": ratios[engine],
            "energy_difference_relative": shifts[engine][0],
            "force_difference_relative": shifts[engine][1],
        }
        for engine, values in times.items()
    ]


def table(results: list[dict[str, Any]]) -> str:
    """Return a Markdown table of all results."""
    lines = [
        "| model | precision | engine | torch | ms | over bare, ms | over bare | differences |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        for row in result["rows"]:
            over = row["ms"] * (1 - 1 / row["ratio_to_bare"])
            lines.append(
                f"| {row['model']}, {row['atoms']} atoms | {row['precision']} | {row['engine']} "
                f"| {result['torch'].partition('+')[0]} | {row['ms']:.2f} "
                + (
                    "| | | |"
                    if row["engine"] == BARE
                    else f"| {over:.2f} | {100 * (row['ratio_to_bare'] - 1):.0f} % "
                    f"| {row['energy_difference_relative']:.0e}, "
                    f"{row['force_difference_relative']:.0e} |"
                )
            )
    return "\n".join(lines)


def main() -> None:
    """Measure, keep, show."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["acetylacetone", "rmd17_aspirin"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=40, help="geometries in a round")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [
        row
        for name in options.models
        for precision in ("float32", "float64")
        for row in measure(name, precision, rounds=options.rounds, calls=options.calls)
    ]
    result = {
        **provenance(),
        "openmm": openmm.__version__,
        "threads": options.threads,
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"overhead_torch_{torch.__version__.partition('+')[0]}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    found = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(RESULTS.glob("overhead_torch_*.json"), reverse=True)
    ]
    text = table(found)
    print(text)
    write_between_markers(PAGE, "overhead", text)


if __name__ == "__main__":
    main()
