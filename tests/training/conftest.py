"""Small real data, and configurations of runs that take seconds."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ase.io
import pytest
import torch

from se3set_mlip.training import TrainingConfig, training_config_from_dict
from se3set_mlip.training.state import read_state

ACAC = Path(__file__).parents[1] / "data" / "acac"

TINY_MODEL = {
    "elements": [1, 6, 8],
    "irreps": "8x0e+4x1o",
    "irreps_final": "8x0e",
    "irreps_head": "4x0e+2x1o",
    "irreps_hidden": "8x0e+4x1o",
    "lmax": 1,
    "n_layers": 1,
    "n_heads": 2,
    "n_radial": 8,
    "radial_hidden": [8],
}


def _tensors(values: Any, name: str) -> dict[str, torch.Tensor]:
    """Return all tensors within nested mappings and lists, by where they stand."""
    if isinstance(values, torch.Tensor):
        return {name: values}
    found = {}
    if isinstance(values, dict | list):
        pairs = values.items() if isinstance(values, dict) else enumerate(values)
        for key, value in pairs:
            found |= _tensors(value, f"{name}.{key}")
    return found


@pytest.fixture
def state_tensors() -> Callable[[Path], dict[str, torch.Tensor]]:
    """Read weights, their averages and the optimizer's moments from the state in a folder."""

    def read(folder: Path) -> dict[str, torch.Tensor]:
        state = read_state(folder)
        found = {}
        for part in ("module", "average", "optimizer"):
            found |= _tensors(state[part], part)
        return found

    return read


@pytest.fixture(scope="session")
def acac_folder() -> Path:
    """The folder with acetylacetone's structures."""
    return ACAC


@pytest.fixture
def structures() -> list[ase.Atoms]:
    """Forty structures without any labels; ``info["E"]`` and ``info["F"]`` hold the real ones."""
    frames = ase.io.read(ACAC / "train_300K_first_40.xyz", index=":")
    for atoms in frames:
        results = atoms.calc.results
        atoms.calc = None
        atoms.info = {"E": float(results["energy"]), "F": results["forces"]}
    return frames


@pytest.fixture
def write_xyz(tmp_path: Path) -> Callable[..., Path]:
    """Write structures with labels of one's choice: lists of values by name."""

    def write(name: str, frames: Sequence[ase.Atoms], **labels: Sequence[Any]) -> Path:
        copies = []
        for index, atoms in enumerate(frames):
            copy = ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
            for label, values in labels.items():
                if values[index] is None:
                    continue
                target = copy.arrays if "force" in label else copy.info
                target[label] = values[index]
            copies.append(copy)
        path = tmp_path / name
        ase.io.write(path, copies, format="extxyz")
        return path

    return write


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., TrainingConfig]:
    """Make a configuration of a short run; sections given as dictionaries override."""

    def make(**sections: dict[str, Any]) -> TrainingConfig:
        values: dict[str, dict[str, Any]] = {
            "data": {
                "train_files": str(ACAC / "train_300K_first_40.xyz"),
                "reference_energies": str(ACAC / "isolated_atoms.xyz"),
                "n_train": 12,
                "n_validation": 5,
            },
            "potential": {"model": TINY_MODEL},
            "optimizer": {"epochs": 3, "batch_size": 4, "warmup_steps": 2},
            "run": {
                "output_dir": str(tmp_path / "run"),
                "threads": 1,
                "progress": False,
                "plots": False,
            },
        }
        for name, section in sections.items():
            values.setdefault(name, {}).update(section)
        return training_config_from_dict(values)

    return make
