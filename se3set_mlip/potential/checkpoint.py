"""The checkpoint: weights and JSON in one safetensors file, loadable without running anything.

The header of the file holds strings: ``format``, ``format_version``, ``config`` and ``metadata`` as
JSON, ``dtype``, ``weights_sha256``, a checksum of names, shapes and bytes of all tensors, and
``settings_sha256``, a checksum of config, metadata and dtype (missing in the oldest files).
"""

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from se3set_mlip.configuration import config_from_dict, config_to_dict
from se3set_mlip.elements import SYMBOLS
from se3set_mlip.errors import ArtifactError
from se3set_mlip.potential.files import (
    check_length,
    check_settings_fit,
    limited_lengths,
    read_model_file,
)
from se3set_mlip.potential.potential import Metadata, Potential, PotentialConfig, PotentialModule
from se3set_mlip.shipped import find_model

FORMAT = "se3set_mlip.checkpoint"
FORMAT_VERSION = 1

_REQUIRED = ("config", "metadata", "dtype", "weights_sha256")

# Building a network takes tensors besides its weights, for tables and averages over a million
# random numbers. Settings that ask for far more are not those of the weights in the file.
SPARE_NUMBERS = 2**23


def package_version() -> str:
    """Return the version of this package, or ``"unknown"`` when it is not installed."""
    try:
        return version("se3set-mlip")
    except PackageNotFoundError:
        return "unknown"


def weights_checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of names, dtypes, shapes and bytes of tensors, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _settings_checksum(header: Mapping[str, str]) -> str:
    """Return the SHA-256 of the strings that say how the weights are used."""
    digest = hashlib.sha256()
    for key in ("config", "metadata", "dtype"):
        digest.update(f"{key} {header[key]}\n".encode())
    return digest.hexdigest()


def checkpoint_bytes(potential: Potential) -> bytes:
    """Return the checkpoint file of a potential as bytes.

    Raises
    ------
    ArtifactError
        If the potential is a TorchScript model, which has no checkpoint.
    """
    if not isinstance(potential.module, PotentialModule):
        raise ArtifactError(
            "a TorchScript model cannot be saved as a checkpoint; keep the checkpoint it was "
            "exported from"
        )
    tensors = {
        name: value.detach().cpu().contiguous()
        for name, value in potential.module.state_dict().items()
    }
    metadata = dataclasses.replace(
        potential.metadata,
        package_version=package_version(),
        created=potential.metadata.created or datetime.now(timezone.utc).date().isoformat(),
    )
    header = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "dtype": str(potential.dtype).removeprefix("torch."),
        "config": json.dumps(config_to_dict(potential.config)),
        "metadata": json.dumps(config_to_dict(metadata)),
        "weights_sha256": weights_checksum(tensors),
    }
    header["settings_sha256"] = _settings_checksum(header)
    return save_tensors(tensors, metadata=header)


def save_checkpoint(path: str | Path, potential: Potential) -> None:
    """Write a potential to a file, all or nothing.

    Raises
    ------
    ArtifactError
        If the potential is a TorchScript model, or the file cannot be written.
    """
    content = checkpoint_bytes(potential)
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as temporary:
            temporary.write(content)
            temporary.flush()
            os.fsync(temporary.fileno())
        try:
            Path(temporary.name).chmod(0o644)
            Path(temporary.name).replace(target)
        except OSError:
            Path(temporary.name).unlink()
            raise
    except OSError as error:
        raise ArtifactError(
            f"cannot write {path}: {error.strerror}; give the path of a file in a folder that can "
            "be written to"
        ) from error


