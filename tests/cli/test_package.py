"""What is installed: public names, a light import, and a wheel that holds its data."""

import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import se3set_mlip as s3

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", s3.__all__)
def test_public_names_exist(name):
    assert getattr(s3, name) is not None
    assert name in dir(s3)


def test_unknown_names_do_not():
    with pytest.raises(AttributeError, match="no attribute 'Potentials'"):
        s3.Potentials  # noqa: B018


def test_version_is_the_packages():
    assert importlib.metadata.version("se3set-mlip") == s3.__version__


def test_import_is_light():
    """Programs that look for plugins import them all, before anybody asks for one."""
    code = (
        "import sys, se3set_mlip, se3set_mlip.engines; "
        "heavy = {'torch', 'rdkit', 'ase', 'e3nn', 'openmm'}; print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_wheel_holds_models_rules_and_type_marker(tmp_path):
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--wheel-dir",
            str(tmp_path),
            str(ROOT),
        ],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "se3set_mlip/py.typed" in names
    assert "se3set_mlip/fragments/functional_groups.json" in names
    for path in (ROOT / "models").iterdir():
        assert f"se3set_mlip/models/{path.name}" in names
    outside = {name.split("/")[0] for name in names} - {"se3set_mlip"}
    assert all(name.endswith(".dist-info") for name in outside)


def test_extras_are_ranges():
    metadata = importlib.metadata.metadata("se3set-mlip")
    extras = set(metadata.get_all("Provides-Extra"))
    assert extras >= {"openmm", "torchforce", "cuda12", "train", "test", "dev"}
    for requirement in metadata.get_all("Requires-Dist"):
        wanted = requirement.split(";")[0]
        assert "==" not in wanted
        assert ">=" in wanted
