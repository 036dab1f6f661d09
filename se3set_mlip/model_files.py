"""Model files: where the shipped ones are, and what a file says about itself.

Shipped models are in the installed package, or at the top of a checkout.
"""

from pathlib import Path
from typing import Any

from se3set_mlip.configuration import config_to_dict
from se3set_mlip.errors import ArtifactError
from se3set_mlip.export.artifact import is_archive, parse_record, read_bytes
from se3set_mlip.potential.checkpoint import checkpoint_info

_PACKAGE = Path(__file__).resolve().parent
MODEL_FOLDERS = (_PACKAGE / "models", _PACKAGE.parent / "models")
"""Inside an installed package the build puts them beside the code; a checkout has them on top."""


def shipped_model(name: str) -> Path:
    """Return the path of a shipped model.

    Parameters
    ----------
    name
        Its name, such as ``"acetylacetone"``.

    Raises
    ------
    ArtifactError
        If no model of this name is shipped.
    """
    return _find(name, ".safetensors", "model")


def shipped_structure(name: str) -> Path:
    """Return the path of a geometry that is shipped with a model, as an XYZ file.

    Raises
    ------
    ArtifactError
        If there is none of this name.
    """
    return _find(name, ".xyz", "structure")


def _find(name: str, suffix: str, kind: str) -> Path:
    """Return the file of this name and kind in the first folder that has it."""
    for folder in MODEL_FOLDERS:
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return path
    known = sorted(path.stem for folder in MODEL_FOLDERS for path in folder.glob(f"*{suffix}"))
    raise ArtifactError(
        f"no {kind} {name!r} is shipped; known: {', '.join(known) or 'none'}; name one of them or "
        f"give the path of a {kind} file"
    )


def describe_file(path: Path) -> dict[str, Any]:
    """Return what a checkpoint or an exported model says about itself; nothing in it is run.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    dict
        Kind, precision, elements, settings and metadata, ready for JSON.

    Raises
    ------
    ArtifactError
        If the file is missing, foreign, truncated, or of a newer format.
    """
    content = read_bytes(path)
    if is_archive(content):
        return config_to_dict(parse_record(content, path))
    found = checkpoint_info(path)
    return {"kind": "checkpoint", "elements": found["config"]["model"]["elements"], **found}
