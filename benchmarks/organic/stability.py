"""Dynamics of many molecules never seen, at 300 and 500 K, and how many of them break.

    python benchmarks/organic/stability.py MODEL [--molecules 50] [--picoseconds 50]
        [--processes 2] [--minutes 60]

Langevin dynamics (BAOAB, 2 per ps) from the relaxed molecule, one copy of it at each temperature,
several molecules in one evaluation of a compiled network. Hydrogens weigh 4 u and steps are 2 fs:
how often a geometry is visited at equilibrium does not hang on masses. The rule is that of
``se3set check``: a bond more than 0.5 Å off, or three times the temperature over 0.1 ps, is a
failure, and that copy stops; a proton that another nitrogen or oxygen holds is counted apart.

Interrupt it at will, and give more picoseconds later: the next run goes on from the positions and
velocities in ``results/stability_MODEL.npz``, as long as the weights are the same. How long was
moved with which time step is kept there.
"""

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, as_completed
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from ase import units
from numpy.typing import NDArray
from pool import processes
from rdkit import RDLogger
from subjects import RESULTS, conformers, unseen_molecules, weights_of, write
from tqdm import tqdm

import se3set_mlip as s3
from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.hypergraph.hypergraph import moved
from se3set_mlip.potential.candidate_cache import CandidateCache
from se3set_mlip.simulate.velocities import temperature_kelvin
from se3set_mlip.testing.bonds import Bonds
from se3set_mlip.testing.integrators import baoa, relaxed
from se3set_mlip.testing.stability import (
    FRICTION_PER_PS,
    TEMPERATURES_KELVIN,
    CopyWatch,
)
from se3set_mlip.testing.subject import Specimen
from se3set_mlip.testing.subjects import PotentialSubject
from se3set_mlip.topology.molecule import Topology
from se3set_mlip.units import BOLTZMANN_EV_PER_KELVIN, FEMTOSECONDS_PER_PICOSECOND

Array = NDArray[np.float64]
TIMESTEP_FS, HYDROGEN_U = 2.0, 4.0
"""3 fs are too long, a fifth of the period of an O-H bond: they drive it until it flies apart."""
TIMESTEP_PS = TIMESTEP_FS / FEMTOSECONDS_PER_PICOSECOND
ATOMS_IN_BATCH = 500
ROUND_PS = 1.0
"""A batch moves so far before the next one has its turn, and before files are written."""


@dataclass
class Copy:
    """One molecule at one temperature, where it is, and what has become of it.

    Positions in Å, velocities in ASE's unit; ``picoseconds`` is the time since the start.
    """

    smiles: str
    kelvin: float
    still: Specimen
    positions: Array
    velocities: Array
    picoseconds: float = 0.0
    failure: str = ""
    transfers: int = 0

    def __post_init__(self) -> None:
        self.bonds = Bonds(self.still)
        self.masses = masses(self.still.atoms)
        self.watch = CopyWatch(self.bonds, self.kelvin, TIMESTEP_FS, positions=self.positions)
        self.watch.transfers = self.transfers

    def look(self) -> None:
        """Say why the copy fails, if it does; count protons that went over."""
        kinetic = 0.5 * float((self.masses * self.velocities**2).sum())
        temperature = temperature_kelvin(kinetic, self.velocities.size)
        self.failure = self.watch.failure(temperature, self.positions)
        self.transfers = self.watch.transfers


def masses(atoms: ase.Atoms) -> Array:
    """Return the masses that move, (n_atoms, 1) u."""
    return np.where(atoms.numbers == 1, HYDROGEN_U, atoms.get_masses())[:, None]


def specimen_of(smiles: str) -> Specimen:
    """Return a conformer of a force field, which states its bonds."""
    atoms = conformers(smiles, 1)[1][0]
    return Specimen(atoms, Topology.from_smiles(atoms.info["mapped_smiles"]))


