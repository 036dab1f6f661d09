"""Every example runs as a user would run it."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

QUICK = {
    "01_relax.py": ["--steps", "3"],
    "02_ase_md.py": ["--steps", "10", "--trajectory", "md.traj"],
    "03_openmm_md.py": ["--steps", "10", "--system", "system.xml"],
    "04_evaluate.py": [],
    "06_smooth_membership.py": ["--points", "20"],
    "05_train_your_own.py": ["--epochs", "1", "--output-dir", "run"],
    "07_vibrations_and_neb.py": ["--images", "3", "--steps", "300"],
    "08_ml_mm.py": ["--steps", "20", "--box", "2.2"],
    "09_active_learning.py": [
        "--rounds", "2", "--members", "2", "--epochs", "1", "--walks", "2", "--steps", "3",
        "--output-dir", "run",
    ],
    "10_water_npt.py": ["--steps", "20", "--box", "1.2"],
}  # fmt: skip


def test_every_example_is_listed():
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(QUICK)


@pytest.mark.examples
@pytest.mark.parametrize("name", QUICK)
def test_example_runs(name, tiny_model, tmp_path):
    model = ["--model", str(tiny_model)] if name < "05" else []
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *model, *QUICK[name]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
