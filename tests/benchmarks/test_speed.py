"""The speed benchmark: ratios of rounds, names of subjects, shares by shape, a run end to end."""

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def speed():
    """Import modules of benchmarks/speed by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module


class Scripted:
    """A subject whose times are written down: one list of rounds, each a list of calls."""

    def __init__(self, rounds, log):
        self.rounds, self.log = list(rounds), log

    def ask(self, method, *arguments):
        self.log.append((id(self), method))
        if method == "turn":
            return self.rounds.pop(0)
        return 0.5 if method == "warm_up" else None


class Failing(Scripted):
    """A subject that runs out of memory in its second turn."""

    def ask(self, method, *arguments):
        if method == "turn" and len(self.rounds) == 1:
            error = importlib.import_module("speed.pipe").SubjectError
            raise error("RuntimeError: can't allocate memory: tried 10 bytes\nlast line")
        return super().ask(method, *arguments)


def compared(speed, subjects, **changes):
    rounds = speed("speed.rounds")
    notes, calibration = [], []
    found = rounds.compare(
        subjects,
        speed("speed.systems").SYSTEMS["aspirin"](),
        "energy-forces",
        limits=rounds.Limits(**{"rounds": 3, "structure_seconds": 60.0} | changes),
        reference="b",
        note=lambda *what: notes.append(what),
        calibration=calibration,
        progress=lambda text: None,
    )
    return found, notes, calibration


def test_ratios_are_taken_within_rounds(speed):
    """A machine that slows down threefold changes medians, and no ratio."""
    log = []
    a = Scripted([[0.1, 0.1, 0.4], [0.6, 0.6], [1.8]], log)
    b = Scripted([[0.1], [0.3], [0.9]], log)
    found, notes, calibration = compared(speed, {"a": a, "b": b})
    first, second = found
    assert first.rounds == pytest.approx([0.2, 0.6, 1.8])
    assert first.median == pytest.approx(0.6)
    assert first.n_calls == 6
    assert first.ratio == pytest.approx(2.0)
    assert second.ratio == 1.0
    assert first.warm_up == 0.5
    assert not notes
    assert len(calibration) == 3
    assert min(calibration) > 0.0
    turns = [who for who, method in log if method == "turn"]
    assert turns == [id(a), id(b)] * 3


def test_ratio_is_the_median_of_ratios_not_the_ratio_of_medians(speed):
    times, base = [1.0, 2.0, 30.0], [1.0, 8.0, 10.0]
    assert speed("speed.rounds").median_ratio(times, base) == 1.0  # of 1, 1/4, 3


def test_who_fails_leaves_and_the_others_go_on(speed):
    a, b = Failing([[1.0], [1.0]], []), Scripted([[2.0], [2.0], [2.0]], [])
    found, notes, _ = compared(speed, {"a": a, "b": b})
    assert [timing.subject for timing in found] == ["b"]
    assert notes == [("a", "out of memory")]
    assert len(found[0].rounds) == 3


def test_two_rounds_at_least_are_measured(speed):
    b = Scripted([[2.0], [4.0], [2.0]], [])
    found, _, _ = compared(speed, {"b": b}, structure_seconds=0.0)
    assert found[0].rounds == [2.0, 4.0]
    assert (found[0].low, found[0].high) == (2.0, 4.0)


def test_names_mean_all_that_begin_so(speed, tmp_path):
    subjects = speed("speed.subjects")
    chosen, _ = subjects.select(["ours/small"], sizes=[], routes=[], environments=tmp_path)
    assert {entry.name for entry in chosen} >= {"ours/small/eager", "ours/small/scripted"}
    chosen, _ = subjects.select(["ours"], sizes=["medium"], routes=["eager"], environments=tmp_path)
    assert [entry.name for entry in chosen] == ["ours/medium/eager"]
    assert subjects.SUBJECTS[0].name == "ours/small/eager"
    begin_so = [entry.name for entry in subjects.SUBJECTS if entry.name.startswith("mace/96x0e")]
    assert begin_so == ["mace/96x0e", "mace/96x0e/compiled"]
    python = tmp_path / "mace" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    chosen, _ = subjects.select(["mace/96x0e"], sizes=[], routes=[], environments=tmp_path)
    assert [entry.name for entry in chosen] == ["mace/96x0e"]
    with pytest.raises(subjects.SelectionError, match=r"'our'.*expected one of ours/small/eager"):
        subjects.select(["our"], sizes=[], routes=[], environments=tmp_path)


def test_missing_environments_are_said_or_refused(speed, tmp_path):
    subjects = speed("speed.subjects")
    chosen, left_out = subjects.select([], sizes=[], routes=[], environments=tmp_path)
    assert {entry.family for entry in chosen} == {"ours"}
    assert str(tmp_path / "mace") in left_out["mace/96x0e"]
    with pytest.raises(subjects.SelectionError, match=r"mace/96x0e needs .*README"):
        subjects.select(["mace"], sizes=[], routes=[], environments=tmp_path)


@pytest.mark.parametrize(
    ("shapes", "kind"),
    [
        ([[320, 3]], "pairs"),
        ([[960, 32], [32, 32]], "pairs"),  # 320 pairs with 3 components
        ([[21, 60], []], "incidences"),
        ([[21, 5], [21]], "atoms"),
        ([], "atoms"),
    ],
)
def test_an_operation_belongs_to_the_rows_it_works_on(speed, shapes, kind):
    rows = {"pairs": 320, "incidences": 60, "atoms": 21}
    assert speed("speed.parts").kind_of_rows(shapes, rows) == kind


def test_a_run_end_to_end(speed, tmp_path, capsys, monkeypatch):
    """Our smallest size on aspirin: every measure, tables, JSON and picture."""
    out = tmp_path / "out"
    line = (
        "run.py --subject ours/small --route eager --system aspirin --rounds 2 --turn 0.01 "
        f"--measure energy-forces training-step memory parts --quiet "
        f"--json {out / 'speed.json'} --plot {out / 'speed.png'}"
    )
    monkeypatch.setattr(sys, "argv", line.split())
    speed("run").main()
    printed = capsys.readouterr().out
    assert "Energy and forces" in printed
    result = json.loads((out / "speed.json").read_text())
    energy, step = result["timings"]
    assert (energy["measure"], step["measure"]) == ("energy-forces", "training-step")
    assert energy["n_atoms"] == 21
    assert len(energy["rounds"]) == 2
    assert 0.0 < energy["median"] < step["median"]
    assert energy["ratio"] is None
    (memory,) = result["memory"]
    assert 0 < memory["bytes"] < 2e9
    (parts,) = result["parts"]
    assert sum(parts["shares"].values()) == pytest.approx(1.0)
    assert min(parts["shares"].values()) > 0.0
    assert parts["rows"]["pairs"] > parts["rows"]["incidences"] > parts["rows"]["atoms"] == 21
    assert result["versions"]["ours"]["torch"]
    assert result["calibration"]["low"] > 0.0
    assert not result["left_out"]
    assert (out / "speed.png").stat().st_size > 1000
