"""A model file -> a potential, whatever kind of file it is; told apart by content, not by name."""

import io
from pathlib import Path

import torch

from se3set_mlip.errors import ArtifactError
from se3set_mlip.export.artifact import (
    is_archive,
    parse_record,
    read_bytes,
)
from se3set_mlip.export.interpreter import (
    InterpretedPotential,
    expect_torchscript,
    limit_specialisation,
)
from se3set_mlip.potential.checkpoint import load_checkpoint
from se3set_mlip.potential.potential import Potential, usable_device
from se3set_mlip.shipped import find_model


def load(
    path: str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype | str | None = None
) -> Potential:
    """Load a potential from a checkpoint or from a generic exported model.

    Parameters
    ----------
    path
        A checkpoint (``.safetensors``), what ``export_generic`` wrote (``.pt``), or the name of a
        shipped model, such as ``"gfn2-small"``.
    device
        Where to compute.
    dtype
        Precision of the network; None: as stored. An exported model has the precision that it was
        exported with.

    Raises
    ------
    ArtifactError
        If the file is missing, foreign, truncated, altered, of another format version, bound to one
        system, or of another precision; if no model of this name is shipped.
    """
    path = find_model(path)
    content = read_bytes(path)
    if not is_archive(content):
        return load_checkpoint(path, device=device, dtype=dtype)
    record = parse_record(content, path)
    if record.bound is not None:
        raise ArtifactError(
            f"{path} is bound to one system of {len(record.bound.numbers)} atoms, for OpenMM's "
            "TorchForce: load it with load_bound and pass that to create_torch_force; for any "
            "other use load the checkpoint or a generic exported model"
        )
    name = None if dtype is None else str(dtype).removeprefix("torch.")
    if name not in (None, record.dtype):
        raise ArtifactError(
            f"{path} was exported in {record.dtype} and cannot compute in {name}; load it with "
            f"dtype={record.dtype!r}, or export the checkpoint again with dtype={name!r}"
        )
    module = _load_module(content, path, device)
    script = InterpretedPotential(module.potential)
    return Potential(script, record.config, record.metadata)


def load_bound(path: str | Path, *, device: torch.device | str = "cpu") -> torch.jit.ScriptModule:
    """Load what ``export_bound`` wrote; ``read_record`` tells what the file says about itself.

    Parameters
    ----------
    path
        The file.
    device
        Where to compute.

    Returns
    -------
    torch.jit.ScriptModule
        The compiled module, as :func:`~se3set_mlip.export.torchscript.bind` returns it.

    Raises
    ------
    ArtifactError
        If the file is missing, foreign, truncated, altered, of another format version, or not
        bound.
    """
    content = read_bytes(path)
    record = parse_record(content, path)
    if record.bound is None:
        raise ArtifactError(
            f"{path} is a generic exported model, bound to no system; read it with load, or write "
            "a bound one with export_bound"
        )
    limit_specialisation()
    return _load_module(content, path, device)


def _load_module(
    content: bytes, path: str | Path, device: torch.device | str
) -> torch.jit.ScriptModule:
    """Return the module of an archive whose seal holds."""
    target = usable_device(device)
    try:
        with expect_torchscript():
            module: torch.jit.ScriptModule = torch.jit.load(
                io.BytesIO(content), map_location=target
            )
    except RuntimeError as error:
        raise ArtifactError(
            f"{path} is whole, but torch {torch.__version__} cannot load it ({error}); export the "
            "checkpoint again with this version of torch, or use the checkpoint"
        ) from error
    return module