def started(smiles: str, potential: Any, seed: int) -> list[Copy]:
    """Return a copy of a molecule for each temperature, relaxed, with thermal velocities."""
    still = relaxed(PotentialSubject(potential), specimen_of(smiles))
    points = still.atoms.positions
    rng = np.random.default_rng(seed)
    copies = []
    for kelvin in TEMPERATURES_KELVIN:
        # Half of it goes into the potential energy within the first vibrations.
        width = np.sqrt(2.0 * BOLTZMANN_EV_PER_KELVIN * kelvin / masses(still.atoms))
        velocities = width * rng.standard_normal(points.shape)
        copies.append(Copy(smiles, kelvin, still, points.copy(), velocities))
    return copies


class Batch:
    """Copies that move together.

    Parameters
    ----------
    copies
        None of them has failed.
    potential
        Single precision will do.
    """

    def __init__(self, copies: list[Copy], potential: Any) -> None:
        self.copies, self.potential = copies, potential
        subject = PotentialSubject(potential)
        self.template = batch_systems([subject.system(copy.still) for copy in copies])
        self.candidates = CandidateCache()
        self.ends = np.cumsum([len(copy.positions) for copy in copies])[:-1]
        self.masses = np.concatenate([copy.masses for copy in copies])
        self.kelvin = np.concatenate([np.full_like(c.masses, c.kelvin) for c in copies])

    def forces(self, positions: Array) -> Array:
        """Return the forces on all atoms, (n_atoms, 3) eV/Å."""
        near = np.concatenate([p - p.mean(axis=0) for p in np.split(positions, self.ends)])
        tensor = torch.tensor(near, dtype=self.potential.dtype)
        system = moved(self.template, tensor, self.template.cell)
        found = self.potential.compute(system, cache=self.candidates)
        return np.asarray(found.forces, dtype=np.float64)

    def run(self, n_steps: int, rng: np.random.Generator) -> None:
        """Move by so many steps, or until a copy fails."""
        positions = np.concatenate([copy.positions for copy in self.copies])
        velocities = np.concatenate([copy.velocities for copy in self.copies])
        kick = 0.5 * TIMESTEP_FS * units.fs / self.masses
        forces = self.forces(positions)
        for _ in range(n_steps):
            positions, velocities = baoa(
                positions,
                velocities,
                forces,
                masses=self.masses,
                timestep_fs=TIMESTEP_FS,
                temperatures_kelvin=self.kelvin,
                friction_per_ps=FRICTION_PER_PS,
                generator=rng,
            )
            forces = self.forces(positions)
            velocities = velocities + kick * forces
            each = zip(
                self.copies,
                np.split(positions, self.ends),
                np.split(velocities, self.ends),
                strict=True,
            )
            for copy, copy.positions, copy.velocities in each:
                copy.picoseconds += TIMESTEP_PS
                copy.look()
            if any(copy.failure for copy in self.copies):
                return


def batches(copies: list[Copy], places: Iterable[int]) -> Iterator[list[int]]:
    """Yield places of copies in groups of at most so many atoms."""
    group: list[int] = []
    n_atoms = 0
    for k in places:
        size = len(copies[k].positions)
        if group and n_atoms + size > ATOMS_IN_BATCH:
            yield group
            group, n_atoms = [], 0
        group.append(k)
        n_atoms += size
    if group:
        yield group


@cache
def potential_of(model: Path, *, eager: bool) -> Any:
    """Return a potential in single precision; each process has its own."""
    potential = s3.load(model, dtype="float32")
    return potential if eager else potential.compiled()


def moved_on(
    copies: list[Copy], model: Path, n_steps: int, seed: list[int], *, eager: bool
) -> list[Copy]:
    """Return copies so many steps later, or where they were when one of them failed."""
    RDLogger.DisableLog("rdApp.*")
    moving = deepcopy(copies)
    batch = Batch(moving, potential_of(model, eager=eager))
    batch.run(n_steps, np.random.default_rng(seed))
    return moving


