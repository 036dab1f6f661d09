"""All checks run in their order; errors of ours become lines, others pass through."""

import ase
import pytest
from ase.calculators.lj import LennardJones

from se3set_mlip.errors import InputError, MissingDependencyError
from se3set_mlip.testing import run
from se3set_mlip.testing.results import CheckResult
from se3set_mlip.testing.run import run_checks, run_report

STARTS = (
    *("symmetry", "forces", "stress", "symmetry of the Hessian", "energy step", "hidden steps"),
    *("skin", "extensivity", "locality", "periodic images", "batch", "same numbers", "memory"),
    *("diatomics", "bond scans", "NVE drift", "NVE fluctuation", "failures in NVT at 300 K"),
    "failures in NVT at 500 K",
)


def argon() -> ase.Atoms:
    return ase.Atoms("Ar3", [[0.0, 0.0, 0.0], [1.12, 0.0, 0.0], [0.56, 0.97, 0.0]])


@pytest.fixture
def short(monkeypatch):
    """Little of everything: what is tested is what happens to it."""
    little = run.Extent(1, 2, 1, 102, 12, 8, 0.005, 0.0, 0.008)
    monkeypatch.setattr(run, "QUICK", little)


def smooth() -> LennardJones:
    return LennardJones(epsilon=0.01, rc=5.0, smooth=True)


def test_a_foreign_calculator_goes_through_all_rows(short):
    report = run_report(smooth(), argon(), progress=False, seed=1)
    assert (report.structure, report.mode, report.seed) == ("Ar3", "quick", 1)
    assert report.subject == "LennardJones"
    names = [result.name for result in report.results]
    places = [next(k for k, name in enumerate(names) if name.startswith(s)) for s in STARTS]
    assert places == sorted(places)
    by_name = {result.name: result for result in report.results}
    assert by_name["NVE drift"].skipped
    assert all(value >= 0.0 for value in report.seconds.values())
    assert by_name["diatomics, minima"].measured == 1


def only(monkeypatch, check):
    monkeypatch.setattr(run, "_symmetries", lambda *_: [("wanted", check)])
    for name in ("_computations", "_dynamics"):
        monkeypatch.setattr(run, name, lambda *_: [])


@pytest.mark.parametrize(
    ("error", "passed", "text"),
    [
        (InputError("atoms 1 and 2 coincide"), False, "atoms 1 and 2 coincide"),
        (MissingDependencyError("install it"), None, "install it"),
    ],
)
def test_errors_of_ours_become_lines(monkeypatch, error, passed, text):
    def check():
        raise error

    only(monkeypatch, check)
    (result,) = run_checks(smooth(), argon(), progress=False)
    assert result.name == "wanted"
    assert result.passed is passed
    assert text in result.detail + result.skipped


def test_other_errors_pass_through(monkeypatch):
    def check():
        raise ZeroDivisionError

    only(monkeypatch, check)
    with pytest.raises(ZeroDivisionError):
        run_checks(smooth(), argon(), progress=False)


def test_one_result_is_as_good_as_a_list(monkeypatch):
    only(monkeypatch, lambda: CheckResult("one", 0.0, 1.0, "eV"))
    (result,) = run_checks(smooth(), argon(), progress=False)
    assert result.passed


def test_what_cannot_be_checked_is_an_error():
    with pytest.raises(InputError, match="cannot check 'model'"):
        run_checks("model", argon(), progress=False)
    with pytest.raises(InputError, match="stability_ps = 0"):
        run_report(smooth(), argon(), stability_ps=0.0, progress=False)
