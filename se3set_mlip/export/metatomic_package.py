"""metatomic itself, or an error that says how to get it."""

from se3set_mlip.errors import MissingDependencyError

try:
    from metatensor.torch import Labels, TensorBlock, TensorMap
    from metatomic.torch import (
        AtomisticModel,
        ModelCapabilities,
        ModelMetadata,
        ModelOutput,
        System,
    )
except ImportError as error:
    raise MissingDependencyError(
        "the export to metatomic needs metatomic-torch: pip install 'se3set-mlip[metatomic]'"
    ) from error

__all__ = [
    "AtomisticModel",
    "Labels",
    "ModelCapabilities",
    "ModelMetadata",
    "ModelOutput",
    "System",
    "TensorBlock",
    "TensorMap",
]
