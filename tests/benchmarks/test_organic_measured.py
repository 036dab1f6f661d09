"""What measures the general potential: dynamics that go on where they stopped, and break."""

import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "organic"))

import complexes
import stability
import subjects
import tune
from ammonium import LENGTHS, amide, proton_of
from ammonium import summary as ammonium_summary
from stability import HYDROGEN_U, TIMESTEP_FS, Batch, Fleet, batches, save, saved, started, summary

import se3set_mlip as s3

MODEL = Path("gfn2-small")


@pytest.fixture(scope="module")
def potential():
    return s3.load(MODEL, dtype="float32")


@pytest.fixture
def copies(potential):
    """Methanol and acetamide, one at each temperature."""
    return [c for k, smiles in enumerate(("CO", "CC(N)=O")) for c in started(smiles, potential, k)]


def test_dynamics_go_on_where_they_stopped(copies, potential, tmp_path, monkeypatch):
    for module in (stability, subjects):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    Batch(copies, potential).run(5, np.random.default_rng(1))
    assert [copy.picoseconds for copy in copies] == pytest.approx([5 * TIMESTEP_FS / 1000.0] * 4)
    assert (copies[0].masses[copies[0].still.atoms.numbers == 1] == HYDROGEN_U).all()
    save(copies, MODEL, {1.0: 1.5, TIMESTEP_FS: 0.02})
    again, by_timestep = saved(MODEL)
    assert by_timestep == {1.0: 1.5, TIMESTEP_FS: 0.02}
    assert [(c.smiles, c.kelvin) for c in again] == [(c.smiles, c.kelvin) for c in copies]
    for before, after in zip(copies, again, strict=True):
        lengths = before.bonds.lengths(before.positions)
        assert np.abs(lengths - before.bonds.relaxed).max() > 1e-3  # it has moved
        np.testing.assert_allclose(after.bonds.lengths(after.positions), lengths, atol=1e-5)
        np.testing.assert_allclose(after.velocities, before.velocities, atol=1e-6)
        np.testing.assert_allclose(after.bonds.relaxed, before.bonds.relaxed, atol=1e-5)
        assert after.picoseconds == before.picoseconds
    Batch(again, potential).run(1, np.random.default_rng(2))
    assert min(copy.picoseconds for copy in again) > max(copy.picoseconds for copy in copies)


def test_weights_of_another_potential_begin_anew(copies, tmp_path, monkeypatch):
    for module in (stability, subjects):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    save(copies, MODEL, {})
    monkeypatch.setattr(stability, "weights_of", lambda _: "other weights")
    assert saved(MODEL) == ([], {})


def test_batches_are_filled_up_to_so_many_atoms(copies, monkeypatch):
    monkeypatch.setattr(stability, "ATOMS_IN_BATCH", 16)  # methanol has 6, acetamide 9
    assert list(batches(copies, [0, 1, 2, 3])) == [[0, 1], [2], [3]]
    assert list(batches(copies, [3, 1])) == [[3, 1]]


def test_a_molecule_that_breaks_stops_and_the_others_go_on(copies, tmp_path, monkeypatch):
    broken, hot = copies[0], copies[3]
    oxygen = int(np.flatnonzero(broken.still.atoms.numbers == 8)[0])
    broken.positions[oxygen] += [2.0, 0.0, 0.0]
    broken.look()
    assert "Å long" in broken.failure
    hot.velocities = 4.0 * hot.velocities  # 16 times the temperature, and twice that at the start
    for _ in range(200):
        hot.look()
    assert hot.failure.endswith(" K")
    assert [copy.failure for copy in (copies[1], copies[2])] == ["", ""]
    for module in (stability, subjects):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    step = TIMESTEP_FS / 1000.0
    monkeypatch.setattr(stability, "ROUND_PS", 2 * step)
    by_timestep = {1.0: 1.0}
    fleet = Fleet(MODEL, copies, by_timestep, picoseconds=3 * step, eager=True)
    with ThreadPoolExecutor(1) as pool:
        while tasks := fleet.submit(pool):
            assert list(tasks.values()) == [[1, 2]]
            for task in as_completed(tasks):
                fleet.take(tasks[task], task.result())
    assert [copy.picoseconds for copy in fleet.copies] == pytest.approx(
        [0.0, 3 * step, 3 * step, 0.0]
    )
    assert by_timestep == {1.0: 1.0, TIMESTEP_FS: pytest.approx(6 * step)}
    found = summary(saved(MODEL)[0], by_timestep)
    assert (found["failures"], found["picoseconds_at_least"]) == (2, pytest.approx(3 * step))


def test_forces_are_those_of_one_molecule_alone(copies, potential):
    batch = Batch(copies, potential)
    together = batch.forces(np.concatenate([copy.positions + 7.0 for copy in copies]))
    atoms = copies[2].still.atoms.copy()
    atoms.info.pop("mapped_smiles")
    alone = potential.evaluate(atoms, topology=copies[2].still.topology).forces
    start = int(batch.ends[1])
    assert np.abs(alone).max() > 1e-3
    np.testing.assert_allclose(together[start : start + len(atoms)], alone, atol=1e-4)


def test_the_proton_is_the_one_that_points_to_the_carbonyl():
    mol, shapes = subjects.conformers(amide("C"), 1)
    nitrogen, proton, oxygen = proton_of(shapes[0], mol)
    numbers = shapes[0].numbers
    assert (numbers[nitrogen], numbers[proton], numbers[oxygen]) == (7, 1, 8)
    assert shapes[0].get_distance(nitrogen, proton) < 1.2
    profile = np.where(LENGTHS < 1.25, 1.0, 3.5).tolist()
    found = ammonium_summary([{"model_kcal": [0.0] * len(LENGTHS), "gfn2_kcal": profile}])
    assert found["gfn2_barrier_kcal"] == [2.5]
    assert found["mae_kcal_by_length"] == profile


def test_tuning_keeps_what_was_measured_with_the_same_weights(tmp_path, monkeypatch):
    for module in (tune, subjects):
        monkeypatch.setattr(module, "RESULTS", tmp_path)

    def row(**changes):
        same = {"kind": "tuned", "frames": 50, "more": 0, "steps": 300, "seed": 1}
        return same | {"force_mae": 1.0} | changes

    first = [row(), row(frames=200)]
    record = {"asked_weights_sha256": subjects.weights_of(MODEL), "runs": first}
    subjects.write("tune", MODEL, record)
    found = tune.together(MODEL, [row(force_mae=2.0), row(more=340), row(kind="scratch")])
    assert found == [
        row(kind="scratch"),
        row(force_mae=2.0),
        row(frames=200),
        row(more=340),
    ]
    subjects.write("tune", MODEL, record | {"asked_weights_sha256": "others"})
    assert tune.together(MODEL, [row()]) == [row()]


def test_two_molecules_are_bound_as_by_gfn2(potential):
    found = complexes.measure({"smiles": "O.CC(N)=O"}, potential)
    assert (found["n_atoms"], found["charge"], found["converged"]) == (12, 0, [True, True])
    assert -12.0 < found["gfn2_kcal"] < -3.0
    assert found["model_kcal"] == pytest.approx(found["gfn2_kcal"], abs=3.0)
    assert 0.0 < found["rmsd"] < 0.5
    result = complexes.summary([found, {"smiles": "A.B", "left_out": "for a reason"}])
    assert (result["pairs"], result["left_out"]) == (1, 1)
    assert result["binding_mean_error_kcal"] == pytest.approx(
        found["model_kcal"] - found["gfn2_kcal"]
    )
