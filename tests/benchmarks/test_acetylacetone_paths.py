"""The paths of acetylacetone: geometries between, errors, jumps, the picture and the table."""

import importlib.util
import json
from itertools import pairwise
from pathlib import Path

import ase.io
import numpy as np
import pytest

from se3set_mlip.topology.molecule import Topology

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "acetylacetone" / "paths.py"


@pytest.fixture(scope="module")
def paths():
    spec = importlib.util.spec_from_file_location("acetylacetone_paths", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def frames(paths):
    """Eight geometries of the proton transfer, both ends among them."""
    return ase.io.read(paths.DATA / "test_H_transfer.xyz", "::2")


@pytest.fixture(scope="module")
def result(paths, tiny_potential, frames):
    coordinate = paths.PATHS["proton_transfer"].coordinate
    return paths.evaluate_path(tiny_potential, frames, coordinate, n_between=2)


def test_geometries_of_the_path_are_points_of_the_fine_path(paths, frames):
    fine = paths.interpolate(frames, 3)
    assert len(fine) == 4 * (len(frames) - 1) + 1
    for frame, point in zip(frames, fine[::4], strict=True):
        assert np.abs(frame.positions - point.positions).max() < 1e-12
    steps = [np.linalg.norm(b.positions - a.positions) for a, b in pairwise(fine)]
    lengths = np.repeat(np.array(steps).reshape(-1, 4).mean(axis=1), 4)
    assert np.abs(steps / lengths - 1.0).max() < 0.1, "points evenly between two geometries"


@pytest.mark.parametrize(
    ("name", "ends"), [("proton_transfer", (-0.331, 0.331)), ("dihedral", (1.0, 177.0))]
)
def test_coordinates_are_measured_on_the_geometries(paths, name, ends):
    path = paths.PATHS[name]
    frames = ase.io.read(paths.DATA / path.file, ":")
    found = [path.coordinate(frame) for frame in frames]
    assert found[0] == pytest.approx(ends[0], abs=2e-3)
    assert found[-1] == pytest.approx(ends[1], abs=2e-3)
    assert (np.diff(found) > 0.0).all()


def test_energies_are_the_potentials_with_the_first_fragments(tiny_potential, frames, result):
    dft = np.array([frame.get_potential_energy() for frame in frames])
    assert result.dft == pytest.approx(1000.0 * (dft - dft[0]))
    first = Topology.from_coordinates(frames[0].numbers, frames[0].positions)
    expected = [found.energy for found in tiny_potential.evaluate(frames, topology=first)]
    kept = result.curves["kept"]
    assert kept.frames == pytest.approx(1000.0 * (np.array(expected) - expected[0]), abs=1e-6)
    assert np.ptp(kept.frames) > 0.01
    errors = np.array(kept.frames) - result.dft
    assert kept.rmse == pytest.approx(np.sqrt(np.mean(errors**2)))
    assert kept.mae == pytest.approx(np.abs(errors).mean())
    assert kept.barrier == max(kept.frames) <= kept.fine_barrier
    assert result.dft_barrier == max(result.dft) > 10.0


def test_the_jump_is_where_the_proton_belongs_to_the_other_oxygen(
    paths, frames, result, tiny_potential
):
    assert result.curves["kept"].jumps == []
    ((place, jump),) = result.curves["found"].jumps
    assert abs(place) < 0.1
    structures = paths.interpolate(frames, 2)
    at = structures[result.fine_x.index(place)]
    old, new = (
        paths.energies(tiny_potential, [at], [paths.find_fragments(tiny_potential, frame)])[0]
        for frame in (frames[0], frames[-1])
    )
    assert jump == pytest.approx(1000.0 * (new - old), abs=1e-6)
    assert abs(jump) > 1e-5
    k = result.fine_x.index(place)
    kept, found = (np.array(result.curves[name].fine) for name in ("kept", "found"))
    assert np.array_equal(kept[:k], found[:k])
    assert found[k] - kept[k] == pytest.approx(jump, abs=1e-6)


def test_the_table_and_the_picture(paths, result, tmp_path):
    table = paths.describe("Proton transfer", result)
    assert f"PBE-D3 barrier {result.dft_barrier:.1f} meV" in table
    assert f"{result.curves['found'].rmse:.2f}" in table
    paths.draw({"proton_transfer": result}, tmp_path / "one.png", model="tiny")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_the_script_writes_all(paths, tiny_model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(paths.ase.io, "read", lambda path, _: _thinned(path))
    results = paths.run(tiny_model, tmp_path / "out", n_between=0)
    written = json.loads((tmp_path / "out" / "paths.json").read_text())
    assert list(written) == list(results) == ["proton_transfer", "dihedral"]
    assert written["dihedral"]["curves"]["kept"]["rmse"] == results["dihedral"].curves["kept"].rmse
    assert (tmp_path / "out" / "paths.png").exists()
    printed = capsys.readouterr().out
    assert "Proton transfer: 4 geometries" in printed
    assert "Turn about C-C: 5 geometries" in printed


_READ = ase.io.read


def _thinned(path):
    """A few geometries of a path."""
    frames = _READ(path, ":")
    return frames[:: 4 if len(frames) == 15 else 11]
