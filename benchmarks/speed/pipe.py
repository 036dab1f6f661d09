"""The near end of the pipe: a subject in a process and an environment of its own."""

import json
import os
import pickle
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parents[1]


class SubjectError(RuntimeError):
    """A subject failed; the message is its traceback."""


class Remote:
    """A subject at the far end, see ``worker.py``.

    Parameters
    ----------
    python
        Interpreter of its environment.
    family, options
        What it is made from.
    log
        File for what it prints.

    Raises
    ------
    SubjectError
        If it cannot be made.
    """

    def __init__(self, python: Path, family: str, options: dict[str, Any], *, log: Path) -> None:
        self._log = log
        threads = str(options["threads"])
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [str(python.absolute()), "-m", "speed.worker", family, json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                cwd=BENCHMARKS,
                env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
            )
        self._receive()

    def ask(self, method: str, *arguments: Any) -> Any:
        """Return what a method of the far end's ``Worker`` returns.

        Raises
        ------
        SubjectError
            If it raises, or its process ends.
        """
        assert self._process.stdin is not None
        try:
            pickle.dump((method, arguments), self._process.stdin)
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise SubjectError(self._last_words()) from error
        return self._receive()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it may have ended already
            self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _receive(self) -> Any:
        """Return the next answer."""
        assert self._process.stdout is not None
        try:
            state, value = pickle.load(self._process.stdout)
        except EOFError as error:
            raise SubjectError(self._last_words()) from error
        if state == "failed":
            raise SubjectError(value)
        return value

    def _last_words(self) -> str:
        """Return why a process that ended did so."""
        code = self._process.wait()
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        return "\n".join([*lines, f"the process ended with status {code}; see {self._log}"])
