"""The settings that are compared: the point of reference, and what each other point changes.

Data only: ``sweep.py`` trains the points, ``cost.py`` times them, ``report.py`` shows them.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ACCURACY = HERE / "results" / "accuracy"
COST = HERE / "results" / "cost"
REFERENCE = "c32"

DENSITY = {
    "elements": [1, 6, 8],
    "interaction": "density",
    "irreps": "32x0e+32x1o",
    "irreps_density": "32x0e+32x1o+32x2e",
    "radial_range_angstrom": 6.0,
    "average_sources": 3.0,
    "average_incidences": 4.0,
}
ATTENTION = {
    "elements": [1, 6, 8],
    "interaction": "attention",
    "radial_range_angstrom": 6.0,
    "average_sources": 3.0,
    "average_incidences": 4.0,
}


@dataclass(frozen=True)
class Point:
    """One choice of settings.

    Parameters
    ----------
    about
        What it changes, in words.
    model
        Settings of the network.
    hypergraph
        Settings of membership.
    learning_rate
        The largest one of the schedule; published networks with attention want a smaller one.
    epochs
        Passes through the training set.
    """

    about: str
    model: dict[str, Any]
    hypergraph: dict[str, Any] = field(default_factory=dict)
    learning_rate: float = 4.0e-3
    epochs: int = 45


def density(about: str, changes: dict[str, Any], **hypergraph: float) -> Point:
    """Return a point of the density interaction."""
    return Point(about, {**DENSITY, **changes}, hypergraph)


def channels(n: int, *, features: str = "01", degrees: str = "012") -> dict[str, Any]:
    """Return irreps with ``n`` channels of each degree, of atom features and of densities."""
    named = {"0": "0e", "1": "1o", "2": "2e", "3": "3o"}
    return {
        "irreps": "+".join(f"{n}x{named[degree]}" for degree in features),
        "irreps_density": "+".join(f"{n}x{named[degree]}" for degree in degrees),
        "lmax": int(degrees[-1]),
    }


def attention(about: str, n: int, *, layers: int = 2, epochs: int = 45) -> Point:
    """Return a point of the published interaction, ``n`` scalars wide."""
    half, quarter = n // 2, n // 4
    model = {
        **ATTENTION,
        "irreps": f"{n}x0e+{half}x1o+{quarter}x2e",
        "irreps_final": f"{n}x0e",
        "irreps_head": f"{n // 4}x0e+{half // 4}x1o+{quarter // 4}x2e",
        "irreps_hidden": f"{3 * n // 2}x0e+{3 * half // 2}x1o+{3 * quarter // 2}x2e",
        "n_layers": layers,
    }
    return Point(about, model, learning_rate=2.0e-3, epochs=epochs)


POINTS: dict[str, Point] = {
    "c32": density("reference: 32 channels, features to l = 1, densities to l = 2", {}),
    "c64": density("64 channels", channels(64)),
    "c32_noupdate": density("no network of the fragments", {"fragment_update": False}),
    "c32_layers1": density("1 layer", {"n_layers": 1}),
    "a32_e15": attention("attention, 32x0e+16x1o+8x2e, 15 epochs", 32, epochs=15),
    "c32_e15": Point("reference, 15 epochs", DENSITY, epochs=15),
    "c32_noupdate_layers3": density(
        "3 layers, no network of the fragments", {"n_layers": 3, "fragment_update": False}
    ),
    "c32_noupdate_density3": density(
        "densities to l = 3, no network of the fragments",
        {**channels(32, degrees="0123"), "fragment_update": False},
    ),
    "c32_noupdate_layers3_density3": density(
        "3 layers, densities to l = 3, no network of the fragments",
        {**channels(32, degrees="0123"), "n_layers": 3, "fragment_update": False},
    ),
    "c16_noupdate_density3": density(
        "16 channels, densities to l = 3, no network of the fragments",
        {**channels(16, degrees="0123"), "fragment_update": False},
    ),
    "c32_noupdate_features0": density(
        "features: scalars only, no network of the fragments",
        {**channels(32, features="0"), "fragment_update": False},
    ),
    "c64_noupdate": density(
        "64 channels, no network of the fragments", {**channels(64), "fragment_update": False}
    ),
    "c64_noupdate_density3": density(
        "64 channels, densities to l = 3, no network of the fragments",
        {**channels(64, degrees="0123"), "fragment_update": False},
    ),
    "c64_noupdate_layers3": density(
        "64 channels, 3 layers, no network of the fragments",
        {**channels(64), "n_layers": 3, "fragment_update": False},
    ),
    "c64_noupdate_layers3_density3": density(
        "64 channels, 3 layers, densities to l = 3, no network of the fragments",
        {**channels(64, degrees="0123"), "n_layers": 3, "fragment_update": False},
    ),
    "c128_noupdate_density3": density(
        "128 channels, densities to l = 3, no network of the fragments",
        {**channels(128, degrees="0123"), "fragment_update": False},
    ),
    "c128_noupdate_layers3_density3": density(
        "128 channels, 3 layers, densities to l = 3, no network of the fragments",
        {**channels(128, degrees="0123"), "n_layers": 3, "fragment_update": False},
    ),
    "c16": density("16 channels", channels(16)),
    "c32_density1": density("densities to l = 1", channels(32, degrees="01")),
    "a32": attention("attention, 32x0e+16x1o+8x2e", 32),
    "a16": attention("attention, 16x0e+8x1o+4x2e", 16),
    "c128": density("128 channels", channels(128)),
    "c32_features2": density("features to l = 2", channels(32, features="012")),
    "c32_range5": density("membership to 5 Å", {}, cutoff_angstrom=5.0),
    "a64": attention("attention, 64x0e+32x1o+16x2e", 64),
}
