"""The split into training and validation, and the order of the batches."""

import numpy as np
import pytest

from se3set_mlip.errors import DatasetError
from se3set_mlip.training.datasets import Frame, read_frames
from se3set_mlip.training.labels import LabelConfig
from se3set_mlip.training.parts import load_data
from se3set_mlip.training.plan import epoch_order
from se3set_mlip.training.split import draw_frames, split_frames


@pytest.fixture
def frames(acac_folder):
    return read_frames(acac_folder / "train_300K_first_40.xyz", LabelConfig()).frames


def split(frames, n=None, *, fraction=0.1, seed=0):
    return split_frames(frames, n_validation=n, validation_fraction=fraction, seed=seed)


def test_parts_are_disjoint_and_complete(frames):
    for seed in range(5):
        training, validation = split(frames, 7, seed=seed)
        names = [frame.name for frame in (*training, *validation)]
        assert len(validation) == 7
        assert sorted(names) == sorted(frame.name for frame in frames)


def test_the_seed_decides(frames):
    def names(seed):
        return [frame.name for frame in split(frames, 7, seed=seed)[1]]

    assert names(3) == names(3)
    assert len({tuple(names(seed)) for seed in range(5)}) == 5


def test_fraction(frames):
    assert len(split(frames, fraction=0.2)[1]) == 8
    assert len(split(frames[:3], fraction=0.01)[1]) == 1


def test_copies_stay_on_one_side(frames):
    copies = [Frame(f"copy {i}", f.atoms.copy(), f.energy, f.forces, None)
              for i, f in enumerate(frames[:20])]  # fmt: skip
    for seed in range(5):
        training, validation = split((*frames[:20], *copies), 10, seed=seed)
        assert not {f.identity for f in training} & {f.identity for f in validation}
        assert len(validation) == 10


def test_identity_sees_small_moves_and_ignores_labels(frames):
    moved = frames[0].atoms.copy()
    moved.positions[2, 1] += 1e-4
    assert Frame("", moved, None, None, None).identity != frames[0].identity
    same = Frame("", frames[0].atoms.copy(), None, None, None)
    assert same.identity == frames[0].identity
    boxed = frames[0].atoms.copy()
    boxed.cell, boxed.pbc = np.eye(3) * 20.0, True
    assert Frame("", boxed, None, None, None).identity != frames[0].identity


def test_nothing_left_is_an_error(frames):
    with pytest.raises(DatasetError, match="40 of 40 structures for validation leave none"):
        split(frames, 40)


def test_smaller_training_sets_are_parts_of_larger_ones(frames):
    small = {frame.name for frame in draw_frames(frames, 10, seed=1)}
    large = {frame.name for frame in draw_frames(frames, 20, seed=1)}
    assert len(small) == 10
    assert small < large
    with pytest.raises(DatasetError, match=r"data\.n_train = 41 but only 40"):
        draw_frames(frames, 41, seed=1)


def test_order_of_an_epoch_depends_on_seed_and_epoch_alone():
    first = epoch_order(50, seed=1, epoch=0)
    assert sorted(first) == list(range(50))
    assert first == epoch_order(50, seed=1, epoch=0)
    assert first != epoch_order(50, seed=1, epoch=1)
    assert first != epoch_order(50, seed=2, epoch=0)


def test_auxiliary_structures_are_all_trained_on(make_config, structures, write_xyz):
    atoms = structures[0].copy()
    atoms.positions[0] += 0.3
    path = write_xyz("strained.xyz", [atoms], REF_forces=[np.ones((len(atoms), 3))])
    config = make_config(data={"auxiliary_files": str(path), "missing_labels": "mask"})
    data = load_data(config, echo=lambda _: None)
    assert len(data.training) == config.data.n_train + 1
    assert data.training[-1].energy is None
    assert not any("strained" in frame.name for frame in data.validation)
