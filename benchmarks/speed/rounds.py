"""Side by side: subjects take turns on a structure, round after round, A B C A B C.

What else the machine does changes from minute to minute and hits all subjects of a round alike. So
ratios are taken within each round, and their median over rounds is reported; so are the median time
and the quartiles. A round's time is the mean of its calls: some calls search for neighbours, and
others need not. A product of float32 matrices is timed in every round: it says how fast the
machine was meanwhile.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from speed.pipe import SubjectError
from speed.structure import Structure

CALIBRATION_SIZE = 1024


class Asked(Protocol):
    """What takes turns: a ``Remote``, or a stand-in."""

    def ask(self, method: str, *arguments: Any) -> Any:
        """Return the answer to a question."""


@dataclass(frozen=True)
class Limits:
    """How long is measured.

    Attributes
    ----------
    rounds
        The most rounds.
    turn_seconds
        A subject calls at least once in its turn, and goes on until these are spent.
    call_seconds
        A subject that would take longer for one call, by its time per atom on the largest structure
        so far, is not asked.
    structure_seconds
        After these no further round begins on a structure, except the second.
    """

    rounds: int = 5
    turn_seconds: float = 0.3
    call_seconds: float = 15.0
    structure_seconds: float = 30.0


@dataclass(frozen=True)
class Timing:
    """What was found for one subject on one structure, in seconds."""

    measure: str
    system: str
    n_atoms: int
    subject: str
    median: float
    """Of the rounds; a round's time is the mean of its calls."""
    low: float
    high: float
    """Quartiles over rounds."""
    rounds: list[float]
    n_calls: int
    warm_up: float
    ratio: float | None = None
    """To the reference subject in the same round, median over rounds."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)


def calibrate(repeats: int = 3) -> float:
    """Return the GFLOP/s of a product of float32 matrices, 1024 by 1024, best of a few."""
    a = torch.ones(CALIBRATION_SIZE, CALIBRATION_SIZE)
    best = float("inf")
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - begin)
    return 2.0 * CALIBRATION_SIZE**3 / best / 1e9


def compare(
    subjects: Mapping[str, Asked],
    structure: Structure,
    measure: str,
    *,
    limits: Limits,
    reference: str | None,
    note: Callable[[str, str], None],
    calibration: list[float],
    progress: Callable[[str], None],
) -> list[Timing]:
    """Return the timings of subjects on a structure.

    Parameters
    ----------
    subjects
        By name; the turns follow their order.
    structure
        Which is measured.
    measure
        ``"energy-forces"`` or ``"training-step"``.
    limits
        How long.
    reference
        Ratios are to this subject, where it is among them.
    note
        Told the name of a subject that fails and why; it then takes no further part here.
    calibration
        Every round appends the machine's GFLOP/s.
    progress
        Told whose turn it is.
    """
    warm_up: dict[str, float] = {}
    for name, subject in subjects.items():
        progress(f"{structure.name}, {measure}: {name}, warm-up")
        try:
            subject.ask("load", structure)
            warm_up[name] = subject.ask("warm_up", measure)
        except SubjectError as error:
            note(name, reason(error))
    turns: dict[str, list[list[float]]] = {name: [] for name in warm_up}
    begin = time.perf_counter()
    for number in range(limits.rounds):
        if number >= 2 and time.perf_counter() - begin > limits.structure_seconds:
            break
        calibration.append(calibrate())
        for name in list(turns):
            progress(f"{structure.name}, {measure}: {name}, round {number + 1}")
            try:
                turns[name].append(subjects[name].ask("turn", measure, limits.turn_seconds))
            except SubjectError as error:
                note(name, reason(error))
                del turns[name]
    means = {name: [statistics.fmean(turn) for turn in found] for name, found in turns.items()}
    base = means.get(reference) if reference is not None else None
    return [
        Timing(
            measure=measure,
            system=structure.name,
            n_atoms=structure.n_atoms,
            subject=name,
            median=statistics.median(found),
            low=quartiles(found)[0],
            high=quartiles(found)[1],
            rounds=found,
            n_calls=sum(len(turn) for turn in turns[name]),
            warm_up=warm_up[name],
            ratio=None if base is None else median_ratio(found, base),
        )
        for name, found in means.items()
    ]


def median_ratio(times: Sequence[float], base: Sequence[float]) -> float:
    """Return the median over rounds of the ratio of a round's times."""
    return statistics.median(a / b for a, b in zip(times, base, strict=True))


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the first and the third quartile; of two values, the two."""
    if len(values) < 3:
        return min(values), max(values)
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


def reason(error: SubjectError) -> str:
    """Return in one line why a subject failed."""
    line = str(error).strip().splitlines()[-1]
    return "out of memory" if "allocate memory" in str(error) else line[:160]
