"""All that is measured in one run: which subjects on which structures, and what was left out."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speed.pipe import Remote, SubjectError
from speed.rounds import Limits, Timing, compare, reason
from speed.structure import Structure
from speed.subjects import Entry, interpreter
from tqdm import tqdm
from typing_extensions import Self

FIRST_CALLS = 50
PARTS_CALLS = 5
MEMORY_CALLS = 2
MEMORY_ROUTES = ("eager", "bounded")
FIRST_CALLS_SHARE = 0.1


@dataclass
class Campaign:
    """A run, and what it found.

    Attributes
    ----------
    entries
        Subjects, in the order of turns.
    environments
        Folder of the peers' environments.
    options
        Of every subject, see ``worker.py``.
    limits
        How long.
    reference
        Subject of ratios; None if it is not among them.
    """

    entries: Sequence[Entry]
    environments: Path
    options: Mapping[str, Any]
    limits: Limits
    reference: str | None
    timings: list[Timing] = field(default_factory=list)
    memory: list[dict[str, Any]] = field(default_factory=list)
    parts: list[dict[str, Any]] = field(default_factory=list)
    first_calls: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    calibration: list[float] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Make a place for what subjects print."""
        self._logs = tempfile.TemporaryDirectory()
        self._remotes: dict[str, Remote] = {}
        return self

    def __exit__(self, *_: object) -> None:
        """End all processes."""
        self.end_processes()
        self._logs.cleanup()

    def end_processes(self) -> None:
        """End the processes that took turns, and free their memory."""
        while self._remotes:
            self._remotes.popitem()[1].close()

    def time_all(self, measure: str, structures: Sequence[Structure], bar: tqdm) -> None:
        """Time a measure on all structures; processes stay alive from one to the next."""
        for structure in structures:
            ready = [e for e in self.entries if self._expected(e, measure, structure)]
            taking_part = {e.name: self._running(e, measure, structure) for e in ready}
            self.timings += compare(
                {name: remote for name, remote in taking_part.items() if remote is not None},
                structure,
                measure,
                limits=self.limits,
                reference=self.reference,
                note=lambda name, why, s=structure: self._leave(name, s, measure, why),
                calibration=self.calibration,
                progress=bar.set_description,
            )
            bar.update()

    def measure_memory(self, measure: str, structures: Sequence[Structure], bar: tqdm) -> None:
        """Measure the peak memory of each subject on each structure, each in a fresh process.

        Only of routes that make no code at their first calls, which takes memory of its own.
        """
        for structure in structures:
            for entry in self.entries:
                if entry.route not in MEMORY_ROUTES:
                    continue
                if not self._expected(entry, measure, structure):
                    continue
                bar.set_description(f"{structure.name}, memory: {entry.name}")
                try:
                    with self._fresh(entry) as remote:
                        remote.ask("load", structure)
                        peak = remote.ask("peak_memory", measure, MEMORY_CALLS)
                except SubjectError as error:
                    self.note(entry.name, structure.name, f"memory, {measure}", reason(error))
                    continue
                self.memory.append(
                    {
                        "system": structure.name,
                        "n_atoms": structure.n_atoms,
                        "subject": entry.name,
                        "measure": measure,
                        "bytes": peak,
                    }
                )
            bar.update()

    def measure_ours(self, measure: str, structures: Sequence[Structure], bar: tqdm) -> None:
        """Measure what only ours answer: ``parts`` of eager ones, ``first-calls`` of scripted."""
        route = "eager" if measure == "parts" else "scripted"
        share = 1.0 if measure == "parts" else FIRST_CALLS_SHARE
        for structure in structures:
            for entry in self.entries:
                if entry.family != "ours" or entry.route != route:
                    continue
                if not self._expected(entry, "energy-forces", structure, share=share):
                    continue
                bar.set_description(f"{structure.name}, {measure}: {entry.name}")
                named = {"system": structure.name, "subject": entry.name}
                try:
                    if measure == "parts":
                        remote = self._running(entry, measure, structure)
                        if remote is not None:
                            remote.ask("load", structure)
                            found = remote.ask("extra", "parts", {"calls": PARTS_CALLS})
                            self.parts.append({**named, **found})
                    else:
                        self.first_calls += [
                            {**named, "artefact": kind, "seconds": seconds}
                            for kind, seconds in self._first_calls(entry, structure)
                        ]
                except SubjectError as error:
                    self.note(entry.name, structure.name, measure, reason(error))
            bar.update()

    def note(self, subject: str, system: str, measure: str, why: str) -> None:
        """Keep that something was not measured, and why."""
        entry = {"subject": subject, "system": system, "measure": measure, "why": why}
        if entry not in self.left_out:
            self.left_out.append(entry)

    def _first_calls(self, entry: Entry, structure: Structure) -> Iterator[tuple[str, list[float]]]:
        """Yield kind of artefact and times of its first calls, each in a fresh process."""
        for kind, bound in (("generic", False), ("bound", True)):
            with self._fresh(entry) as remote:
                remote.ask("load", structure)
                asked = {"calls": FIRST_CALLS, "bound": bound}
                yield kind, remote.ask("extra", "first_calls", asked)

    def _expected(
        self, entry: Entry, measure: str, structure: Structure, *, share: float = 1.0
    ) -> bool:
        """Tell whether to ask a subject, by its time per atom on the largest structure so far.

        ``share`` of the limit on the time of a call holds.
        """
        if structure.n_atoms < entry.least_atoms:
            return False
        if measure == "training-step" and not entry.trains:
            return False
        known = [t for t in self.timings if t.subject == entry.name and t.measure == measure]
        if not known:
            return True
        last = max(known, key=lambda timing: timing.n_atoms)
        expected = last.median * structure.n_atoms / last.n_atoms
        if expected <= share * self.limits.call_seconds:
            return True
        self.note(entry.name, structure.name, measure, f"a call would take {expected:.0f} s")
        return False

    def _running(self, entry: Entry, measure: str, structure: Structure) -> Remote | None:
        """Return the process of a subject, started if it does not run; None if it cannot be."""
        if entry.name not in self._remotes:
            log = Path(self._logs.name) / entry.name.replace("/", "_")
            try:
                self._remotes[entry.name] = self._remote(entry, log)
                self.versions[entry.family] = self._remotes[entry.name].ask("versions")
            except SubjectError as error:
                self.note(entry.name, structure.name, measure, reason(error))
        return self._remotes.get(entry.name)

    def _leave(self, name: str, structure: Structure, measure: str, why: str) -> None:
        """Keep why a subject failed; a later structure or measure gets a new process."""
        self.note(name, structure.name, measure, why)
        self._remotes.pop(name).close()

    def _remote(self, entry: Entry, log: Path) -> Remote:
        """Return a new process of a subject."""
        options = {**self.options, "size": entry.size, "route": entry.route}
        python = interpreter(entry.family, self.environments)
        return Remote(python, entry.family, options, log=log)

    @contextmanager
    def _fresh(self, entry: Entry) -> Iterator[Remote]:
        """Give a new process of a subject, and end it."""
        with tempfile.TemporaryDirectory() as folder:
            remote = self._remote(entry, Path(folder) / "log")
            try:
                self.versions[entry.family] = remote.ask("versions")
                yield remote
            finally:
                remote.close()
