"""Spread against error: a calibrated spread is told as such, a shrunk one by its factor."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "engines" / "calibration.py"


@pytest.fixture(scope="module")
def calibration():
    spec = importlib.util.spec_from_file_location("committee_calibration", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def comparison(calibration, *, scale: float, factor: float, seed: int):
    """Errors drawn from what the spread says, and a spread that is too small by a factor."""
    rng = np.random.default_rng(seed)
    std = scale * np.exp(rng.normal(scale=0.5, size=(4000, 6)))
    errors = std[..., None] / np.sqrt(3.0) * rng.normal(size=(4000, 6, 3))
    energy_std = scale * np.exp(rng.normal(scale=0.5, size=4000))
    return calibration.Comparison(
        energy_std=energy_std / factor,
        energy_error=energy_std * rng.normal(size=4000),
        force_std=std / factor,
        force_error=np.linalg.norm(errors, axis=2),
    )


@pytest.mark.parametrize("factor", [1.0, 2.5])
def test_the_factor_is_found(calibration, factor):
    found = calibration.summary(comparison(calibration, scale=0.1, factor=factor, seed=1))
    assert found["forces_of_atoms"]["factor"] == pytest.approx(factor, rel=0.02)
    assert found["energies"]["factor"] == pytest.approx(factor, rel=0.05)
    assert 0.5 < found["forces_of_atoms"]["spearman"] < 0.9
    expected = 1000.0 * found["forces_of_atoms"]["rms_error"] / np.sqrt(3.0)
    assert found["force_rmse_mev_per_angstrom"] == pytest.approx(expected)


def test_spread_and_error_that_are_one(calibration):
    values = np.array([1.0, 2.0, 5.0])
    found = calibration.agreement(values, -values)
    assert found == pytest.approx(
        {
            "rms_std": np.sqrt(10.0),
            "rms_error": np.sqrt(10.0),
            "factor": 1.0,
            "pearson": 1.0,
            "spearman": 1.0,
        }
    )


def test_a_new_kind_is_told_from_a_known_one(calibration):
    known = comparison(calibration, scale=0.1, factor=1.0, seed=1)
    new = comparison(calibration, scale=1.0, factor=1.0, seed=2)
    same = comparison(calibration, scale=0.1, factor=1.0, seed=3)
    found = calibration.contrast(known, new)
    assert found["ratio_of_medians"] == pytest.approx(10.0, rel=0.05)
    assert found["probability"] > 0.99
    assert found["share_of_new_above"] > 0.9
    found = calibration.contrast(known, same)
    assert found["probability"] == pytest.approx(0.5, abs=0.02)
    assert found["share_of_new_above"] == pytest.approx(0.01, abs=0.005)
    assert found["force_rms_error_above"] > found["force_rms_error_below"]


def test_bins_lie_on_the_line_of_a_calibrated_spread(calibration):
    found = comparison(calibration, scale=0.1, factor=2.0, seed=4)
    std, error = calibration.bins(found.force_std, found.force_error, 5)
    assert (np.diff(std) > 0.0).all()
    np.testing.assert_allclose(error / std, 2.0, rtol=0.05)


def test_table_and_picture(calibration, tmp_path):
    found = {
        name: comparison(calibration, scale=scale, factor=2.0, seed=5)
        for name, scale in (("300 K", 0.1), ("600 K", 0.3))
    }
    rows = calibration.table({name: calibration.summary(one) for name, one in found.items()})
    assert rows.splitlines()[2].startswith("| 4000 at 300 K | ")
    calibration.draw(found, tmp_path / "committee.png", threshold=0.4)
    assert (tmp_path / "committee.png").stat().st_size > 10_000
