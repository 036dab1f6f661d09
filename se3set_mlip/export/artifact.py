"""The exported file: a TorchScript archive, a JSON record that travels inside it, and a seal.

What ``torch.jit.save`` writes is a zip archive. The record is one of its members (TorchScript's
``_extra_files``), so C++ programs can read it too. The seal is the archive's zip comment::

    sha256:<hexadecimal SHA-256 of every byte of the file before these 71>

It covers weights, code and record alike. All checks here are made on bytes, by the standard
library: nothing in a file is run, or handed to libtorch, before its seal holds.

Lengths and energies of the record are in Å and eV unless a unit says otherwise.
"""

import hashlib
import io
import json
import os
import re
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from se3set_mlip.configuration import config_from_dict, config_to_dict
from se3set_mlip.errors import ArtifactError, ConfigError
from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.potential.files import read_model_file
from se3set_mlip.potential.potential import Metadata

FORMAT = "se3set_mlip.torchscript"
FORMAT_VERSION = 2
RECORD_NAME = "se3set_mlip.json"
MOST_RECORD_BYTES = 16 * 2**20  # a short text may unpack to any length

_SEAL_PREFIX = b"sha256:"
_SEAL_LENGTH = len(_SEAL_PREFIX) + 64
_ZIP_START = b"PK\x03\x04"


@dataclass(frozen=True)
class BoundSystem:
    """The system that a bound artefact computes.

    Attributes
    ----------
    numbers
        Atomic numbers of the atoms of the potential.
    particles
        Indices of these atoms among the positions that are passed in; None: all, in order.
    periodic
        Whether box vectors are passed after the positions.
    """

    numbers: tuple[int, ...]
    particles: tuple[int, ...] | None
    periodic: bool


@dataclass(frozen=True)
class ArtifactRecord:
    """What an exported file says about itself.

    Attributes
    ----------
    kind
        ``"generic"``: any system of known elements; ``"bound"``: one system.
    dtype
        ``"float32"`` or ``"float64"``: the precision of the network.
    elements
        Atomic numbers that the network knows.
    range_angstrom
        Distance beyond which an atom has no weight in a fragment, in Å.
    units
        Name of each input and output with a unit, to that unit.
    weights_sha256
        Checksum of the weights: that of the checkpoint, where the precision is the same.
    config
        Fragmentation, hypergraph and model.
    metadata
        Level of theory, training data, metrics, licence, version of the package.
    bound
        The system of a bound artefact, None for a generic one.
    """

    kind: str
    dtype: str
    elements: tuple[int, ...]
    range_angstrom: float
    units: dict[str, str]
    weights_sha256: str
    config: PotentialConfig
    metadata: Metadata
    bound: BoundSystem | None = None


def record_to_dict(record: ArtifactRecord) -> dict[str, Any]:
    """Return a record as it stands in the file, with the name and version of the format."""
    return {"format": FORMAT, "format_version": FORMAT_VERSION} | config_to_dict(record)


def write_sealed(path: str | Path, archive: bytes) -> Path:
    """Seal the archive of ``torch.jit.save`` and write it, whole or not at all.

    Parameters
    ----------
    path
        The file to write; an old file is replaced in one step.
    archive
        A zip archive without a comment.

    Raises
    ------
    ArtifactError
        If the file cannot be written.
    """
    assert archive.endswith(b"\0\0"), "the zip archive has a comment already"
    body = archive[:-2] + _SEAL_LENGTH.to_bytes(2, "little")  # length of the zip comment
    seal = _SEAL_PREFIX + hashlib.sha256(body).hexdigest().encode()
    path = Path(path)
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as stream:
            stream.write(body + seal)
            stream.flush()
            os.fsync(stream.fileno())
        Path(stream.name).chmod(0o644)
        Path(stream.name).replace(path)
    except OSError as error:
        raise ArtifactError(
            f"cannot write {path}: {error.strerror}; give a path in a folder that exists and can "
            "be written to"
        ) from error
    return path


