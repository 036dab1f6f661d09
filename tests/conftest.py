"""What all tests share: one thread a process, seeded property tests, no window for pictures."""

import importlib.util
import os
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import pytest
import torch

from se3set_mlip.model.config import ModelConfig
from se3set_mlip.potential.checkpoint import save_checkpoint
from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.potential.potential import Metadata, Potential
from se3set_mlip.potential.potential_module import PotentialModule

torch.set_num_threads(1)  # xdist fills the cores; sums come out the same everywhere

hypothesis.settings.register_profile("se3set", deadline=None, derandomize=True)
hypothesis.settings.load_profile("se3set")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs openmmtorch where it is not installed; tests/run.sh has it in one of two."""
    if importlib.util.find_spec("openmmtorch") is not None:
        return
    reason = "openmmtorch is not installed: tests/run.sh torchforce makes an environment with it"
    for item in items:
        if item.get_closest_marker("torchforce"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def tiny_potential() -> Potential:
    """A potential for H, C and O with small random weights: quick, and without chemistry."""
    config = PotentialConfig(
        model=ModelConfig(
            elements=(1, 6, 8),
            interaction="attention",
            irreps="8x0e+4x1o",
            irreps_final="8x0e",
            irreps_head="4x0e+2x1o",
            irreps_hidden="8x0e+4x1o",
            lmax=1,
            n_layers=1,
            n_heads=2,
            n_radial=8,
            radial_hidden=(8,),
        )
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        module = PotentialModule(config, dtype=torch.float64)
    module.set_energies(reference={1: -13.5, 6: -1027.0, 8: -2038.0}, scale=0.002)
    metadata = Metadata(level_of_theory="random weights", description="for tests")
    return Potential(module.eval(), config, metadata)


@pytest.fixture(scope="session")
def tiny_model(tiny_potential: Potential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of the tiny potential."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_checkpoint(path, tiny_potential)
    return path


@pytest.fixture
def searches(monkeypatch) -> list[float]:
    """The skins with which candidates have been searched for, in order."""
    found = []
    candidates = PotentialModule.candidates

    def spy(self, system, skin):
        found.append(skin)
        return candidates(self, system, skin)

    monkeypatch.setattr(PotentialModule, "candidates", spy)
    return found
