"""The shipped model is what its card promises: found, described, accurate, fit for dynamics."""

import json
from pathlib import Path

import ase.io
import pytest
from click.testing import CliRunner

import se3set_mlip as s3
from se3set_mlip.cli import main
from se3set_mlip.errors import ArtifactError
from se3set_mlip.model_files import describe_file
from se3set_mlip.shipped import shipped_model, shipped_structure

DATA = Path(__file__).parents[2] / "examples" / "data" / "acetylacetone_30.xyz"


def test_metadata_say_where_it_comes_from():
    found = describe_file(shipped_model("acetylacetone"))
    assert found["elements"] == [1, 6, 8]
    for name in ("description", "level_of_theory", "training_data", "license", "authors"):
        assert found["metadata"][name]


def test_it_reproduces_labels(tmp_path):
    errors = tmp_path / "errors.json"
    model = str(shipped_model("acetylacetone"))
    result = CliRunner().invoke(main, ["evaluate", model, str(DATA), "--json", str(errors)])
    assert result.exit_code == 0, result.output
    assert json.loads(errors.read_text())["force_rmse_mev_per_angstrom"] < 40.0
    assert json.loads(errors.read_text())["energy_rmse_mev"] < 8.0


def test_it_passes_its_checks():
    model, structure = shipped_model("acetylacetone"), shipped_structure("acetylacetone")
    result = CliRunner().invoke(main, ["check", str(model), str(structure)])
    assert result.exit_code == 0, result.output


def test_it_knows_its_minimum():
    """The shipped geometry, from a force field, is close to a minimum of the model."""
    potential = s3.load(shipped_model("acetylacetone"), dtype="float64")
    atoms = ase.io.read(shipped_structure("acetylacetone"))
    labelled = ase.io.read(DATA, index=0)
    energy = potential.evaluate(atoms, forces=False).energy
    assert energy == pytest.approx(labelled.info["REF_energy"], abs=3.0)


def test_an_unknown_name_is_an_error():
    with pytest.raises(ArtifactError, match="no model 'ethanol' is shipped; known: acetylacetone"):
        shipped_model("ethanol")
