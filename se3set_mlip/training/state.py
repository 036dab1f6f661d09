"""The state of a run on disk: everything that the next step depends on, written in one piece.

A file is written beside its destination and renamed, so that a kill at any time leaves the old or
the new one. Tensors and plain values are read with ``torch.load(weights_only=True)``, which runs
no code from the file.
"""

import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from se3set_mlip.errors import ArtifactError
from se3set_mlip.training.schedule import MovingAverage

STATE_FILE = "state.pt"
STATE_VERSION = 1


@dataclass
class Progress:
    """Where a run stands; the one mutable record of the loop."""

    step: int = 0
    """Steps taken."""
    epoch: int = 0
    """The epoch under way, from 0."""
    position: int = 0
    """Batches taken in this epoch."""
    loss_sum: float = 0.0
    """Sum of the losses of this epoch."""
    elapsed_seconds: float = 0.0
    best_loss: float = float("inf")
    best_step: int = 0
    finished: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)
    """The log, one row for each epoch."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a kill at any time leaves the old or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a mapping as JSON, in one piece."""
    write_atomically(path, (json.dumps(values, indent=2) + "\n").encode())


def save_state(
    folder: Path,
    progress: Progress,
    *,
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    average: MovingAverage,
    fingerprint: Mapping[str, Any],
) -> None:
    """Write the state of a run.

    Parameters
    ----------
    folder
        The output folder of the run.
    progress
        Where the run stands.
    module, optimizer, average
        What the steps change.
    fingerprint
        What must be equal for the state to be continued; see :func:`.outputs.fingerprint`.
    """
    state = {
        "version": STATE_VERSION,
        "progress": vars(progress),
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.average,
        "n_average_updates": average.n_updates,
        "random_cpu": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "fingerprint": json.dumps(fingerprint),
    }
    temporary = folder / f".{STATE_FILE}.tmp"
    with temporary.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(folder / STATE_FILE)


def read_state(folder: Path) -> dict[str, Any]:
    """Read the state of a run.

    Raises
    ------
    ArtifactError
        When the file is broken, foreign, or of a newer version.
    """
    path = folder / STATE_FILE
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ArtifactError(
            f"{path} is not a readable training state ({type(error).__name__}); start again in "
            "another run.output_dir"
        ) from error
    version = state.get("version") if isinstance(state, dict) else None
    if version != STATE_VERSION:
        raise ArtifactError(
            f"{path} has training-state version {version!r}, expected {STATE_VERSION}; continue "
            "with the version of the package that wrote it, or start again"
        )
    return dict(state)


def restore_state(
    state: Mapping[str, Any],
    *,
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    average: MovingAverage,
) -> Progress:
    """Put a state that was read into module, optimizer and average; return the progress."""
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    for name, value in state["average"].items():
        average.average[name].copy_(value)
    average.n_updates = state["n_average_updates"]
    torch.set_rng_state(state["random_cpu"])
    if state["random_cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["random_cuda"][: torch.cuda.device_count()])
    return Progress(**state["progress"])
