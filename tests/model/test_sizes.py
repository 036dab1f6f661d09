"""A named size is a way to write settings down; it leaves no trace in what is stored."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from se3set_mlip.configuration import config_from_dict, config_to_dict
from se3set_mlip.errors import ConfigError
from se3set_mlip.hypergraph.build import HypergraphConfig
from se3set_mlip.model.config import ModelConfig
from se3set_mlip.model.se3set import SE3Set
from se3set_mlip.model.sizes import SIZES, named_config, settings_with_size
from se3set_mlip.potential.checkpoint import checkpoint_info, load_checkpoint, save_checkpoint
from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.potential.potential import Metadata, Potential
from se3set_mlip.potential.potential_module import PotentialModule
from se3set_mlip.training import training_config_from_dict

ORGANIC = (1, 6, 8)


def training_settings(model: dict) -> dict:
    return {
        "data": {"train_files": "train.xyz"},
        "potential": {"model": model},
        "optimizer": {"epochs": 1},
        "run": {"output_dir": "out"},
    }


def n_parameters(config: ModelConfig) -> int:
    settings = PotentialConfig(model=config, hypergraph=HypergraphConfig(membership="hard"))
    module = PotentialModule(settings, dtype=torch.float32)
    return sum(parameter.numel() for parameter in module.parameters())


def test_sizes_grow():
    counts = [n_parameters(named_config(size, elements=ORGANIC)) for size in SIZES]
    assert counts == sorted(counts)
    assert len(set(counts)) == len(counts)


def test_the_published_size_has_the_published_number_of_parameters():
    network = SE3Set(named_config("published", elements=ORGANIC))
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(6.29e6, abs=0.005e6)


@pytest.mark.parametrize("size", SIZES)
def test_elements_and_averages_are_taken(size):
    config = named_config(
        size,
        elements=(7, 9),
        average_sources=2.5,
        average_incidences=3.5,
        average_atoms=17.0,
    )
    assert config.elements == (7, 9)
    averages = (config.average_sources, config.average_incidences, config.average_atoms)
    assert averages == (2.5, 3.5, 17.0)
    assert named_config(size, elements=(7, 9)).irreps == config.irreps


@pytest.mark.parametrize("size", ["tiny", "Small", "", None, 3])
def test_an_unknown_size_is_an_error_that_names_the_sizes(size):
    with pytest.raises(ConfigError, match=r"expected one of small, medium, large, published"):
        named_config(size, elements=ORGANIC)
    with pytest.raises(ConfigError, match=r"size = .* expected one of small"):
        training_config_from_dict(training_settings({"size": size, "elements": [1, 8]}))


def test_a_training_file_names_a_size():
    model = {"size": "medium", "elements": [1, 6, 8]}
    config = training_config_from_dict(training_settings(model))
    assert config.potential.model == named_config("medium", elements=ORGANIC)
    assert model == {"size": "medium", "elements": [1, 6, 8]}  # the caller's own is left alone


def test_other_keys_stand_above_the_size():
    model = {"size": "small", "elements": [1, 8], "n_layers": 3, "radial_hidden": [8]}
    config = training_config_from_dict(training_settings(model)).potential.model
    plain = named_config("small", elements=(1, 8))
    assert (config.n_layers, config.radial_hidden) == (3, (8,))
    assert (config.irreps, config.interaction) == (plain.irreps, plain.interaction)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"size": "small"}, "elements"),
        ({"size": "small", "elements": [1, 8], "n_layer": 3}, "did you mean 'n_layers'"),
        ({"size": "small", "elements": [8, 1]}, "must be ascending"),
    ],
)
def test_other_mistakes_beside_a_size_are_named(model, message):
    with pytest.raises(ConfigError, match=message):
        training_config_from_dict(training_settings(model))


def test_settings_without_a_size_stay_as_they_are():
    assert settings_with_size({"elements": [1], "lmax": 1}) == {"elements": [1], "lmax": 1}


def test_a_checkpoint_stores_settings_and_no_name(tmp_path):
    model = {"size": "small", "elements": [1, 8], "n_layers": 1}
    config = training_config_from_dict(training_settings(model)).potential
    module = PotentialModule(config, dtype=torch.float32)
    module.set_energies(reference={1: -13.0, 8: -2000.0}, scale=1.0)
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, Potential(module, config, Metadata()))
    stored = checkpoint_info(path)["config"]["model"]
    assert "small" not in json.dumps(stored)
    assert stored["irreps"] == config.model.irreps
    assert load_checkpoint(path).config == config


RADIAL = ("radial_basis", "n_radial", "radial_range_angstrom", "radial_hidden")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_small_is_the_point_that_was_measured_but_for_its_radial_part():
    path = BENCHMARKS / "sizes" / "results" / "accuracy" / "c32_noupdate_density3.json"
    row = json.loads(path.read_text(encoding="utf-8"))
    measured = config_from_dict(ModelConfig, row["model"])
    small = named_config("small", elements=measured.elements)
    assert replace(small, **{key: getattr(measured, key) for key in RADIAL}) == measured


@pytest.mark.parametrize("size", ["small", "medium", "large"])
def test_the_radial_part_is_the_one_that_was_measured(size):
    path = BENCHMARKS / "recipe" / "results" / "bonds_both.json"
    changed = json.loads(path.read_text(encoding="utf-8"))["changed"]
    values = config_to_dict(named_config(size, elements=ORGANIC))
    assert {key: values[key] for key in RADIAL} == {
        key: changed[f"potential.model.{key}"] for key in RADIAL
    }
