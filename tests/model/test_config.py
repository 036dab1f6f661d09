"""Settings of the network that cannot work are refused, with the remedy."""

import pytest

from se3set_mlip.configuration import config_from_dict, config_to_dict
from se3set_mlip.errors import ConfigError
from se3set_mlip.hypergraph.build import HypergraphConfig
from se3set_mlip.model.config import ModelConfig
from se3set_mlip.potential.config import PotentialConfig


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"elements": [8, 1]}, "must be ascending"),
        ({"elements": []}, "must be ascending and not empty"),
        ({"irreps": "16xfoo"}, "not irreps notation"),
        ({"irreps": "8x1o+16x0e"}, "write 16x0e"),
        ({"irreps": "8x1o"}, "begin with even scalars"),
        ({"irreps_final": "8x0e+2x1o"}, "even scalars only"),
        ({"irreps_final": "999999999999x0e"}, "multiplicities above 65,536"),
        ({"irreps": "8x0e+1x12e"}, "degrees above 11"),
        ({"radial_basis": "fourier"}, "one of exponential_normal, gaussian, bessel"),
        ({"radial_envelope": "sine"}, "'none', 'polynomial' or 'cosine'"),
        ({"norm": "batch"}, "'joint' or 'per_irrep'"),
        ({"n_layers": 0}, "n_layers = 0 must be positive"),
        ({"lmax": -1}, "must not be negative"),
        ({"lmax": 20}, "nor above 11"),
        ({"elements": [1, 200]}, "atomic numbers, 1 to 118"),
        ({"elements": [0, 1]}, "atomic numbers, 1 to 118"),
        ({"radial_hidden": [16, 0]}, "must be positive widths"),
        ({"average_atoms": float("nan")}, "must be positive and finite"),
        ({"radial_hidden": []}, "radial_hidden is empty"),
        ({"interaction": "attention", "fragment_charge": True}, "only 'density' knows charges"),
        ({"pair_range_angstrom": 0.0}, "pair_range_angstrom = 0.0 must be positive"),
        ({"interaction": "attention", "pair_range_angstrom": 6.0}, "goes with interaction"),
        ({"n_layer": 3}, "did you mean 'n_layers'"),
        ({"n_layers": "two"}, "expected int"),
        ({"n_layers": True}, "expected int"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ConfigError, match=message):
        config_from_dict(ModelConfig, {"elements": [1, 8], **change})


def test_there_and_back_again():
    config = ModelConfig(elements=(1, 6), radial_hidden=(8, 8), average_sources=3.0)
    values = config_to_dict(config)
    assert values["radial_hidden"] == [8, 8]
    assert config_from_dict(ModelConfig, values) == config


def test_elements_are_required():
    with pytest.raises(ConfigError, match="elements"):
        config_from_dict(ModelConfig, {})


def test_types_are_checked_however_settings_are_made():
    with pytest.raises(ConfigError, match=r"ModelConfig\.n_layers"):
        ModelConfig(elements=(1, 8), n_layers="two")
    with pytest.raises(ConfigError, match=r"HypergraphConfig\.cutoff_angstrom"):
        HypergraphConfig(cutoff_angstrom="4")
    with pytest.raises(ConfigError, match=r"PotentialConfig\.model"):
        PotentialConfig(model={"elements": [1, 8]})
