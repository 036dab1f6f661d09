"""What has been labelled so far, one line of JSON for each structure, kept beside the output.

A line is written as soon as its structure is done; one that was cut off by a kill is done again.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np
from typing_extensions import Self

from se3set_mlip.errors import DatasetError
from se3set_mlip.labelling.methods import Label
from se3set_mlip.labelling.workers import Outcome


class Journal:
    """The outcomes of a run on disk.

    Parameters
    ----------
    path
        The file; one that is there is continued.
    header
        What must be equal to continue: method, sources.

    Raises
    ------
    DatasetError
        If the file was begun with other settings.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path = path
        self.outcomes: dict[int, Label | str] = {}
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
        whole = lines[:-1]  # what follows the last line break was cut off
        first = json.dumps(header, sort_keys=True)
        if whole and whole[0] != first:
            raise DatasetError(
                f"{path} was begun with other settings or structures: {whole[0]}; give these "
                "again, remove it, or choose another output"
            )
        self.outcomes.update(_outcome(json.loads(line)) for line in whole[1:])
        with path.open("w" if not whole else "r+", encoding="utf-8") as stream:
            if whole:
                stream.truncate(sum(len(line.encode()) + 1 for line in whole))
            else:
                stream.write(first + "\n")
        self._stream: TextIO = path.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._stream.close()

    def add(self, outcomes: Iterable[Outcome]) -> Iterable[Outcome]:
        """Write outcomes as they come, and pass them on."""
        for index, found in outcomes:
            line: dict[str, Any] = {"index": index}
            if isinstance(found, str):
                line["failure"] = found
            else:
                line |= {"energy": found.energy, "forces": found.forces.tolist()}
            self._stream.write(json.dumps(line) + "\n")
            self._stream.flush()
            self.outcomes[index] = found
            yield index, found


def _outcome(line: Mapping[str, Any]) -> Outcome:
    """Return what a line says."""
    if "failure" in line:
        return line["index"], line["failure"]
    forces = np.array(line["forces"], dtype=np.float64).reshape(-1, 3)
    return line["index"], Label(line["energy"], forces)
