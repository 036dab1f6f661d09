"""`se3set check`: one column or two, from files and from calculators of other packages."""

import json
import re

import ase.build
import ase.io
import pytest
from click.testing import CliRunner

from se3set_mlip.cli import main
from se3set_mlip.shipped import shipped_structure
from se3set_mlip.testing import run

LJ = "ase.calculators.lj:LennardJones"
ARGUMENTS = '{"sigma": 2.0, "rc": 8.0, "smooth": true}'


@pytest.fixture
def check(tmp_path, monkeypatch):
    """The command with little of everything, in a folder with methanol in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "QUICK", run.Extent(1, 2, 1, 102, 8, 5, 0.004, 0.0, 0.002))
    for name in ("agreement", "crossings", "hidden_steps", "skin", "memory"):  # the slow ones
        monkeypatch.setattr(run, f"check_{name}", lambda *_, **__: [])
    ase.io.write("methanol.xyz", ase.build.molecule("CH3OH"))

    def invoke(*arguments: object, exit_code: int = 0) -> str:
        result = CliRunner().invoke(main, ["check", *(str(argument) for argument in arguments)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == exit_code, result.output
        return result.output if exit_code == 2 else result.stdout

    return invoke


def test_two_columns_json_and_a_page(check, tiny_model, tmp_path):
    """Random weights are smooth and symmetric, and know no chemistry: exit code 1."""
    output = check(
        *(tiny_model, "methanol.xyz", "--against", LJ, "--against-arguments", ARGUMENTS),
        *("--json", "checks.json", "--plot", "page.png", "--seed", 2),
        exit_code=1,
    )
    head = next(line for line in output.splitlines() if line.startswith("check"))
    assert head.split() == ["check", "allowed", "tiny", "LennardJones"]
    found = json.loads((tmp_path / "checks.json").read_text())
    assert found["versions"]["torch"]
    ours, theirs = found["reports"]
    assert (ours["subject"], theirs["subject"]) == ("tiny", "LennardJones")
    assert (ours["structure"], ours["seed"], ours["mode"]) == ("CH4O", 2, "quick")
    passed = {entry["name"]: entry["passed"] for entry in ours["results"]}
    for name in ("symmetry: energy", "forces", "stress", "diatomics, minima"):
        assert passed[name] is True, name
    assert passed["NVE drift"] is None
    assert passed["bond scans, minima"] is False
    skipped = {entry["name"]: entry["skipped"] for entry in theirs["results"]}
    assert any(name.startswith("batch") and reason for name, reason in skipped.items())
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


def only(monkeypatch, passes):
    result = run.CheckResult("wanted", 0.0 if passes else 2.0, 1.0, "eV")
    monkeypatch.setattr(run, "_symmetries", lambda *_: [("wanted", lambda: result)])
    for name in ("_computations", "_dynamics"):
        monkeypatch.setattr(run, name, lambda *_: [])


@pytest.mark.parametrize("passes", [True, False])
def test_the_exit_code_is_that_of_the_model(check, tiny_model, monkeypatch, passes):
    only(monkeypatch, passes)
    output = check(tiny_model, "methanol.xyz", exit_code=0 if passes else 1)
    assert ("FAILED" in output) != passes


def test_a_calculator_alone_can_be_checked(check, monkeypatch):
    only(monkeypatch, passes=True)
    output = check(LJ, "methanol.xyz", "--model-arguments", ARGUMENTS)
    assert "LennardJones on CH4O" in output
    assert "LennardJones on CH4" in check(LJ, "--smiles", "C")


def test_the_structure_beside_the_model_is_taken(check, tiny_model, monkeypatch):
    only(monkeypatch, passes=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tiny_model.parent)
        ase.io.write(
            tiny_model.with_suffix(".xyz"), ase.io.read(shipped_structure("acetylacetone"))
        )
        assert "tiny on C5H8O2" in check(tiny_model)
        tiny_model.with_suffix(".xyz").unlink()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([LJ], "no structure is named"),
        (["missing.safetensors", "methanol.xyz"], "does not exist; correct the path"),
        (["no_such_module:Potential", "methanol.xyz"], "cannot be imported"),
        (["ase.calculators.lj:Missing", "methanol.xyz"], "has no callable 'Missing'"),
        ([LJ, "methanol.xyz", "--model-arguments", "{"], "are no JSON"),
        ([LJ, "methanol.xyz", "--model-arguments", "[1]"], "must be a JSON object"),
        (["ase:Atoms", "methanol.xyz"], "cannot check"),
        (["ase:Atoms", "methanol.xyz", "--model-arguments", '{"x": 1}'], "raises: .*'x'"),
        ([LJ, "methanol.xyz", "--against-arguments", "{}"], "1 --against-arguments for 0"),
        ([LJ, "methanol.xyz", "--against", "lj"], "must have the form module:callable"),
    ],
)
def test_mistakes_end_in_one_line(check, arguments, message):
    output = check(*arguments, exit_code=2)
    assert len(output.strip().splitlines()) == 1
    assert re.search(message, output), output
