"""What all tests share: one thread a process, seeded property tests, no window for pictures."""

import importlib.util
import os

os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import pytest
import torch

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
