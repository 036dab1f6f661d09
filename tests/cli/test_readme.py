"""The README tells the truth: its Python runs, its commands and files exist."""

import re
from pathlib import Path

import openmm
import pytest

from se3set_mlip.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_python_block_runs(tiny_model, monkeypatch):
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    monkeypatch.chdir(ROOT)
    code = block.replace("models/acetylacetone.safetensors", str(tiny_model))
    system = openmm.System()
    names = {"system": system}
    exec(compile(code, "README.md", "exec"), names)
    assert names["atoms"].get_potential_energy() == pytest.approx(names["result"].energy, rel=1e-12)
    assert system.getNumForces() == 1


def test_commands_of_the_table_exist():
    table = [line for line in README.splitlines() if line.startswith("| `se3set ")]
    named = {re.match(r"\| `se3set (\w+)", line)[1] for line in table}
    assert named == set(main.commands)
    for line in table:
        command = main.commands[re.match(r"\| `se3set (\w+)", line)[1]]
        options = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r" (--?[a-z][a-z-]*)", line.split("|")[1])) <= options


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)]+)\)", README))
def test_linked_files_exist(target):
    assert target.startswith("https://") or (ROOT / target).exists()


def test_both_first_commands_are_what_the_project_runs():
    commands = re.findall(r"```\n(.*?)\n```", README, flags=re.DOTALL)
    assert commands[0].endswith("se3set demo")
    assert commands[1] == "bash tests/run.sh"
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
