"""A deterministic split of structures into training and validation parts."""

from collections.abc import Sequence

import numpy as np

from se3set_mlip.errors import DatasetError
from se3set_mlip.training.datasets import Frame


def split_frames(
    frames: Sequence[Frame], *, n_validation: int | None, validation_fraction: float, seed: int
) -> tuple[tuple[Frame, ...], tuple[Frame, ...]]:
    """Draw validation structures at random; identical structures stay on one side.

    Parameters
    ----------
    frames
        All structures, in the order of the files.
    n_validation
        How many to hold out; by default ``validation_fraction`` of them, at least one. With
        identical structures in the files a few more may be held out.
    validation_fraction
        Used when ``n_validation`` is None.
    seed
        Seed of the draw.

    Returns
    -------
    (training, validation)
        Both in the order of the files; no structure in both.

    Raises
    ------
    DatasetError
        When nothing would be left for training.
    """
    wanted = n_validation
    if wanted is None:
        wanted = max(1, round(validation_fraction * len(frames)))
    groups: dict[str, list[int]] = {}
    for index, frame in enumerate(frames):
        groups.setdefault(frame.identity, []).append(index)
    members = list(groups.values())
    held_out: set[int] = set()
    for position in np.random.default_rng(seed).permutation(len(members)):
        if len(held_out) >= wanted:
            break
        held_out.update(members[position])
    if len(held_out) >= len(frames):
        raise DatasetError(
            f"{wanted} of {len(frames)} structures for validation leave none for training; lower "
            "data.n_validation or data.validation_fraction"
        )
    training = tuple(frame for index, frame in enumerate(frames) if index not in held_out)
    validation = tuple(frames[index] for index in sorted(held_out))
    return training, validation


def draw_frames(frames: Sequence[Frame], n_frames: int, *, seed: int) -> tuple[Frame, ...]:
    """Draw ``n_frames`` structures at random, in the order of the files; n + 1 contain the n.

    Raises
    ------
    DatasetError
        When there are fewer.
    """
    if n_frames > len(frames):
        raise DatasetError(
            f"data.n_train = {n_frames} but only {len(frames)} structures are left for training; "
            "lower it"
        )
    chosen = np.random.default_rng(seed).permutation(len(frames))[:n_frames]
    return tuple(frames[index] for index in sorted(chosen))
