"""The network is the published one: energies and forces of 16 systems to 1e-9.

``published_model.npz`` holds the weights of a small published network and what the published
program computes with them, in float64.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem

import se3set_mlip as s3
from se3set_mlip.errors import ArtifactError, ConfigError, InputError
from se3set_mlip.fragments.fragmentation import PRESETS
from se3set_mlip.hypergraph.build import HypergraphBuilder, HypergraphConfig
from se3set_mlip.model.published import load_published, our_name, published_config
from se3set_mlip.model.se3set import SE3Set
from se3set_mlip.potential.inputs import make_system
from se3set_mlip.potential.published import read_published

DATA = Path(__file__).parents[1] / "data"
FILE = DATA / "published_model.npz"
MOLECULES = json.loads((DATA / "fragments.json").read_text())
PUBLISHED = dict(np.load(FILE))
CASES = sorted({tuple(key.split("/")[1:3]) for key in PUBLISHED if key.startswith("case/")})
PRESET = {"implicit": "implicit_md22", "explicit": "explicit_md17"}
CONFIG = json.loads(str(PUBLISHED["config"]))


def expected(molecule, overlap, name):
    return PUBLISHED[f"case/{molecule}/{overlap}/{name}"]


def test_there_are_sixteen_cases():
    assert len(CASES) == 16


@pytest.mark.parametrize(("molecule", "overlap"), CASES)
def test_energy_and_forces_from_listed_fragments(molecule, overlap):
    energy, forces = s3.reproduce_published(
        FILE,
        expected(molecule, overlap, "numbers"),
        expected(molecule, overlap, "positions"),
        MOLECULES[molecule]["fragments"][PRESET[overlap]],
        overlap=overlap,
        cutoff=4.0,
    )
    assert energy == pytest.approx(float(expected(molecule, overlap, "energy")), rel=1e-9, abs=0)
    reference = expected(molecule, overlap, "forces")
    assert np.abs(forces - reference).max() <= 1e-9 * np.abs(reference).max()


@pytest.mark.parametrize(("molecule", "overlap"), CASES)
def test_the_whole_chain_in_the_hard_limit(molecule, overlap):
    """Own fragments and own hypergraph, through the code that smooth membership runs."""
    positions = expected(molecule, overlap, "positions")
    topology = s3.Topology.from_rdkit(
        Chem.MolFromMolBlock(MOLECULES[molecule]["molblock"], removeHs=False)
    )
    fragmentation = s3.fragment(topology, positions, preset=PRESET[overlap])
    system = make_system(
        topology.numbers,
        positions,
        fragmentation,
        elements=(1, 6, 7, 8, 15, 16, 17),
        dtype=torch.float64,
        device=torch.device("cpu"),
    )
    builder = HypergraphBuilder(HypergraphConfig(membership="hard"), PRESETS[PRESET[overlap]])
    graph = builder(system)
    assert graph.incidence_atom.shape[0] == expected(molecule, overlap, "e2v_index").shape[1]
    energy = float(read_published(FILE)(graph).sum().detach())
    assert energy == pytest.approx(float(expected(molecule, overlap, "energy")), rel=1e-9, abs=0)


def test_every_published_weight_is_used_or_known_to_be_idle():
    model = SE3Set(published_config(CONFIG["model"], CONFIG["statistics"]))
    names = {name for name, _ in model.named_parameters()}
    idle = 0
    for key in PUBLISHED:
        name = key.removeprefix("weight/")
        if key.startswith("weight/") and our_name(name) not in names:
            computed = any(part in name for part in ("output_mask", "_w3j_", "gate.mul.weight"))
            assert computed, name
            idle += 1
    assert 0 < idle < len(PUBLISHED)


def test_missing_and_foreign_weights_are_named():
    model = SE3Set(published_config(CONFIG["model"], CONFIG["statistics"]))
    weights = {
        key.removeprefix("weight/"): torch.from_numpy(value)
        for key, value in PUBLISHED.items()
        if key.startswith("weight/")
    }
    with pytest.raises(ArtifactError, match=r"lack 'head_out.weight' and 0 more"):
        load_published(model, {k: v for k, v in weights.items() if k != "head.2.tp.weight"})
    with pytest.raises(ArtifactError, match=r"'decoder.weight' has no place"):
        load_published(model, {**weights, "decoder.weight": torch.ones(3)})
    with pytest.raises(ArtifactError, match="has 3 numbers"):
        load_published(model, {**weights, "head.2.tp.weight": torch.ones(3)})


@pytest.mark.parametrize(
    ("setting", "value"),
    [("use_he_as_message", True), ("norm_layer", "graph"), ("use_attn_head", True)],
)
def test_variants_that_are_not_implemented_are_refused(setting, value):
    with pytest.raises(ConfigError, match=f"published setting {setting}"):
        published_config({**CONFIG["model"], setting: value}, CONFIG["statistics"])


def test_bad_input_is_named(tmp_path):
    positions = expected("water", "implicit", "positions")
    with pytest.raises(InputError, match="overlap = 'none'"):
        s3.reproduce_published(FILE, [8, 1, 1], positions, [[0, 1, 2]], overlap="none")
    with pytest.raises(InputError, match="fragments cover atoms"):
        s3.reproduce_published(FILE, [8, 1, 1], positions, [[0, 1]])
    with pytest.raises(InputError, match="atomic number 26"):
        s3.reproduce_published(FILE, [26, 1, 1], positions, [[0, 1, 2]])
    with pytest.raises(InputError, match="positions have shape"):
        s3.reproduce_published(FILE, [8, 1, 1], positions[:2], [[0, 1, 2]])
    broken = tmp_path / "weights.npz"
    broken.write_bytes(FILE.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match="does not hold weights"):
        s3.reproduce_published(broken, [8, 1, 1], positions, [[0, 1, 2]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fragments": [[0, 0, 1, 2]]}, "lists an atom twice"),
        ({"fragments": [0, 1, 2]}, "give its atoms"),
        ({"positions": np.zeros((3, 3))}, "atoms 0 and 1 are less than"),
        ({"positions": "water"}, "not an array of numbers"),
        ({"numbers": ["O", "H", "H"]}, "give one atomic number per atom"),
        ({"numbers": 8}, "give one atomic number per atom"),
        ({"cutoff": -1.0}, "give a positive range"),
        ({"cutoff": float("nan")}, "give a positive range"),
    ],
)
def test_more_bad_input_is_named(change, message):
    arguments = {
        "numbers": [8, 1, 1],
        "positions": expected("water", "implicit", "positions"),
        "fragments": [[0, 1, 2]],
        **change,
    }
    with pytest.raises(InputError, match=message):
        s3.reproduce_published(FILE, **arguments)


@pytest.mark.parametrize("content", ["empty", "array", "other"])
def test_files_without_weights_are_named(tmp_path, content):
    path = tmp_path / "weights.npz"
    with path.open("wb") as file:
        if content == "array":
            np.save(file, np.zeros(3))
        elif content == "other":
            np.savez(file, config=json.dumps([1, 2]))
    with pytest.raises(ArtifactError, match="does not hold weights"):
        s3.reproduce_published(path, [8, 1, 1], np.eye(3), [[0, 1, 2]])
