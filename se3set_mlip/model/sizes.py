"""Named sizes: a word becomes the settings of a network.

=============  =====================================================================================
``small``      Dynamics on a processor: where accuracy against cost levels off in docs/sizes.md.
``medium``     Wider and one layer deeper: two to three times the cost of ``small``.
``large``      Wider still, five to six times the cost of ``small``: for a graphics card, or for few
               atoms.
``published``  The attention network at the size of arXiv 2405.16511, 6.3 million parameters: for
               comparison. Its envelope has a jump in the second derivative, so it goes with
               ``membership: hard``, and not with dynamics.
=============  =====================================================================================

A name is only a way to write settings down: checkpoints store the settings themselves.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from se3set_mlip.configuration import config_to_dict
from se3set_mlip.errors import ConfigError
from se3set_mlip.model.config import ModelConfig


def _density(channels: int, *, layers: int) -> ModelConfig:
    """Return the density interaction at a size; its elements are to be replaced."""
    return ModelConfig(
        elements=(1,),
        interaction="density",
        irreps=f"{channels}x0e+{channels}x1o",
        irreps_density=f"{channels}x0e+{channels}x1o+{channels}x2e+{channels}x3o",
        fragment_update=False,
        lmax=3,
        n_layers=layers,
        radial_basis="bessel",
        n_radial=8,
        radial_range_angstrom=5.0,
        radial_hidden=(64,),
        average_sources=3.0,
        average_incidences=4.0,
    )


_SIZES = {
    "small": _density(32, layers=2),
    "medium": _density(64, layers=3),
    "large": _density(128, layers=3),
    "published": ModelConfig(
        elements=(1,),
        interaction="attention",
        irreps="128x0e+64x1o+32x2e",
        irreps_final="512x0e",
        irreps_head="32x0e+16x1o+8x2e",
        irreps_hidden="384x0e+192x1o+96x2e",
        n_layers=6,
        n_heads=4,
        radial_envelope="cosine",
        n_radial=32,
        radial_range_angstrom=9.0,
        radial_hidden=(64, 64),
        norm="per_irrep",
        average_sources=14.96,  # aspirin, explicit overlap
        average_incidences=2.62,
    ),
}
SIZES = tuple(_SIZES)
"""The names, from cheap to costly."""


def named_config(
    size: str,
    *,
    elements: tuple[int, ...],
    average_sources: float | None = None,
    average_incidences: float | None = None,
    average_atoms: float | None = None,
) -> ModelConfig:
    """Return the settings of a named size.

    Parameters
    ----------
    size
        One of :data:`SIZES`.
    elements
        Atomic numbers that the network shall know, ascending.
    average_sources, average_incidences, average_atoms
        As in :class:`ModelConfig`; those of the size by default, which suit small molecules.

    Raises
    ------
    ConfigError
        If there is no such size, or a value is out of range.
    """
    found = _find(size)
    return replace(
        found,
        elements=elements,
        average_sources=_first(average_sources, found.average_sources),
        average_incidences=_first(average_incidences, found.average_incidences),
        average_atoms=_first(average_atoms, found.average_atoms),
    )


def settings_with_size(values: Mapping[str, Any]) -> dict[str, Any]:
    """Put the settings of a size in the place of its name.

    Parameters
    ----------
    values
        Settings of a network as they stand in a file; ``size`` may be among them. Every other key
        stands above what the size says.

    Returns
    -------
    dict
        Settings without ``size``; ``values`` itself where they name none.

    Raises
    ------
    ConfigError
        If there is no such size.
    """
    settings = dict(values)
    if "size" not in settings:
        return settings
    resolved = config_to_dict(_find(settings.pop("size")))
    del resolved["elements"]
    return {**resolved, **settings}


def _find(size: object) -> ModelConfig:
    """Return what a size stands for."""
    if not isinstance(size, str) or size not in _SIZES:
        raise ConfigError(f"size = {size!r}, expected one of {', '.join(SIZES)}; name one of them")
    return _SIZES[size]


def _first(given: float | None, otherwise: float) -> float:
    """Return what was given, if anything was."""
    return otherwise if given is None else given
