"""The near end of the pipe: a calculator of another environment, as an ASE calculator of this one.

Potentials pin versions of their dependencies that exclude one another. So each peer stays in its
own environment, in a process of its own (``serve.py``), and is asked through a pipe. It works both
ways round: our checks on a peer's potential, and others' benchmarks on ours. Needs ASE alone.
"""

import json
import pickle
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

SERVER = Path(__file__).with_name("serve.py")


class RemoteError(RuntimeError):
    """The calculator at the far end failed; the message is its traceback."""


class Answer(NamedTuple):
    """Energy in eV, forces (n_atoms, 3) in eV/Å and stress (3, 3) in eV/Å^3 of a structure."""

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64] | None


class RemoteCalculator(Calculator):
    """An ASE calculator that lives in another environment.

    Parameters
    ----------
    python
        Interpreter of that environment.
    target
        What makes the calculator there, as ``module:name``.
    arguments
        Keyword arguments of it; JSON must hold them.
    allowed_atomic_numbers
        Elements that it knows, for those who ask (mlipaudit does); empty if unknown.

    Raises
    ------
    RemoteError
        If the calculator cannot be made, or fails on a structure.
    """

    def __init__(
        self,
        python: str | Path,
        target: str,
        arguments: Mapping[str, Any],
        *,
        allowed_atomic_numbers: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.allowed_atomic_numbers = set(allowed_atomic_numbers)
        self._process = subprocess.Popen(
            [str(python), str(SERVER), target, json.dumps(dict(arguments))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.implemented_properties = [
            name
            for name in self._receive()
            if name in {"energy", "free_energy", "forces", "stress"}
        ]

    def __deepcopy__(self, memo: dict[int, Any]) -> "RemoteCalculator":
        """Return itself: a process has no copy, and keeps nothing between structures."""
        return self

    def _receive(self) -> Any:
        assert self._process.stdout is not None
        try:
            return pickle.load(self._process.stdout)
        except EOFError as error:
            raise RemoteError("the calculator's process ended; see its messages above") from error

    def evaluate(self, structures: Sequence[Atoms], *, stress: bool = False) -> list[Answer]:
        """Return energies and derivatives of structures, asked for in one message."""
        assert self._process.stdin is not None
        message = [
            (
                atoms.numbers,
                atoms.positions,
                atoms.cell.array,
                atoms.pbc,
                int(atoms.info.get("charge", 0)),
            )
            for atoms in structures
        ]
        pickle.dump((message, stress), self._process.stdin)
        self._process.stdin.flush()
        found = self._receive()
        if isinstance(found, str):
            raise RemoteError(found)
        return [Answer(*values) for values in found]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute energy and forces, and the stress if it is asked for."""
        super().calculate(atoms, list(properties), list(system_changes))
        values = self.evaluate([self.atoms], stress="stress" in properties)[0]
        self.results = {
            "energy": values.energy,
            "free_energy": values.energy,
            "forces": values.forces,
        }
        if values.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(values.stress)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
