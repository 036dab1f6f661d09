"""All settings that determine what a potential computes."""

from dataclasses import dataclass, field

from se3set_mlip.configuration import check_field_types
from se3set_mlip.errors import ConfigError
from se3set_mlip.fragments.fragmentation import FragmentationConfig
from se3set_mlip.hypergraph.build import HypergraphConfig
from se3set_mlip.model.config import ModelConfig


@dataclass(frozen=True)
class PotentialConfig:
    """Fragments, hypergraph and network of one potential.

    Parameters
    ----------
    model
        Settings of the network.
    fragmentation
        How molecules are cut into fragments.
    hypergraph
        How fragments become hyperedges.
    repulsion
        ``"none"``, or ``"zbl"``: a wall between nuclei, see :mod:`.pair_repulsion`.
    repulsion_fraction
        Where the wall ends, in sums of covalent radii; bonds are shorter than 0.8 of them hardly
        ever.
    """

    model: ModelConfig
    fragmentation: FragmentationConfig = field(default_factory=FragmentationConfig)
    hypergraph: HypergraphConfig = field(default_factory=HypergraphConfig)
    repulsion: str = "none"
    repulsion_fraction: float = 0.7

    def __post_init__(self) -> None:
        """Refuse combinations that would not be smooth."""
        check_field_types(self)
        if self.repulsion not in ("none", "zbl"):
            raise ConfigError(f"repulsion = {self.repulsion!r}, expected 'none' or 'zbl'")
        if not 0.0 < self.repulsion_fraction <= 1.0:
            raise ConfigError(
                f"repulsion_fraction = {self.repulsion_fraction} must lie between 0 and 1"
            )
        smooth = self.hypergraph.membership == "smooth"
        cosine = self.model.radial_envelope == "cosine"
        if smooth and cosine and self.model.radial_basis == "exponential_normal":
            raise ConfigError(
                "radial_envelope = 'cosine' has a jump in its second derivative and does not go "
                "with membership = 'smooth'; use radial_envelope = 'none'"
            )

    @property
    def range_angstrom(self) -> float:
        """Range within which atoms start to feel a fragment, in Å."""
        if self.fragmentation.overlap == "explicit":
            return self.hypergraph.bond_order_range_angstrom
        return self.hypergraph.cutoff_angstrom