def read_bytes(path: str | Path) -> bytes:
    """Return the bytes of a model file.

    Raises
    ------
    ArtifactError
        If there is no such file, or it is none that can be read as a model.
    """
    return read_model_file(path)


def is_archive(content: bytes) -> bool:
    """Tell whether these bytes begin as an exported model does (a zip archive)."""
    return content.startswith(_ZIP_START)


def read_record(path: str | Path) -> ArtifactRecord:
    """Read the record of an exported model and check the file's seal; nothing in it is run.

    Parameters
    ----------
    path
        A file that ``export_generic`` or ``export_bound`` wrote.

    Raises
    ------
    ArtifactError
        If the file is missing, foreign, truncated, altered, or of another format version.
    """
    return parse_record(read_bytes(path), path)


def parse_record(content: bytes, path: str | Path) -> ArtifactRecord:
    """Return the record in the bytes of an exported model whose seal holds.

    Parameters
    ----------
    content
        The whole file.
    path
        Where it came from, for messages.

    Raises
    ------
    ArtifactError
        If the file is foreign, truncated, altered, or of another format version.
    """
    if not is_archive(content):
        raise ArtifactError(
            f"{path} is no exported model: it begins with {content[:8]!r}, expected the zip "
            "archive that `se3set export` writes"
        )
    values = _raw_record(content, path)
    version = values.pop("format_version", None)
    if values.pop("format", None) != FORMAT or not isinstance(version, int):
        raise ArtifactError(
            f"{path} is a foreign file: its record {RECORD_NAME} does not name the format "
            f"{FORMAT!r}; give a file that `se3set export` wrote"
        )
    if version > FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format version {version}, this package reads up to {FORMAT_VERSION}; "
            "upgrade se3set-mlip, or export the checkpoint again with this version"
        )
    if version < FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format version {version}, this package reads {FORMAT_VERSION}, in which "
            "fragments have charges; export the checkpoint again with this version of se3set-mlip"
        )
    _check_seal(content, path)
    try:
        return config_from_dict(ArtifactRecord, values)
    except ConfigError as error:
        raise ArtifactError(
            f"the record of {path} cannot be understood: {error}; export the checkpoint again with "
            "this version of se3set-mlip"
        ) from error


def _raw_record(content: bytes, path: str | Path) -> dict[str, Any]:
    """Return the JSON record of a zip archive as it is."""
    damaged = ArtifactError(
        f"{path} is truncated or damaged ({len(content)} bytes): its zip archive cannot be read; "
        "copy or export it again"
    )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [
                name
                for name in archive.namelist()
                if re.fullmatch(rf"[^/]+/extra/{re.escape(RECORD_NAME)}", name)
            ]
            text = None
            if names:
                with archive.open(names[0]) as stream:
                    text = stream.read(MOST_RECORD_BYTES + 1)
    # On damaged archives zipfile raises many kinds of error besides its own.
    except Exception as error:
        raise damaged from error
    if text is None:
        raise ArtifactError(
            f"{path} is a foreign file: a zip archive without the record {RECORD_NAME}; give a "
            "file that `se3set export` wrote"
        )
    if len(text) > MOST_RECORD_BYTES:
        raise damaged
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged from error
    if not isinstance(values, dict):
        raise damaged
    return values


def _check_seal(content: bytes, path: str | Path) -> None:
    """Raise unless the file ends with the checksum of everything before it."""
    body, seal = content[:-_SEAL_LENGTH], content[-_SEAL_LENGTH:]
    expected = _SEAL_PREFIX + hashlib.sha256(body).hexdigest().encode()
    if seal != expected:
        raise ArtifactError(
            f"{path} is damaged: its checksum is {expected[7:19].decode()}..., the file says "
            f"{seal[7:19]!r}...; copy or export it again"
        )
