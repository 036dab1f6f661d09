"""SE3Set, an equivariant hypergraph network, as a smooth potential for molecular dynamics.

The public names are imported when they are first used: programs that look for plugins import this
package long before anybody needs torch, and must not wait or fail for it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from se3set_mlip import errors, testing, units
    from se3set_mlip.engines.ase_calculator import SE3SetCalculator
    from se3set_mlip.engines.committee_calculator import CommitteeCalculator
    from se3set_mlip.export.loading import load
    from se3set_mlip.fragments.fragmentation import Fragmentation, FragmentationConfig, fragment
    from se3set_mlip.potential.committee import Committee
    from se3set_mlip.potential.potential import Evaluation, Potential
    from se3set_mlip.potential.published import reproduce_published
    from se3set_mlip.topology.molecule import Topology

__version__ = "0.1.0"

__all__ = [
    "Committee",
    "CommitteeCalculator",
    "Evaluation",
    "Fragmentation",
    "FragmentationConfig",
    "Potential",
    "SE3SetCalculator",
    "Topology",
    "errors",
    "fragment",
    "load",
    "reproduce_published",
    "testing",
    "units",
]

_HOMES = {
    "Committee": "se3set_mlip.potential.committee",
    "CommitteeCalculator": "se3set_mlip.engines.committee_calculator",
    "Evaluation": "se3set_mlip.potential.potential",
    "Fragmentation": "se3set_mlip.fragments.fragmentation",
    "FragmentationConfig": "se3set_mlip.fragments.fragmentation",
    "Potential": "se3set_mlip.potential.potential",
    "SE3SetCalculator": "se3set_mlip.engines.ase_calculator",
    "Topology": "se3set_mlip.topology.molecule",
    "fragment": "se3set_mlip.fragments.fragmentation",
    "load": "se3set_mlip.export.loading",
    "reproduce_published": "se3set_mlip.potential.published",
}
_SUBMODULES = ("errors", "testing", "units")


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _SUBMODULES:
        return importlib.import_module(f"se3set_mlip.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'se3set_mlip' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