def read_header(content: bytes, name: str) -> dict[str, str]:
    """Return the header's strings after checking that this is a checkpoint we can read.

    Parameters
    ----------
    content
        The whole file.
    name
        What to call it in messages.

    Raises
    ------
    ArtifactError
        If the file is truncated, foreign, or of a newer version.
    """
    broken = ArtifactError(
        f"{name} is no checkpoint of this package, or is damaged ({len(content)} bytes); copy it "
        "again from its source"
    )
    if content.startswith(b"PK"):
        raise ArtifactError(
            f"{name} is an archive, not a checkpoint; load exported TorchScript files with "
            "se3set_mlip.load"
        )
    if len(content) < 8:
        raise broken
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length])["__metadata__"]
        known = header["format"] == FORMAT
        found = int(header["format_version"])
        settings = {key: str(header[key]) for key in _REQUIRED}
    # OverflowError: infinity; RecursionError: brackets a thousand deep.
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise broken from error
    if not known:
        raise broken
    if found > FORMAT_VERSION:
        raise ArtifactError(
            f"{name} has format version {found}, this package reads up to {FORMAT_VERSION}; "
            "upgrade se3set-mlip"
        )
    return {str(key): str(value) for key, value in header.items()} | settings


def potential_from_bytes(
    content: bytes,
    *,
    name: str = "the checkpoint",
    device: torch.device | str = "cpu",
    dtype: torch.dtype | str | None = None,
) -> Potential:
    """Build the potential of a checkpoint's bytes; see :func:`load_checkpoint`."""
    header = read_header(content, name)
    try:
        tensors = load_tensors(content)
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise ArtifactError(f"{name} is damaged ({error}); copy it again") from error
    if weights_checksum(tensors) != header["weights_sha256"]:
        raise ArtifactError(f"the weights in {name} do not match its checksum; copy it again")
    expected = _settings_checksum(header)
    if header.get("settings_sha256", expected) != expected:
        raise ArtifactError(f"the settings in {name} do not match their checksum; copy it again")
    try:
        settings = json.loads(header["config"])
        n_numbers = sum(tensor.numel() for tensor in tensors.values())
        longest = max(len(tensors), len(SYMBOLS))
        check_settings_fit(settings, max(n_numbers, len(SYMBOLS)), longest=longest)
        config = config_from_dict(PotentialConfig, settings)
        check_length(config.model.n_layers, len(tensors))
        metadata = config_from_dict(Metadata, json.loads(header["metadata"]))
        dtype_of_file = {"float32": torch.float32, "float64": torch.float64}[header["dtype"]]
        with limited_lengths(n_numbers + SPARE_NUMBERS):
            module = PotentialModule(config, dtype=dtype_of_file)
        _check_same_dtypes(tensors, module.state_dict())
        module.load_state_dict(tensors)
    except (ValueError, KeyError, TypeError, RuntimeError, OverflowError, MemoryError) as error:
        raise ArtifactError(f"{name} does not describe a potential: {error}") from error
    for tensor_name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ArtifactError(
                f"{name}: weight {tensor_name} is not finite; train the potential again, or take "
                "an earlier checkpoint"
            )
    # Nobody asks for derivatives by the weights, and they would cost time.
    potential = Potential(module.eval().requires_grad_(False), config, metadata)
    return potential.to(device=device, dtype=dtype)


def _check_same_dtypes(
    tensors: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> None:
    """Raise ``TypeError`` for weights that loading would convert without a word."""
    for name, tensor in tensors.items():
        if name in expected and tensor.dtype != expected[name].dtype:
            raise TypeError(f"weight {name} has {tensor.dtype}, expected {expected[name].dtype}")


def load_checkpoint(
    path: str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype | str | None = None
) -> Potential:
    """Read a potential from a file; nothing in it is run.

    Parameters
    ----------
    path
        A ``.safetensors`` file written by :func:`save_checkpoint`, or the name of a shipped model.
    device, dtype
        Where and in what precision to have it; the file's dtype by default.

    Raises
    ------
    ArtifactError
        If the file is missing, truncated, altered, foreign, or of a newer version.
    """
    path = find_model(path)
    return potential_from_bytes(read_model_file(path), name=str(path), device=device, dtype=dtype)


def checkpoint_info(path: str | Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself, as plain dictionaries; weights are not loaded.

    Raises
    ------
    ArtifactError
        If the file is missing, truncated, foreign, or of a newer version.
    """
    header = read_header(read_model_file(path), str(path))
    try:
        return {
            **{key: header[key] for key in ("format", "format_version", "dtype", "weights_sha256")},
            "config": json.loads(header["config"]),
            "metadata": json.loads(header["metadata"]),
        }
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"the settings in {path} are damaged ({error}); copy it again"
        ) from error
