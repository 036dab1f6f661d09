"""A potential compiled by torch.compile computes the same."""

import copy
import shutil

import numpy as np
import pytest
import torch

from se3set_mlip.errors import InputError
from se3set_mlip.export.loading import load
from se3set_mlip.export.torchscript import export_generic
from se3set_mlip.potential.checkpoint import load_checkpoint, save_checkpoint
from se3set_mlip.topology.molecule import Topology

METHANOL = np.array(
    [
        *([-0.05, 0.66, 0.0], [-0.05, -0.76, 0.0], [-1.09, 0.98, 0.0]),
        *([0.44, 1.07, 0.89], [0.44, 1.07, -0.89], [0.87, -1.06, 0.0]),
    ]
)


def system(potential, scale=1.0, copies=1):
    """Methanols in a row, 6 Å apart."""
    topology = Topology.from_smiles(".".join(["CO"] * copies))
    numbers = np.array(topology.numbers)
    points = np.empty((len(numbers), 3))
    for k in range(copies):  # SMILES lists heavy atoms first
        rows = [2 * k, 2 * k + 1, *range(2 * copies + 4 * k, 2 * copies + 4 * k + 4)]
        points[rows] = METHANOL * scale + np.array([6.0 * k, 0, 0])
    return potential.system(numbers, points, potential.fragment(topology, points))


needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None, reason="torch.compile needs a C++ compiler"
)


@pytest.mark.heavy
@needs_compiler
@pytest.mark.filterwarnings("ignore")  # torch's own, of its compiler
def test_energies_and_forces_are_the_same_for_all_sizes(tiny_potential):
    compiled = tiny_potential.compiled()
    assert compiled.is_compiled
    for scale, copies in ((1.0, 1), (1.05, 1), (0.98, 3), (1.02, 2), (1.0, 50)):
        expected = tiny_potential.compute(system(tiny_potential, scale, copies))
        found = compiled.compute(system(compiled, scale, copies))
        assert float(expected.forces.abs().max()) > 1e-6
        assert torch.allclose(found.energy, expected.energy, rtol=1e-12)
        scale_f = float(expected.forces.abs().max())
        assert float((found.forces - expected.forces).abs().max()) < 1e-9 * scale_f
    assert compiled._chunked.n_parts == 1  # 300 atoms, where parts would not be compiled


@needs_compiler
def test_copies_of_a_compiled_potential_are_compiled(tiny_potential):
    compiled = tiny_potential.compiled()
    assert compiled.to(dtype="float32").is_compiled
    assert copy.deepcopy(compiled).is_compiled
    assert not tiny_potential.is_compiled
    assert not tiny_potential.to(dtype="float32").is_compiled


def test_torchscript_is_not_compiled_again(tiny_potential, tmp_path):
    scripted = load(export_generic(tiny_potential, tmp_path / "model.pt"))
    with pytest.raises(InputError, match="cannot be compiled again; load the checkpoint"):
        scripted.compiled()


def test_a_missing_compiler_is_named(tiny_potential, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match="no-such-compiler is not on the PATH; install it"):
        tiny_potential.compiled()


def test_weights_of_a_file_take_no_gradient(tiny_potential, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, tiny_potential)
    loaded = load_checkpoint(path, dtype="float32")
    assert not any(weight.requires_grad for weight in loaded.module.parameters())
    assert float(loaded.compute(system(loaded)).forces.abs().max()) > 1e-6
