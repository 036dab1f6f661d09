"""openmm-torch: ``TorchForce`` of a bound program, and ``PythonTorchForce`` where there is one.

The wheel of openmm-torch 1.5 has the first alone; the second came after it.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from se3set_mlip.engines.bond_policy import BondPolicy
from se3set_mlip.engines.openmm_package import openmm
from se3set_mlip.errors import ConfigError, InputError, MissingDependencyError


def python_torch_force() -> Any:
    """Return openmm-torch's class ``PythonTorchForce``, or None where there is none."""
    try:
        import openmmtorch  # noqa: PLC0415
    except ImportError:
        return None
    found = getattr(openmmtorch, "PythonTorchForce", None)
    if found is not None:
        _register_torch_kernels()
    return found


def create_torch_force(module: torch.jit.ScriptModule, *, on_bond_change: str = "keep") -> Any:
    """Make a ``TorchForce`` of a potential that is bound to the system.

    Parameters
    ----------
    module
        What ``se3set_mlip.export``'s ``bind`` or ``load_bound`` returned.
    on_bond_change
        ``"keep"`` alone: the bound program holds its fragments, and nobody watches the bonds.

    Returns
    -------
    openmmtorch.TorchForce

    Raises
    ------
    ConfigError
        For another ``on_bond_change``.
    MissingDependencyError
        If openmmtorch cannot be imported with this torch.
    InputError
        If the module is not a bound potential.

    Notes
    -----
    With OpenMM 8.6 and the wheel of openmmtorch 1.5 a system that has a ``TorchForce`` can be
    neither copied nor deserialised: the process ends (the wheel was built against OpenMM 8.5, with
    which both work). Keep the bound file and make the force from it, or use :func:`create_force`.

    The first three calls take seconds: TorchScript profiles and compiles the program.
    """
    if BondPolicy(on_bond_change=on_bond_change).on_bond_change != "keep":
        raise ConfigError(
            f"on_bond_change = {on_bond_change!r}: a TorchForce runs a compiled program that is "
            "bound to its fragments, and can only 'keep' them; use create_force"
        )
    try:
        import openmmtorch  # noqa: PLC0415
    except ImportError as error:
        raise MissingDependencyError(
            f"TorchForce needs openmmtorch, which cannot be imported with torch "
            f"{torch.__version__} ({error}): pip install 'se3set-mlip[torchforce]' in an "
            "environment of its own, or use create_force"
        ) from error
    if not isinstance(module, torch.jit.ScriptModule) or not hasattr(module, "periodic"):
        raise InputError(
            f"expected a potential bound to the system, got {type(module).__name__}; make it with "
            "se3set_mlip.export's bind or load_bound"
        )
    _register_torch_kernels()
    force = openmmtorch.TorchForce(module)
    force.setUsesPeriodicBoundaryConditions(module.periodic)
    force.setName("SE3Set")
    return force


def _register_torch_kernels() -> None:
    """Load the plugins of openmm-torch, which OpenMM cannot if it is imported before torch."""
    reference = openmm.Platform.getPlatformByName("Reference")
    if reference.supportsKernels(["CalcTorchForce"]):
        return
    folder = Path(openmm.version.openmm_library_path) / "plugins"
    for library in sorted(folder.glob("*OpenMMTorch*")):
        with suppress(openmm.OpenMMException):  # of a platform that this machine lacks
            openmm.Platform.loadPluginLibrary(str(library))
    if not reference.supportsKernels(["CalcTorchForce"]):
        raise MissingDependencyError(
            f"the plugins of openmm-torch in {folder} cannot be loaded; import torch before "
            "openmm, or reinstall openmmtorch"
        )