def summary(copies: list[Copy], by_timestep: dict[float, float]) -> dict[str, Any]:
    """Return what happened to all of them."""
    lengths = [copy.picoseconds for copy in copies]
    return {
        "temperatures": TEMPERATURES_KELVIN,
        "hydrogen_u": HYDROGEN_U,
        "molecules": len({copy.smiles for copy in copies}),
        "atoms": sum(len(copy.positions) for copy in copies) // len(TEMPERATURES_KELVIN),
        "picoseconds": sum(lengths),
        "picoseconds_by_timestep_fs": by_timestep,
        "picoseconds_at_least": min(
            (copy.picoseconds for copy in copies if not copy.failure), default=0.0
        ),
        "picoseconds_at_least_by_kelvin": {
            f"{kelvin:g}": min(
                (c.picoseconds for c in copies if not c.failure and c.kelvin == kelvin),
                default=0.0,
            )
            for kelvin in TEMPERATURES_KELVIN
        },
        "failures": sum(bool(copy.failure) for copy in copies),
        "proton_transfers": sum(copy.transfers for copy in copies),
    }


def save(copies: list[Copy], model: Path, by_timestep: dict[float, float]) -> None:
    """Write results, and the state from which the next run goes on.

    Parameters
    ----------
    copies
        All of them.
    model
        What moves them.
    by_timestep
        How many picoseconds in all were moved with each time step in fs.
    """
    each = [
        {
            "smiles": copy.smiles,
            "kelvin": copy.kelvin,
            "n_atoms": len(copy.positions),
            "picoseconds": round(copy.picoseconds, 6),
            "failure": copy.failure,
            "proton_transfers": copy.transfers,
        }
        for copy in copies
    ]
    record = (
        {"asked_weights_sha256": weights_of(model)} | summary(copies, by_timestep) | {"each": each}
    )
    write("stability", model, record)
    np.savez_compressed(
        RESULTS / f"stability_{model.stem}.npz",
        weights_sha256=weights_of(model),
        timesteps=list(by_timestep.items()),
        smiles=[copy.smiles for copy in copies],
        kelvin=[copy.kelvin for copy in copies],
        picoseconds=[copy.picoseconds for copy in copies],
        failure=[copy.failure for copy in copies],
        transfers=[copy.transfers for copy in copies],
        n_atoms=[len(copy.positions) for copy in copies],
        still=np.concatenate([copy.still.atoms.positions for copy in copies]).astype(np.float32),
        # Not where it has drifted to: digits are for the shape.
        positions=np.concatenate(
            [copy.positions - copy.positions.mean(axis=0) for copy in copies]
        ).astype(np.float32),
        velocities=np.concatenate([copy.velocities for copy in copies]).astype(np.float32),
    )


def saved(model: Path) -> tuple[list[Copy], dict[float, float]]:
    """Return what an earlier run with these weights left: its copies, and ``by_timestep``."""
    path = RESULTS / f"stability_{model.stem}.npz"
    if not path.exists():
        return [], {}
    with np.load(path) as file:
        if str(file["weights_sha256"]) != weights_of(model):
            return [], {}
        ends = np.cumsum(file["n_atoms"])[:-1]
        split = {
            name: np.split(file[name].astype(np.float64), ends)
            for name in ("still", "positions", "velocities")
        }
        by_timestep = {float(fs): float(ps) for fs, ps in file["timesteps"]}
        copies: list[Copy] = []
        stills: dict[str, Specimen] = {}  # of all temperatures
        for k, smiles in enumerate(file["smiles"].tolist()):
            if smiles not in stills:
                stills[smiles] = specimen_of(smiles)
                stills[smiles].atoms.positions = split["still"][k]
            copies.append(
                Copy(
                    smiles=smiles,
                    kelvin=float(file["kelvin"][k]),
                    still=stills[smiles],
                    positions=split["positions"][k],
                    velocities=split["velocities"][k],
                    picoseconds=float(file["picoseconds"][k]),
                    failure=str(file["failure"][k]),
                    transfers=int(file["transfers"][k]),
                )
            )
    return copies, by_timestep


