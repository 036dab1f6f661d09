"""Where the models are that come with the package, and how they are called.

They are in the installed package, or at the top of a checkout; a name needs no network.
"""

from pathlib import Path

from se3set_mlip.errors import ArtifactError

_PACKAGE = Path(__file__).resolve().parent
MODEL_FOLDERS = (_PACKAGE / "models", _PACKAGE.parent / "models")
"""Inside an installed package the build puts them beside the code; a checkout has them on top."""
MODEL_SUFFIXES = (".safetensors", ".pt")
"""Of checkpoints, and of exported models."""
GENERAL_MODEL = "gfn2-small"
"""The model for any organic molecule, where none is named."""
SEVERAL_MOLECULES_MODEL = "gfn2-medium"
"""The same for several molecules: it alone was trained on what they do to each other."""


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


def find_model(name_or_path: str | Path) -> Path:
    """Return the path of a model: the path itself, or that of the shipped model of this name.

    Raises
    ------
    ArtifactError
        For a bare name of no file and of no shipped model, and for what is no path at all.
    """
    try:
        path = Path(name_or_path)
    except TypeError as error:
        raise ArtifactError(
            f"model {name_or_path!r:.80} is no path and no name ({error}); name a shipped model or "
            "give the path of a model file"
        ) from error
    if path.exists() or len(path.parts) != 1 or path.suffix:
        return path
    return shipped_model(path.name)


def is_model(name_or_path: str | Path) -> bool:
    """Return whether this is called as model files are, or as a shipped model is."""
    path = Path(name_or_path)
    return path.suffix in MODEL_SUFFIXES or (
        not path.exists() and path.name in model_names() and len(path.parts) == 1
    )


def model_names() -> list[str]:
    """Return the names of all shipped models."""
    return _names(".safetensors")


def _find(name: str, suffix: str, kind: str) -> Path:
    """Return the file of this name and kind in the first folder that has it."""
    for folder in MODEL_FOLDERS:
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return path
    raise ArtifactError(
        f"no {kind} {name!r} is shipped; known: {', '.join(_names(suffix)) or 'none'}; name one of "
        f"them or give the path of a {kind} file"
    )


def _names(suffix: str) -> list[str]:
    """Return what is shipped, by name."""
    return sorted({path.stem for folder in MODEL_FOLDERS for path in folder.glob(f"*{suffix}")})
