"""The far end of the pipe: an ASE calculator of another environment, asked through its stdin.

Runs in the environment of the calculator and needs nothing but ASE there::

    python serve.py mace.calculators:MACECalculator '{"model_paths": "mace.model"}'

Each request is a pickled ``(structures, stress)``, each structure a tuple of numbers, positions
in Å, cell, pbc and charge. The answer is a list of ``(energy, forces, stress or None)`` in eV, eV/Å
and eV/Å^3, or the text of an exception. Whatever the calculator prints goes to stderr.
"""

import importlib
import json
import os
import pickle
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms


def make_calculator(target: str, arguments: dict[str, Any]) -> Any:
    """Return what a callable ``module:name`` or ``module:Class.method`` makes."""
    module, _, name = target.partition(":")
    made: Any = importlib.import_module(module)
    for part in name.split("."):
        made = getattr(made, part)
    return made(**arguments)


def answer(calculator: Any, structures: Sequence[Any], *, stress: bool) -> list[Any]:
    """Return energy, forces and stress of every structure."""
    found = []
    for numbers, positions, cell, pbc, charge in structures:
        atoms = Atoms(numbers, positions, cell=cell, pbc=pbc, calculator=calculator)
        atoms.info["charge"] = charge
        tensor = atoms.get_stress(voigt=False) if stress else None
        forces = np.array(atoms.get_forces(), dtype=np.float64)
        found.append((float(atoms.get_potential_energy()), forces, tensor))
    return found


def main() -> None:
    """Answer until the pipe is closed."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    calculator = make_calculator(sys.argv[1], json.loads(sys.argv[2]))
    pickle.dump(tuple(calculator.implemented_properties), replies)
    replies.flush()
    while True:
        try:
            structures, stress = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            found: Any = answer(calculator, structures, stress=stress)
        except Exception:  # noqa: BLE001 - told to the other end, which raises it
            found = traceback.format_exc()
        pickle.dump(found, replies)
        replies.flush()


if __name__ == "__main__":
    main()
