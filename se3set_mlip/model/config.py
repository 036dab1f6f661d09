"""Settings of the network: irreps, widths and averages."""

import math
from dataclasses import dataclass

from e3nn import o3

from se3set_mlip.configuration import check_field_types
from se3set_mlip.elements import SYMBOLS
from se3set_mlip.errors import ConfigError
from se3set_mlip.model.linear import check_layout
from se3set_mlip.model.radial import RADIAL_BASES

LARGEST_LMAX = 11
LARGEST_MULTIPLICITY = 65_536
"""Of one irrep: far more than any network has; e3nn makes lists of so many entries."""


@dataclass(frozen=True)
class ModelConfig:
    """Settings of :class:`~se3set_mlip.model.se3set.SE3Set`.

    Irreps are written in e3nn's notation, each irrep once and in order, e.g. ``16x0e+8x1o``.

    Parameters
    ----------
    elements
        Atomic numbers that the network knows, ascending.
    interaction
        ``"attention"`` (published, :mod:`.se3set`) or ``"density"`` (:mod:`.density`).
    irreps
        Irreps of atom features; with attention those of incidence features too.
    irreps_density
        Density only: irreps of what fragments gather, all with the same multiplicity.
    fragment_update
        Density only: whether what a fragment gathered passes a gated network of its own.
    fragment_charge
        Density only: whether atoms know the total formal charge of their fragment.
    irreps_final
        Irreps (even scalars) of the atom features after the last layer.
    irreps_head
        Attention only: irreps of one attention head.
    irreps_hidden
        Attention only: irreps inside the feed-forward networks.
    lmax
        Highest degree of the spherical harmonics.
    n_layers, n_heads
        Layers, and attention heads in each.
    radial_basis
        ``"exponential_normal"``, ``"gaussian"`` or ``"bessel"``, see :mod:`.radial`.
    radial_envelope
        ``"none"``, ``"polynomial"`` or ``"cosine"`` (published), of the exponential-normal basis.
    n_radial
        Number of radial basis functions.
    radial_range_angstrom
        Length scale of the radial basis; an envelope vanishes there.
    pair_range_angstrom
        Density only: where the envelope of pairs ends; None: at ``radial_range_angstrom``.
    radial_hidden
        Hidden widths of the radial networks.
    norm
        Attention only: ``"joint"`` (well behaved at sites of high symmetry) or ``"per_irrep"``
        (published); see :mod:`.norm`.
    average_sources
        Average number of sources of an incidence; normalises sums over sources.
    average_incidences
        Average number of incidences of an atom; normalises sums over incidences.
    average_atoms
        Average number of atoms of a structure; the energy of an atom is divided by its root.
    """

    elements: tuple[int, ...]
    interaction: str = "density"
    irreps: str = "32x0e+16x1o+8x2e"
    irreps_density: str = "32x0e+32x1o+32x2e"
    fragment_update: bool = True
    fragment_charge: bool = False
    irreps_final: str = "32x0e"
    irreps_head: str = "8x0e+4x1o+2x2e"
    irreps_hidden: str = "48x0e+24x1o+12x2e"
    lmax: int = 2
    n_layers: int = 2
    n_heads: int = 4
    radial_basis: str = "exponential_normal"
    radial_envelope: str = "none"
    n_radial: int = 24
    radial_range_angstrom: float = 9.0
    pair_range_angstrom: float | None = None
    radial_hidden: tuple[int, ...] = (32, 32)
    norm: str = "joint"
    average_sources: float = 4.0
    average_incidences: float = 4.0
    average_atoms: float = 1.0

    def __post_init__(self) -> None:
        """Refuse settings that cannot make a network."""
        check_field_types(self)
        if not self.elements or tuple(sorted(set(self.elements))) != tuple(self.elements):
            raise ConfigError(f"elements = {self.elements} must be ascending and not empty")
        if not 1 <= self.elements[0] <= self.elements[-1] < len(SYMBOLS):
            raise ConfigError(
                f"elements = {self.elements} must be atomic numbers, 1 to {len(SYMBOLS) - 1}"
            )
        self._check_irreps()
        if self.interaction not in ("attention", "density"):
            raise ConfigError(
                f"interaction = {self.interaction!r}, expected 'attention' or 'density'"
            )
        if self.fragment_charge and self.interaction != "density":
            raise ConfigError(
                f"fragment_charge = True with interaction = {self.interaction!r}: only 'density' "
                "knows charges of fragments; leave fragment_charge out, or choose 'density'"
            )
        if self.radial_basis not in RADIAL_BASES:
            raise ConfigError(
                f"radial_basis = {self.radial_basis!r}, expected one of {', '.join(RADIAL_BASES)}"
            )
        if self.radial_envelope not in ("none", "polynomial", "cosine"):
            raise ConfigError(
                f"radial_envelope = {self.radial_envelope!r}, expected 'none', 'polynomial' or "
                "'cosine'"
            )
        if self.norm not in ("joint", "per_irrep"):
            raise ConfigError(f"norm = {self.norm!r}, expected 'joint' or 'per_irrep'")
        self._check_numbers()

    def _check_irreps(self) -> None:
        """Refuse irreps that are not in layout form or of another kind than needed."""
        for name in ("irreps", "irreps_final", "irreps_head", "irreps_hidden", "irreps_density"):
            text = getattr(self, name)
            try:
                irreps = o3.Irreps(text)
            except ValueError as error:
                raise ConfigError(
                    f"{name} = {text!r} is not irreps notation; write e.g. '16x0e+8x1o'"
                ) from error
            if any(mul > LARGEST_MULTIPLICITY or ir.l > LARGEST_LMAX for mul, ir in irreps):
                raise ConfigError(
                    f"{name} = {text!r} must not have multiplicities above "
                    f"{LARGEST_MULTIPLICITY:,} or degrees above {LARGEST_LMAX}"
                )
            check_layout(irreps, name)
            if not irreps or irreps[0].ir != o3.Irrep("0e"):
                raise ConfigError(f"{name} = {text!r} must begin with even scalars, e.g. '16x0e'")
        if o3.Irreps(self.irreps_final).lmax != 0 or len(o3.Irreps(self.irreps_final)) != 1:
            raise ConfigError(f"irreps_final = {self.irreps_final!r} must be even scalars only")
        density = o3.Irreps(self.irreps_density)
        if len({mul for mul, _ in density}) != 1:
            raise ConfigError(
                f"irreps_density = {self.irreps_density!r} must have one multiplicity for all, "
                "e.g. '32x0e+32x1o'"
            )

    def _check_numbers(self) -> None:
        """Refuse numbers out of range."""
        positive = (
            "n_layers",
            "n_heads",
            "n_radial",
            "radial_range_angstrom",
            "average_sources",
            "average_incidences",
            "average_atoms",
        )
        for name in positive:
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} = {getattr(self, name)} must be positive and finite")
        pairs = self.pair_range_angstrom
        if pairs is not None and not (0 < pairs < math.inf and self.interaction == "density"):
            raise ConfigError(
                f"pair_range_angstrom = {pairs} must be positive and finite, and goes with "
                "interaction = 'density' only; leave it out where pairs end with the radial basis"
            )
        if not 0 <= self.lmax <= LARGEST_LMAX:
            raise ConfigError(
                f"lmax = {self.lmax} must not be negative, nor above {LARGEST_LMAX} (what e3nn has)"
            )
        if not self.radial_hidden:
            raise ConfigError("radial_hidden is empty; give at least one hidden width, e.g. [16]")
        if min(self.radial_hidden) < 1:
            raise ConfigError(f"radial_hidden = {self.radial_hidden} must be positive widths")
