"""One Langevin trajectory with GFN2-xTB, kept on disk so that it can go on at any time.

From the relaxed geometry, with velocities of its own seed: equilibration, then a structure at
regular times. When a bond forms or breaks it is begun again with another seed. eV, Å, fs, K.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary, ZeroRotation
from molecules import Start
from tqdm import tqdm

SAVE_EVERY, MOST_ATTEMPTS = 4, 20
"""Structures from one saved state to the next; seeds that a trajectory may use up."""


@dataclass(frozen=True)
class Protocol:
    """How each trajectory runs; temperature in K, times in fs, friction per fs."""

    temperature_k: float = 500.0
    timestep_fs: float = 1.0
    friction_per_fs: float = 0.01
    spacing_steps: int = 25
    equilibration_steps: int = 1000
    frames: int = 250
    seed: int = 1

    def seed_of(self, trajectory: int, attempt: int) -> int:
        """Return the seed of an attempt at a trajectory."""
        return 10_000 * self.seed + 100 * attempt + trajectory


class Trajectory:
    """One trajectory with its state on disk, in one file that is replaced as a whole.

    Parameters
    ----------
    start
        The molecule.
    protocol
        How it runs.
    number
        Which one.
    path
        Its file; a trajectory that is there goes on. To the last bit it does so only up to the
        convergence of the charges, which start anew.
    """

    def __init__(self, start: Start, protocol: Protocol, number: int, path: Path) -> None:
        self.start, self.protocol, self.number, self.path = start, protocol, number, path
        self.atoms = start.moving()
        self.broken: list[dict[str, Any]] = []
        self.begin()
        if path.exists():
            self._read()

    def begin(self) -> None:
        """Go back to the start, with the seed of the next attempt."""
        if len(self.broken) >= MOST_ATTEMPTS:
            raise RuntimeError(
                f"trajectory {self.number} broke {MOST_ATTEMPTS} times; the molecule does not last "
                f"at {self.protocol.temperature_k} K: lower the temperature or shorten the run"
            )
        self.seed = self.protocol.seed_of(self.number, len(self.broken))
        self.rng = np.random.default_rng(self.seed)
        self.step, self.seconds = 0, 0.0
        self.frames: list[dict[str, Any]] = []
        self.atoms.positions = self.start.atoms.positions
        temperature = self.protocol.temperature_k
        MaxwellBoltzmannDistribution(self.atoms, temperature_K=temperature, rng=self.rng)
        Stationary(self.atoms)
        ZeroRotation(self.atoms)
        self._prepare()

    def _prepare(self) -> None:
        """Make what moves the atoms."""
        self.dynamics = Langevin(
            self.atoms,
            self.protocol.timestep_fs * units.fs,
            temperature_K=self.protocol.temperature_k,
            friction=self.protocol.friction_per_fs / units.fs,
            fixcm=False,
            rng=self.rng,
        )

    @property
    def finished(self) -> bool:
        """Whether all structures are there."""
        return len(self.frames) >= self.protocol.frames

    @property
    def blocks(self) -> int:
        """How many times ``spacing_steps`` it has run."""
        return self.step // self.protocol.spacing_steps

    def advance(self) -> None:
        """Run to the next structure, and keep it if equilibrated."""
        began = time.perf_counter()
        self.dynamics.run(self.protocol.spacing_steps)
        self.step += self.protocol.spacing_steps
        self.seconds += time.perf_counter() - began
        reason = self.start.why_broken(self.atoms.positions)
        if reason is not None:
            self.broken.append({"seed": self.seed, "step": self.step, "reason": reason})
            tqdm.write(f"trajectory {self.number}, seed {self.seed}, step {self.step}: {reason}")
            self.begin()
            self.save()
            return
        if self.step > self.protocol.equilibration_steps:
            bonds, distance = self.start.lengths(self.atoms.positions)
            self.frames.append(
                {
                    "positions": self.atoms.positions - self.atoms.positions.mean(axis=0),
                    "energy": self.atoms.get_potential_energy(apply_constraint=False),
                    "forces": self.atoms.get_forces(apply_constraint=False),
                    "temperature": self.atoms.get_temperature(),
                    "hydrogen_bonds": np.ravel(bonds),
                    "distance": distance,
                }
            )
        if self.blocks % SAVE_EVERY == 0 or self.finished:
            self.save()

    def save(self) -> None:
        """Write the state and all structures so far."""
        state = {
            "protocol": asdict(self.protocol),
            "seed": self.seed,
            "step": self.step,
            "seconds": self.seconds,
            "broken": self.broken,
            "rng": self.rng.bit_generator.state,
        }
        keys = self.frames[0] if self.frames else ()
        arrays = {key: np.array([frame[key] for frame in self.frames]) for key in keys}
        momenta = self.atoms.get_momenta()
        part = self.path.with_suffix(".part.npz")
        np.savez(part, state=json.dumps(state), now=self.atoms.positions, momenta=momenta, **arrays)
        part.replace(self.path)

    def _read(self) -> None:
        """Take up what was saved."""
        with np.load(self.path) as data:
            state = json.loads(str(data["state"]))
            if state["protocol"] != asdict(self.protocol):
                raise SystemExit(
                    f"{self.path} was begun with {state['protocol']}; give these settings again, "
                    "or remove its folder"
                )
            self.seed, self.step, self.seconds = state["seed"], state["step"], state["seconds"]
            self.broken = state["broken"]
            self.rng.bit_generator.state = state["rng"]
            self.atoms.positions = data["now"]
            self.atoms.set_momenta(data["momenta"])
            keys = [key for key in data.files if key not in ("state", "now", "momenta")]
            columns = [data[key] for key in keys]
            self.frames = [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)]
        self._prepare()
