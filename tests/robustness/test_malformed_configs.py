"""Settings from dictionaries and YAML: our error or a configuration, whatever a file says."""

import dataclasses

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from se3set_mlip.configuration import config_from_dict, config_to_dict
from se3set_mlip.errors import ConfigError
from se3set_mlip.fragments.fragmentation import PRESETS, FragmentationConfig
from se3set_mlip.hypergraph.build import HypergraphConfig
from se3set_mlip.model.config import ModelConfig
from se3set_mlip.potential.config import PotentialConfig

COMPLETE = {
    ModelConfig: config_to_dict(ModelConfig(elements=(1, 6, 8))),
    FragmentationConfig: config_to_dict(PRESETS["explicit_qm9"]),
    HypergraphConfig: config_to_dict(HypergraphConfig()),
    PotentialConfig: config_to_dict(PotentialConfig(model=ModelConfig(elements=(1, 8)))),
}
FIELDS = [(kind, name) for kind, values in COMPLETE.items() for name in values]

MULTIPLICITIES = st.sampled_from(["", "0x", "1x", "8x", "-3x", "1.5x", "xx", "9" * 30 + "x"])
TERMS = st.tuples(
    MULTIPLICITIES, st.integers(-1, 13).map(str), st.sampled_from(["e", "o", "y", ""])
)
IRREPS = st.one_of(
    st.text("0123456789xeo+- .", max_size=12),
    st.lists(TERMS.map("".join), max_size=4).map("+".join),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 12),
    st.sampled_from([10**30, -(10**400), 2**63]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["implicit", "explicit", "pauling", "smooth", "hard", "cosine", "1e-3", "nan"]),
    st.dates(),
    st.binary(max_size=3),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.text(max_size=5), st.integers(), st.none()), inner, max_size=3
        ),
    ),
    max_leaves=6,
)


def reads_or_refuses(kind, values):
    """Either there is a configuration, and it survives the way back, or our error."""
    try:
        config = config_from_dict(kind, values)
    except ConfigError as error:
        message = str(error)
    else:
        message = None
    if message is not None:
        assert len(message) > 15
        return
    assert isinstance(config, kind)
    assert config_from_dict(kind, config_to_dict(config)) == config
    hash(config)


def any_value(data):
    kind, name = data.draw(st.sampled_from(FIELDS))
    reads_or_refuses(kind, COMPLETE[kind] | {name: data.draw(VALUES)})


def any_irreps(data):
    names = [name for name in COMPLETE[ModelConfig] if name.startswith("irreps")]
    changes = {data.draw(st.sampled_from(names)): data.draw(IRREPS)}
    reads_or_refuses(ModelConfig, COMPLETE[ModelConfig] | changes)


def any_mapping(data):
    kind = data.draw(st.sampled_from(list(COMPLETE)))
    names = st.one_of(st.sampled_from(list(COMPLETE[kind])), st.text(max_size=6))
    reads_or_refuses(kind, data.draw(st.one_of(VALUES, st.dictionaries(names, VALUES))))


def any_yaml(data):
    """What a slip of the hand makes of a YAML file: characters replaced, dropped and added."""
    kind = data.draw(st.sampled_from(list(COMPLETE)))
    text = yaml.safe_dump(COMPLETE[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text) - 1))
        end = start + data.draw(st.integers(0, 2))
        text = text[:start] + data.draw(st.text("0159.-:[]{}'xeno \n#~", max_size=2)) + text[end:]
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # PyYAML's own, of which the readers of files make ours
        return
    reads_or_refuses(kind, values)


@settings(max_examples=80)
@given(st.data())
def test_any_value(data):
    any_value(data)


@settings(max_examples=60)
@given(st.data())
def test_any_irreps(data):
    any_irreps(data)


@settings(max_examples=40)
@given(st.data())
def test_any_mapping(data):
    any_mapping(data)


@settings(max_examples=60)
@given(st.data())
def test_any_yaml(data):
    any_yaml(data)


@pytest.mark.heavy
@pytest.mark.parametrize("law", [any_value, any_irreps, any_mapping, any_yaml])
def test_many(law):
    settings(max_examples=1500)(given(st.data())(law))()


@pytest.mark.parametrize("value", [None, "a", "2", [2], {}, 2.5, True, float("nan")])
def test_constructors(value):
    """Made by hand, without a dictionary: the same types, and no text for numbers."""
    for field in ("min_atoms", "max_atoms"):
        with pytest.raises(ConfigError, match=rf"{field} = "):
            FragmentationConfig(**{field: value})
    with pytest.raises(ConfigError):
        dataclasses.replace(PRESETS["explicit_md17"], overlap_bond_order=str(value))
    for field in ("overlap", "bond_order"):
        with pytest.raises(ConfigError, match=rf"{field} = "):
            FragmentationConfig(**{field: value})
    if value not in (2.5, "2"):
        with pytest.raises(ConfigError, match="min_bond_order = "):
            FragmentationConfig(min_bond_order=value)
