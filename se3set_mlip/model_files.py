"""Where the shipped models are: in the installed package, or at the top of a checkout."""

from pathlib import Path

from se3set_mlip.errors import ArtifactError

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
