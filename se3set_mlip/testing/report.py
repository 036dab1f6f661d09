"""What a run of all checks found: as a table, and as JSON."""

import math
import platform
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ase
import numpy as np
import torch

from se3set_mlip import __version__
from se3set_mlip.testing.results import CheckResult

TABLE_WIDTH = 100


@dataclass(frozen=True)
class Report:
    """The results of all checks of one subject on one structure.

    Parameters
    ----------
    subject
        Name of what was checked.
    structure
        Formula of the structure.
    mode
        ``"quick"`` or ``"full"``.
    seed
        Of all random numbers.
    results
        In the order of the checks.
    seconds
        Wall time by the name of the check.
    """

    subject: str
    structure: str
    mode: str
    seed: int
    results: list[CheckResult]
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(result.passed is not False for result in self.results)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it; numbers that are not finite become None."""
        entries = []
        for result in self.results:
            entry = {
                "name": result.name,
                "measured": result.measured,
                "at_least": result.at_least,
                "allowed": result.allowed,
                "unit": result.unit,
                "passed": result.passed,
                "skipped": result.skipped,
                "detail": result.detail,
                "data": dict(result.data),
            }
            entries.append(_plain(entry))
        return {
            "subject": self.subject,
            "structure": self.structure,
            "mode": self.mode,
            "seed": self.seed,
            "passed": self.passed,
            "seconds": _plain(dict(self.seconds)),
            "results": entries,
        }


def versions() -> dict[str, str]:
    """Return the versions of what computed."""
    return {
        "se3set-mlip": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "ase": ase.__version__,
    }


def _plain(value: Any) -> Any:
    """Return a value with NaN and infinities, which JSON does not know, as None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def verdict(result: CheckResult) -> str:
    """Return ``passed``, ``FAILED`` or ``skipped``."""
    if result.passed is None:
        return "skipped"
    return "passed" if result.passed else "FAILED"


def _number(value: float) -> str:
    """Return a number as short as it can be read."""
    if math.isfinite(value) and value == round(value) and abs(value) < 1000:
        return f"{value:.0f}"
    return f"{value:.2e}" if value and not 0.01 <= abs(value) < 1000 else f"{value:.3g}"


def _allowed(result: CheckResult) -> str:
    """Return the allowed value or range."""
    if result.skipped or math.isnan(result.allowed):
        return "-"
    if result.at_least is None or result.at_least == result.allowed:
        return _number(result.allowed)
    return f"{_number(result.at_least)}..{_number(result.allowed)}"


def _unit(result: CheckResult) -> str:
    """Return the unit in brackets, where there is one."""
    return "" if result.unit in ("", "1") else f" ({result.unit})"


def format_table(reports: Sequence[Report], *, details: bool = True) -> str:
    """Return a table with a line for each check and two columns for each report.

    Parameters
    ----------
    reports
        Of different subjects on the same structure, in the same mode.
    details
        Whether to explain below the table what failed and why checks were skipped.
    """
    names: dict[str, CheckResult] = {}
    for report in reports:
        for result in report.results:
            if result.name not in names or names[result.name].skipped:
                names[result.name] = result
    by_name = [{result.name: result for result in report.results} for report in reports]
    labels = {name: f"{name}{_unit(result)}" for name, result in names.items()}
    width = max((len(label) for label in labels.values()), default=5)
    limits = max((len(_allowed(result)) for result in names.values()), default=0)
    limits = max(limits, len("allowed"))
    columns = [max(20, len(report.subject)) for report in reports]
    head = f"{'check':{width}}  {'allowed':>{limits}}"
    lines = [
        head + "".join(f"  {report.subject:>{columns[k]}}" for k, report in enumerate(reports))
    ]
    for name, first in names.items():
        line = f"{labels[name]:{width}}  {_allowed(first):>{limits}}"
        for k, results in enumerate(by_name):
            cell = "-"
            if name in results:
                result = results[name]
                measured = "" if result.skipped else _number(result.measured)
                cell = f"{measured:>9}  {verdict(result)}"
            line += f"  {cell:>{columns[k]}}"
        lines.append(line)
    if details:
        for report in reports:
            lines += _explanations(report)
    return "\n".join(lines)


def _explanations(report: Report) -> list[str]:
    """Return paragraphs on what failed and what was skipped, and a last line that counts."""
    lines = []
    for wanted, text in (("FAILED", "detail"), ("skipped", "skipped")):
        for result in report.results:
            if verdict(result) == wanted:
                message = f"{wanted}: {result.name}: {getattr(result, text)}"
                lines.append(
                    textwrap.fill(
                        message, TABLE_WIDTH, subsequent_indent="    ", break_on_hyphens=False
                    )
                )
    counts = dict.fromkeys(("passed", "FAILED", "skipped"), 0)
    for result in report.results:
        counts[verdict(result)] += 1
    total = sum(report.seconds.values())
    summary = ", ".join(f"{count} {word.lower()}" for word, count in counts.items())
    heading = f"{report.subject} on {report.structure}, {report.mode}: {summary}; {total:.0f} s"
    return ["", heading, *lines]