class Fleet:
    """All copies, of which those that are behind move first.

    Parameters
    ----------
    model
        What moves them; its results are written after each batch.
    copies, by_timestep
        Where they are, and how many picoseconds were moved with each time step, see :func:`save`.
    picoseconds
        How far all are to come.
    eager
        Do not compile the network.
    kelvin
        Temperatures of the copies that move.
    """

    def __init__(
        self,
        model: Path,
        copies: list[Copy],
        by_timestep: dict[float, float],
        *,
        picoseconds: float,
        eager: bool,
        kelvin: Sequence[float] = TEMPERATURES_KELVIN,
    ) -> None:
        self.kelvin = kelvin
        self.model, self.copies, self.by_timestep = model, copies, by_timestep
        self.picoseconds, self.eager = picoseconds, eager

    def submit(self, pool: Executor) -> dict[Future[list[Copy]], list[int]]:
        """Hand out batches of copies that lack time, least first; return the places of each."""
        lacking = [
            k
            for k, copy in enumerate(self.copies)
            if copy.kelvin in self.kelvin
            and not copy.failure
            and copy.picoseconds < self.picoseconds - 1e-9
        ]
        lacking.sort(key=lambda k: self.copies[k].picoseconds)
        tasks = {}
        for places in batches(self.copies, lacking):
            group = [self.copies[k] for k in places]
            least = group[0].picoseconds
            n_steps = max(1, round(min(ROUND_PS, self.picoseconds - least) / TIMESTEP_PS))
            seed = [round(1000 * least), *places]
            task = pool.submit(moved_on, group, self.model, n_steps, seed, eager=self.eager)
            tasks[task] = places
        return tasks

    def take(self, places: list[int], group: list[Copy]) -> float:
        """Put copies that have moved into their places; return by how many ps in all."""
        moved = sum(copy.picoseconds for copy in group)
        moved -= sum(self.copies[k].picoseconds for k in places)
        for k, copy in zip(places, group, strict=True):
            self.copies[k] = copy
        self.by_timestep[TIMESTEP_FS] = self.by_timestep.get(TIMESTEP_FS, 0.0) + moved
        save(self.copies, self.model, self.by_timestep)
        return moved

    def run(self, n_processes: int | None, end: float) -> None:
        """Move all until they have come far enough, or until a time of ``time.monotonic``."""
        total = len(self.copies) * self.picoseconds
        done = sum(copy.picoseconds for copy in self.copies)
        with (
            processes(n_processes) as pool,
            tqdm(total=total, initial=done, unit="ps") as bar,
        ):
            while tasks := self.submit(pool):
                for task in as_completed(tasks):
                    bar.update(self.take(tasks[task], task.result()))
                    bar.set_postfix(failed=sum(bool(copy.failure) for copy in self.copies))
                    if time.monotonic() > end:
                        pool.shutdown(cancel_futures=True)
                        return


def main() -> None:
    """Move all molecules, a little at a time, until they have gone far enough or time is over."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--molecules", type=int, default=50)
    parser.add_argument("--picoseconds", type=float, default=50.0)
    parser.add_argument(
        "--kelvin", type=float, nargs="+", default=TEMPERATURES_KELVIN, help="move only these"
    )
    parser.add_argument("--processes", type=int, help="default: one for each core")
    parser.add_argument("--minutes", type=float, help="stop after so long; files are written")
    parser.add_argument("--eager", action="store_true", help="do not compile (it takes 2 minutes)")
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    end = time.monotonic() + 60.0 * (options.minutes or np.inf)
    copies, by_timestep = saved(options.model)
    known = {copy.smiles for copy in copies}
    if copies:
        print(f"{len(known)} molecules go on")
    exact = s3.load(options.model)
    wanted = [molecule["smiles"] for molecule in unseen_molecules(options.molecules)]
    for k, smiles in enumerate(tqdm(wanted, desc="relax", unit="molecule")):
        if smiles not in known:
            copies += started(smiles, exact, seed=k)
    fleet = Fleet(
        options.model,
        copies,
        by_timestep,
        picoseconds=options.picoseconds,
        eager=options.eager,
        kelvin=options.kelvin,
    )
    fleet.run(options.processes, end)
    for name, value in summary(fleet.copies, by_timestep).items():
        print(f"{name}: {value}")
    for copy in fleet.copies:
        if copy.failure:
            print(f"{copy.smiles} at {copy.kelvin:g} K, {copy.picoseconds:.3g} ps: {copy.failure}")


if __name__ == "__main__":
    main()
