"""What a model file says about itself."""

from pathlib import Path
from typing import Any

from se3set_mlip.configuration import config_to_dict
from se3set_mlip.export.artifact import is_archive, parse_record, read_bytes
from se3set_mlip.potential.checkpoint import checkpoint_info


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
