"""The benchmark of batches: every size computes every structure, and the same numbers."""

import importlib.util
import sys
from pathlib import Path

import pytest
from ase.build import molecule

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "engines" / "batch.py"


@pytest.fixture(scope="module")
def batch():
    spec = importlib.util.spec_from_file_location("batch_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPT.parents[1]))
        spec.loader.exec_module(module)
        yield module
    del sys.modules[spec.name]


def test_sizes_up_to_the_number_of_structures(batch, tiny_potential, monkeypatch):
    asked = []
    evaluate = type(tiny_potential).evaluate

    def spy(self, frames, **options):
        asked.append((len(frames), options["batch_size"]))
        return evaluate(self, frames, **options)

    monkeypatch.setattr(type(tiny_potential), "evaluate", spy)
    timings = batch.measure(tiny_potential, [molecule("H2O") for _ in range(5)], rounds=2)
    assert asked == [(5, 1), (5, 2), (5, 4)] * 3, "sizes in turn, the first round to warm up"
    assert [timing.batch_size for timing in timings] == [1, 2, 4]
    assert timings[0].ratio == 1.0
    assert timings[0].largest_force_difference == 0.0
    assert max(timing.largest_force_difference for timing in timings) < 1e-12
    for timing in timings:
        assert timing.ratio == pytest.approx(timings[0].milliseconds / timing.milliseconds)
