"""A report says what happened to each check, in a table, in JSON and on a page."""

import importlib.util
import json

import numpy as np
import pytest

from se3set_mlip.errors import InputError, MissingDependencyError
from se3set_mlip.testing.plots import draw_report
from se3set_mlip.testing.report import Report, format_table, versions
from se3set_mlip.testing.results import CheckResult

GRID = np.linspace(0.8, 3.0, 12).tolist()
CURVE = {
    "distance_angstrom": GRID,
    "energy_ev": [1.0 / r for r in GRID],
    "force_ev_per_angstrom": [1.0 / r**2 for r in GRID],
    "flips": 0,
    "minima": 0,
    "inflections": 0,
}
ZOOM = {
    "half_width_angstrom": 1e-3,
    "t_angstrom": [-1e-3, 1e-3],
    "energy_ev": [0.0, 1e-9],
    "force_ev_per_angstrom": [0.0, 1e-7],
}
WORST = {"path": "random path 0", "kinds": ["a member appears or vanishes"], "t_angstrom": 0.3}
PATH = {"t": [0.0, 0.5, 1.0], "energy_ev": [0.0, 1.0, 0.5]}
RESULTS = [
    CheckResult("crossings", 3e-12, 1e-9, "eV", data={"microscope": [ZOOM], "worst": WORST}),
    CheckResult("hidden steps", 15.8, 18.0, "1", at_least=14.0, data={"paths": [PATH]}),
    CheckResult.skip("stress", "the calculator has none"),
    CheckResult(
        "diatomics", 3.0, 1, "1", detail="too many: O-O 3", data={"curves": {"O-O": CURVE}}
    ),
    CheckResult("bond scans", 1.0, 1, "1", data={"curves": {"C0-O1": CURVE}}),
    CheckResult(
        "order",
        float("nan"),
        2.2,
        "1",
        at_least=1.8,
        detail="exploded",
        data={
            "timestep_fs": [0.5, 1.0],
            "fluctuation_mev_per_atom": [0.1, 0.4],
            "time_ps": [0.0, 0.001, 0.002],
            "total_mev_per_atom": [[0.0, 0.1, 0.0], [0.0, 0.4, float("nan")]],
        },
    ),
]


def report(results=RESULTS, subject="SE3Set") -> Report:
    return Report(subject, "C2H6O", "quick", 3, list(results), {"crossings": 1.5, "order": 2.0})


def test_a_report_passes_if_nothing_failed():
    assert not report().passed
    assert report([result for result in RESULTS if result.passed is not False]).passed


def test_the_table_has_a_line_for_each_check_and_says_why():
    table = format_table([report()])
    lines = table.splitlines()
    assert lines[0].split() == ["check", "allowed", "SE3Set"]
    assert lines[1].split() == ["crossings", "(eV)", "1.00e-09", "3.00e-12", "passed"]
    assert lines[2].split() == ["hidden", "steps", "14..18", "15.8", "passed"]
    assert lines[3].split() == ["stress", "-", "skipped"]
    assert lines[6].split() == ["order", "1.8..2.2", "nan", "FAILED"]
    assert "SE3Set on C2H6O, quick: 3 passed, 2 failed, 1 skipped; 4 s" in lines
    assert "FAILED: diatomics: too many: O-O 3" in lines
    assert "skipped: stress: the calculator has none" in lines


def test_two_reports_stand_side_by_side():
    other = [CheckResult("stress", 0.5, 1e-7, "relative"), CheckResult("ours", 0.0, 1e-9, "eV")]
    lines = format_table([report(), report(other, "LJ")], details=False).splitlines()
    assert lines[0].split() == ["check", "allowed", "SE3Set", "LJ"]
    by_name = {line.split()[0]: line.split()[1:] for line in lines}
    assert by_name["crossings"][-2:] == ["passed", "-"]
    assert by_name["stress"] == ["(relative)", "1.00e-07", "skipped", "0.5", "FAILED"]
    assert by_name["ours"][-3:] == ["-", "0", "passed"]
    assert len({len(line) for line in lines}) == 1


def test_json_holds_everything_and_no_nan():
    text = json.dumps(report().to_dict(), allow_nan=False)
    found = json.loads(text)
    assert [entry["passed"] for entry in found["results"]] == [True, True, None, False, True, False]
    assert found["results"][5]["measured"] is None
    assert found["results"][5]["data"]["total_mev_per_atom"][1][2] is None
    assert found["results"][0]["data"]["worst"]["path"] == "random path 0"
    assert (found["mode"], found["seed"], found["passed"]) == ("quick", 3, False)
    assert found["seconds"] == {"crossings": 1.5, "order": 2.0}
    assert set(versions()) >= {"se3set-mlip", "torch", "ase"}


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF")])
def test_a_page_is_drawn_even_where_much_is_missing(tmp_path, suffix, magic):
    page = tmp_path / f"page{suffix}"
    draw_report(report() if suffix == ".png" else report(RESULTS[2:3]), page)
    assert page.read_bytes().startswith(magic)


def test_a_page_needs_a_known_suffix_and_matplotlib(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="must end in one of"):
        draw_report(report(), tmp_path / "page.txt")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"se3set-mlip\[train\]"):
        draw_report(report(), tmp_path / "page.png")
