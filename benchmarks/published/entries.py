"""What is compared with published tables: shipped models, their test files, published errors.

Data only: ``table.py`` computes and shows.
"""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
ACETYLACETONE = ROOT / "benchmarks" / "acetylacetone" / "data"
RMD17 = ROOT / "runs" / "rmd17" / "data"
"""Where ``benchmarks/rmd17/prepare.py`` writes."""


@dataclass(frozen=True)
class Entry:
    """A model on a test set, and what others reached after training on the same data."""

    name: str
    model: Path
    test: Path
    measure: str
    """``"rmse"`` or ``"mae"``, as in the table that is compared with."""
    published: dict[str, tuple[float, float]]
    """Model -> errors of energy (meV) and forces (meV/Å)."""


def _acetylacetone(kelvin: int, published: dict[str, tuple[float, float]]) -> Entry:
    """Return the entry of a temperature; all were trained at 300 K alone."""
    return Entry(
        name=f"acetylacetone, {kelvin} K",
        model=ROOT / "models" / "acetylacetone_300K.safetensors",
        test=ACETYLACETONE / f"test_MD_{kelvin}K.xyz",
        measure="rmse",
        published=published,
    )


def _rmd17(molecule: str, published: dict[str, tuple[float, float]]) -> Entry:
    """Return the entry of a molecule of revised MD17."""
    return Entry(
        name=f"rMD17 {molecule}",
        model=ROOT / "models" / f"rmd17_{molecule}.safetensors",
        test=RMD17 / f"{molecule}_test.xyz",
        measure="mae",
        published=published,
    )


# Acetylacetone: arXiv 2205.06643 and 2206.07697. Revised MD17: table of arXiv 2206.07697; "MACE,
# split 01" is a later run of MACE on the very split that is used here.
ENTRIES = (
    _acetylacetone(300, {"BOTNet": (0.89, 6.3), "NequIP": (0.81, 5.90), "MACE": (0.9, 5.1)}),
    _acetylacetone(600, {"BOTNet": (6.2, 29.8), "NequIP": (6.04, 27.8), "MACE": (4.6, 22.4)}),
    _rmd17(
        "aspirin",
        {
            "BOTNet": (2.3, 8.5),
            "NequIP": (2.3, 8.2),
            "Allegro": (2.3, 7.3),
            "MACE": (2.2, 6.6),
            "MACE, split 01": (2.4, 8.9),
        },
    ),
    _rmd17(
        "ethanol",
        {
            "BOTNet": (0.4, 3.2),
            "NequIP": (0.4, 2.8),
            "Allegro": (0.4, 2.1),
            "MACE": (0.4, 2.1),
            "MACE, split 01": (0.4, 2.7),
        },
    ),
    _rmd17(
        "paracetamol",
        {
            "BOTNet": (1.3, 5.8),
            "NequIP": (1.4, 5.9),
            "Allegro": (1.5, 4.9),
            "MACE": (1.3, 4.8),
            "MACE, split 01": (2.2, 5.5),
        },
    ),
)
