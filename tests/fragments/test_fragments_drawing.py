"""Pictures of fragments are written, complete and in different colours."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from se3set_mlip.errors import InputError
from se3set_mlip.fragments.drawing import PALETTE, draw_fragments
from se3set_mlip.fragments.fragmentation import Fragmentation, fragment
from se3set_mlip.topology.molecule import Topology

MANY = ".".join(["O"] * 40 + ["C" * n for n in range(1, 16)] + ["[H][H]", "[Cl-]", "c1ccccc1"])


def fragmented(smiles: str) -> Fragmentation:
    topology = Topology.from_smiles(smiles)
    return fragment(topology, np.zeros((topology.n_atoms, 3)))


def hex_colour(colour: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{int(255 * part):02X}" for part in colour)


def test_a_png_of_the_size_asked_for(tmp_path: Path) -> None:
    path = draw_fragments(fragmented("CC(=O)C=C(C)O"), tmp_path / "a.PNG", size=(640, 400))
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(content[16:20], "big") == 640
    assert int.from_bytes(content[20:24], "big") == 400


def test_an_svg_with_a_colour_for_each_fragment(tmp_path: Path) -> None:
    found = fragmented("CC(=O)C=C(C)O")
    path = draw_fragments(found, str(tmp_path / "a.svg"))
    text = path.read_text()
    assert ET.fromstring(text).tag.endswith("svg")
    used = {hex_colour(colour) for colour in PALETTE if hex_colour(colour) in text.upper()}
    assert len(used) == len(found.fragments) == 5


@pytest.mark.parametrize(
    "smiles", ["[H][H]", "[Cl-]", "O", MANY, "C[N+](=O)[O-]", "FS(F)(F)(F)(F)F"]
)
def test_small_and_large_systems_are_drawn(smiles: str, tmp_path: Path) -> None:
    for name in ("a.png", "a.svg"):
        assert draw_fragments(fragmented(smiles), tmp_path / name).stat().st_size > 1000


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.pdf"])
def test_other_formats_raise(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a name in \.png or \.svg"):
        draw_fragments(fragmented("O"), tmp_path / name)


def test_a_picture_too_small_raises(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 200 pixels"):
        draw_fragments(fragmented("O"), tmp_path / "a.png", size=(900, 20))
