"""Pictures of fragments: a molecule with its fragments in colour, as PNG or SVG.

Hydrogens are written at their heavy atoms, to whose fragments they always belong. Fragments that
touch have different colours. Each has its index in ``Fragmentation.fragments`` written beside it,
and its formula in the legend. Equal molecules are drawn once and counted.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rdkit import Chem
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D
from rdkit.Geometry import Point2D

from se3set_mlip.elements import formula
from se3set_mlip.errors import InputError
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.topology.graph import split_components
from se3set_mlip.topology.perception import graph_to_rdkit

Colour = tuple[float, float, float]

PALETTE: tuple[Colour, ...] = (
    (0.62, 0.79, 0.95),
    (1.00, 0.80, 0.55),
    (0.66, 0.87, 0.66),
    (0.97, 0.69, 0.72),
    (0.80, 0.73, 0.94),
    (0.98, 0.92, 0.55),
    (0.60, 0.88, 0.87),
    (0.95, 0.74, 0.90),
    (0.83, 0.80, 0.70),
)
INK: Colour = (0.20, 0.20, 0.22)
WHITE: Colour = (1.0, 1.0, 1.0)
HYDROGEN = 1
MOST_PANELS = 12
MARGIN_PIXELS = 14
LEGEND_COLUMN_PIXELS = 132
LEGEND_ROW_PIXELS = 24
SWATCH_PIXELS = 15


class _Panel(NamedTuple):
    """One molecule to draw, standing for all that are equal to it."""

    mol: Chem.Mol
    """Without its hydrogens; each atom carries its fragment as property ``fragment``."""
    title: str
    """Formula, and how many there are."""
    fragments: tuple[int, ...]
    """Indices of its fragments, for the legend."""


def draw_fragments(
    fragmentation: Fragmentation, path: str | Path, *, size: tuple[int, int] = (900, 600)
) -> Path:
    """Draw a system with its fragments in colour.

    Parameters
    ----------
    fragmentation
        What to draw.
    path
        File to write; its suffix says the format, ``.png`` or ``.svg``.
    size
        Width and height in pixels.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        For another suffix, or a size too small to hold a picture.
    """
    target = Path(path)
    kinds: dict[str, Any] = {
        ".png": rdMolDraw2D.MolDraw2DCairo,
        ".svg": rdMolDraw2D.MolDraw2DSVG,
    }
    if target.suffix.lower() not in kinds:
        raise InputError(f"cannot draw to {target.name!r}; expected a name in .png or .svg")
    width, height = size
    if min(width, height) < 200:
        raise InputError(f"size = {size}; expected at least 200 pixels each way")
    panels = _panels(fragmentation)
    colours = _colours(fragmentation)
    entries = [label for panel in panels for label in panel.fragments]
    n_rows = max(1, (height - 2 * MARGIN_PIXELS) // LEGEND_ROW_PIXELS)
    n_columns = min(-(-(len(entries) + 1) // n_rows), max(1, width // (3 * LEGEND_COLUMN_PIXELS)))
    shown = entries if len(entries) <= n_rows * n_columns - 1 else entries[: n_rows * n_columns - 1]
    canvas_width = width - n_columns * LEGEND_COLUMN_PIXELS

    across, down = _grid(len(panels), canvas_width / height)
    panel_size = (canvas_width // across, height // down)
    drawer = kinds[target.suffix.lower()](width, height, *panel_size)
    _set_options(drawer)
    _fill(drawer, (0.0, 0.0), (float(width), float(height)), WHITE)
    for index, panel in enumerate(panels):
        drawer.SetOffset(index % across * panel_size[0], index // across * panel_size[1])
        _draw_panel(drawer, panel, colours)
    drawer.SetOffset(0, 0)
    lines = [(f"{label}  {_name(fragmentation, label)}", colours[label]) for label in shown]
    n_missing = len(fragmentation.fragments) - len(shown)
    if n_missing:
        lines.append((f"{n_missing} not listed", WHITE))
    _draw_legend(drawer, lines, (canvas_width, MARGIN_PIXELS), n_rows=n_rows)
    drawer.FinishDrawing()
    content = drawer.GetDrawingText()
    target.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return target


def _panels(fragmentation: Fragmentation) -> list[_Panel]:
    """Return the molecules to draw, each standing for all that are equal to it."""
    topology = fragmentation.topology
    index = fragmentation.fragment_index
    components = topology.components
    counts: dict[Any, int] = {}
    first: dict[Any, int] = {}
    graphs = split_components(topology.graph, components)
    for which, (graph, atoms) in enumerate(zip(graphs, components, strict=True)):
        labels = [int(index[atom]) for atom in atoms]
        order = {label: rank for rank, label in enumerate(dict.fromkeys(labels))}
        key = (graph, tuple(order[label] for label in labels))
        counts[key] = counts.get(key, 0) + 1
        first.setdefault(key, which)
    panels = []
    for key in list(first)[:MOST_PANELS]:
        atoms = components[first[key]]
        mol = graph_to_rdkit(key[0])
        for local, atom in enumerate(atoms):
            mol.GetAtomWithIdx(local).SetIntProp("fragment", int(index[atom]))
        times = f"  ({counts[key]} of these)" if counts[key] > 1 else ""
        title = f"{formula(topology.numbers[atom] for atom in atoms)}{times}"
        inside = tuple(dict.fromkeys(int(index[atom]) for atom in atoms))
        panels.append(_Panel(_without_hydrogens(mol), title, inside))
    return panels


def _without_hydrogens(mol: Chem.Mol) -> Chem.Mol:
    """Return a molecule in the plane, hydrogens as counts, an index written at each fragment."""
    if any(atom.GetAtomicNum() != HYDROGEN for atom in mol.GetAtoms()):
        mol = Chem.RemoveHs(mol, sanitize=False)
        mol.UpdatePropertyCache(strict=False)
    Chem.GetSymmSSSR(mol)
    rdDepictor.Compute2DCoords(mol, canonOrient=True)
    rdDepictor.StraightenDepiction(mol)
    named: set[int] = set()
    for atom in mol.GetAtoms():
        label = atom.GetIntProp("fragment")
        if label not in named:
            atom.SetProp("atomNote", str(label))
            named.add(label)
    return mol


def _colours(fragmentation: Fragmentation) -> list[Colour]:
    """Return a colour per fragment: the first that no touching fragment with a colour has."""
    index = fragmentation.fragment_index
    touching: list[set[int]] = [set() for _ in fragmentation.fragments]
    for i, j in fragmentation.topology.bonds:
        if index[i] != index[j]:
            touching[index[i]].add(int(index[j]))
            touching[index[j]].add(int(index[i]))
    chosen: list[int] = []
    for label, others in enumerate(touching):
        taken = {chosen[other] for other in others if other < label}
        wanted = label % len(PALETTE)
        candidates = [(wanted + step) % len(PALETTE) for step in range(len(PALETTE))]
        chosen.append(next((c for c in candidates if c not in taken), wanted))
    return [PALETTE[choice] for choice in chosen]


def _grid(n_panels: int, aspect: float) -> tuple[int, int]:
    """Return how many panels go across and down so that they are nearly square."""
    across = min(
        range(1, n_panels + 1),
        key=lambda n: abs(aspect * -(-n_panels // n) / n - 1.3),
    )
    return across, -(-n_panels // across)


def _set_options(drawer: Any) -> None:
    """Set the style of all pictures."""
    options = drawer.drawOptions()
    options.clearBackground = False
    options.padding = 0.08
    options.highlightRadius = 0.36
    options.highlightBondWidthMultiplier = 18
    options.fillHighlights = True
    options.fixedBondLength = 75.0
    options.legendFontSize = 16
    options.legendFraction = 0.09
    options.setLegendColour(INK)
    options.useBWAtomPalette()
    options.minFontSize = 10
    options.annotationFontScale = 0.6


def _draw_panel(drawer: Any, panel: _Panel, colours: Sequence[Colour]) -> None:
    """Draw one molecule with its atoms and inner bonds in the colours of their fragments."""
    mol = panel.mol
    label = {atom.GetIdx(): atom.GetIntProp("fragment") for atom in mol.GetAtoms()}
    inner = [
        bond
        for bond in mol.GetBonds()
        if label[bond.GetBeginAtomIdx()] == label[bond.GetEndAtomIdx()]
    ]
    drawer.DrawMolecule(
        mol,
        legend=panel.title,
        highlightAtoms=list(label),
        highlightAtomColors={atom: colours[which] for atom, which in label.items()},
        highlightBonds=[bond.GetIdx() for bond in inner],
        highlightBondColors={
            bond.GetIdx(): colours[label[bond.GetBeginAtomIdx()]] for bond in inner
        },
    )


def _draw_legend(
    drawer: Any, lines: Sequence[tuple[str, Colour]], corner: tuple[int, int], *, n_rows: int
) -> None:
    """Write a swatch and a name per fragment, top to bottom, then in the next column."""
    drawer.SetFontSize(15.0)
    for rank, (text, colour) in enumerate(lines):
        left = float(corner[0] + rank // n_rows * LEGEND_COLUMN_PIXELS)
        top = float(corner[1] + rank % n_rows * LEGEND_ROW_PIXELS)
        _fill(drawer, (left, top), (left + SWATCH_PIXELS, top + SWATCH_PIXELS), colour)
        drawer.SetColour(INK)
        _write(drawer, text, (left + SWATCH_PIXELS + 14, top + SWATCH_PIXELS / 2))


def _fill(
    drawer: Any, corner: tuple[float, float], opposite: tuple[float, float], colour: Colour
) -> None:
    """Fill a rectangle given in pixels."""
    drawer.SetFillPolys(True)
    drawer.SetColour(colour)
    drawer.DrawRect(Point2D(*corner), Point2D(*opposite), rawCoords=True)


def _write(drawer: Any, text: str, place: tuple[float, float]) -> None:
    """Write text that starts at a place given in pixels."""
    drawer.DrawString(text, Point2D(*place), 1, rawCoords=True)


def _name(fragmentation: Fragmentation, label: int) -> str:
    """Return the formula of a fragment."""
    return formula(fragmentation.topology.numbers[atom] for atom in fragmentation.fragments[label])
