"""What a check measured, what is allowed, and whether it passed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class CheckResult:
    """One line of the report.

    Parameters
    ----------
    name
        What was checked, e.g. ``"energy step at crossings"``.
    measured
        The largest deviation found, or the value itself where a range is allowed.
    allowed
        The largest that is allowed.
    unit
        Unit of both, e.g. ``"eV"``, ``"relative"``, ``"1"``.
    at_least
        The smallest allowed value, where a range is (a slope of 2 +- 0.2).
    detail
        A sentence: how much was looked at, where the worst was found.
    skipped
        Why the check does not apply to this subject or structure; empty if it does.
    data
        Numbers behind the result, for pictures: names to values that JSON can hold.
    """

    name: str
    measured: float
    allowed: float
    unit: str
    at_least: float | None = None
    detail: str = ""
    skipped: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool | None:
        """Whether the value is allowed; None if skipped. A value that is not finite never is."""
        if self.skipped:
            return None
        enough = self.at_least is None or self.measured >= self.at_least
        return bool(np.isfinite(self.measured) and self.measured <= self.allowed and enough)

    @classmethod
    def skip(cls, name: str, reason: str) -> "CheckResult":
        """Return the result of a check that does not apply, and why."""
        return cls(name, float("nan"), float("nan"), "", skipped=reason)
