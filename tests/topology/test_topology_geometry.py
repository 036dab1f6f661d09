"""Minimum images and close pairs against the plain definition: all images tried."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from se3set_mlip.errors import InputError
from se3set_mlip.topology.geometry import Box, close_pairs, make_box, minimum_image

SHIFTS = np.array(list(product(range(-4, 5), repeat=3)), dtype=float)

cells = st.lists(
    st.floats(-6.0, 6.0, allow_nan=False).map(lambda x: round(x, 2)), min_size=9, max_size=9
).map(lambda values: np.reshape(values, (3, 3)))
periodicities = st.tuples(st.booleans(), st.booleans(), st.booleans()).filter(any)


def usable(cell: np.ndarray, pbc: tuple[bool, bool, bool]) -> Box | None:
    """Return the box, unless it is too flat for nine images each way to hold the nearest."""
    try:
        box = make_box(cell, pbc)
    except InputError:
        return None
    assert box is not None
    heights = 1.0 / np.linalg.norm(box.inverse, axis=0)
    return box if heights[list(pbc)].min() > 1.5 else None


def allowed_shifts(box: Box) -> np.ndarray:
    return SHIFTS[(SHIFTS[:, ~box.periodic] == 0).all(axis=1)] @ box.cell


@settings(max_examples=60)
@given(cells, periodicities, st.integers(0, 2**32 - 1))
def test_minimum_images_are_the_shortest(
    cell: np.ndarray, pbc: tuple[bool, bool, bool], seed: int
) -> None:
    box = usable(cell, pbc)
    if box is None:
        return
    fractional = np.random.default_rng(seed).uniform(-0.5, 0.5, size=(20, 3))
    vectors = fractional @ box.cell
    images = minimum_image(vectors + 7.0 * (box.periodic * 1.0) @ box.cell, box)
    every = np.linalg.norm(vectors[:, None] + allowed_shifts(box)[None], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), every.min(axis=1), atol=1e-9)
    difference = (images - vectors) @ box.inverse
    np.testing.assert_allclose(difference, np.rint(difference), atol=1e-9)


@settings(max_examples=40)
@given(cells, periodicities, st.integers(0, 2**32 - 1))
def test_close_pairs_are_all_pairs_of_images(
    cell: np.ndarray, pbc: tuple[bool, bool, bool], seed: int
) -> None:
    box = usable(cell, pbc)
    if box is None:
        return
    rng = np.random.default_rng(seed)
    positions = rng.uniform(-1.0, 2.0, size=(6, 3)) @ box.cell
    reach = 2.5
    found = close_pairs(positions, reach, box)
    home = (positions @ box.inverse - box.periodic * np.floor(positions @ box.inverse)) @ box.cell
    expected = []
    for i in range(6):
        for j in range(i, 6):
            lengths = np.linalg.norm(home[j] - home[i] + allowed_shifts(box), axis=1)
            expected += [(i, j, d) for d in lengths if d <= reach and not (i == j and d < 1e-9)]
    assert len(found.first) == len(expected)
    pairs = sorted(zip(found.first, found.second, found.distances, strict=True))
    np.testing.assert_allclose(np.array(pairs).ravel(), np.array(sorted(expected)).ravel())


def test_coincident_atoms_are_a_pair_in_a_cell_and_without() -> None:
    positions = np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]])
    for box in (None, make_box(5.0 * np.eye(3), None)):
        found = close_pairs(positions, 1.0, box)
        assert found.distances.tolist() == [0.0]


def test_one_atom_has_no_pairs() -> None:
    assert len(close_pairs(np.zeros((1, 3)), 3.0, None).first) == 0
    assert len(close_pairs(np.zeros((1, 3)), 3.0, make_box([9.0, 9.0, 9.0], None)).first) == 0


def test_boxes_that_are_none() -> None:
    assert make_box(None, None) is None
    assert make_box(None, pbc=False) is None
    assert make_box(np.zeros((3, 3)), (False, False, False)) is None


@pytest.mark.parametrize(
    ("cell", "pbc", "message"),
    [
        (None, True, "without a cell"),
        (np.eye(2), None, r"cell has shape \(2, 2\)"),
        (np.full((3, 3), np.inf), None, "not finite"),
        (np.zeros((3, 3)), True, "enclose no volume"),
        ([[1, 0, 0], [2, 0, 0], [0, 0, 1]], (True, True, False), "enclose no volume"),
        (np.eye(3), (True, False), r"pbc has shape \(2,\)"),
    ],
)
def test_boxes_that_cannot_be_raise(cell: object, pbc: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_box(cell, pbc)  # type: ignore[arg-type]
