"""Errors in reports against numbers worked out by hand, and what a run leaves behind."""

import csv
import json

import ase.build
import ase.io
import numpy as np
import pytest
import torch

from se3set_mlip.errors import ConfigError, DatasetError, MissingDependencyError, TopologyError
from se3set_mlip.potential.checkpoint import load_checkpoint
from se3set_mlip.training import LabelConfig, evaluate_file, train, validation
from se3set_mlip.training.config import LossConfig, StageTwoConfig
from se3set_mlip.training.metrics import validation_score


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.fixture
def labelled(structures, tiny_potential):
    """Three structures with the predictions of the tiny potential."""
    frames = structures[:3]
    return frames, [tiny_potential.evaluate(atoms) for atoms in frames]


def test_errors_of_known_size(labelled, write_xyz, tiny_potential):
    frames, results = labelled
    energies = [r.energy + e for r, e in zip(results, (0.010, -0.030, 0.020), strict=True)]
    forces = [r.forces.copy() for r in results]
    forces[0][0, 1] += 0.120  # a carbon
    forces[2][11, 2] -= 0.300  # a hydrogen
    symbols = frames[0].get_chemical_symbols()
    assert (symbols[0], symbols[11]) == ("C", "H")
    path = write_xyz("known.xyz", frames, REF_energy=energies, REF_forces=forces)
    metrics = evaluate_file(tiny_potential, path, batch_size=2)
    expected = {
        "n_structures": 3,
        "energy_rmse_mev": np.sqrt((100 + 900 + 400) / 3),
        "energy_rmse_mev_per_atom": np.sqrt((100 + 900 + 400) / 3) / 15,
        "energy_mae_mev": 20.0,
        "energy_mae_mev_per_atom": 20.0 / 15,
        "energy_max_mev": 30.0,
        "energy_mean_error_mev": 0.0,
        "force_rmse_mev_per_angstrom": np.sqrt((120.0**2 + 300.0**2) / 135),
        "force_mae_mev_per_angstrom": 420.0 / 135,
        "force_max_mev_per_angstrom": 300.0,
        "n_energies": 3,
        "n_force_components": 135,
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=2e-4)
    by_element = metrics["by_element"]
    assert set(by_element) == {"H", "C", "O"}
    assert by_element["C"]["force_rmse_mev_per_angstrom"] == pytest.approx(
        120.0 / np.sqrt(45), abs=2e-4
    )
    assert by_element["H"]["force_mae_mev_per_angstrom"] == pytest.approx(300.0 / 72, abs=2e-4)
    assert by_element["O"]["force_max_mev_per_angstrom"] == pytest.approx(0.0, abs=2e-4)
    assert by_element["O"]["n_atoms"] == 6
    assert metrics["stress_rmse_mev_per_angstrom3"] is None


def test_a_file_without_forces_has_no_force_errors(labelled, write_xyz, tiny_potential):
    frames, results = labelled
    path = write_xyz("energies.xyz", frames, energy=[r.energy - 0.005 for r in results])
    said = []
    metrics = evaluate_file(tiny_potential, path, echo=said.append)
    assert metrics["energy_mae_mev"] == pytest.approx(5.0, abs=1e-4)
    assert metrics["energy_mean_error_mev"] == pytest.approx(5.0, abs=1e-4)
    assert metrics["force_rmse_mev_per_angstrom"] is None
    assert metrics["by_element"] == {}
    assert "forces from none" in said[0]


def test_structures_without_a_label_are_left_out(labelled, write_xyz, tiny_potential):
    frames, results = labelled
    energies = [results[0].energy - 0.004, None, results[2].energy]
    forces = [None, results[1].forces + 0.050, None]
    path = write_xyz("some.xyz", frames, REF_energy=energies, REF_forces=forces)
    metrics = evaluate_file(tiny_potential, path)
    assert metrics["energy_mae_mev"] == pytest.approx(2.0, abs=1e-4)
    assert metrics["force_mae_mev_per_angstrom"] == pytest.approx(50.0, abs=1e-4)
    assert (metrics["n_structures"], metrics["n_energies"]) == (3, 2)


def test_stress_errors(structures, write_xyz, tiny_potential):
    atoms = structures[0].copy()
    atoms.cell, atoms.pbc = np.diag([11.0, 12.0, 13.0]), True
    result = tiny_potential.evaluate(atoms, stress=True)
    label = result.stress + np.diag([0.009, 0.0, 0.0])
    path = write_xyz("box.xyz", [atoms], energy=[result.energy], REF_stress=[label.ravel()])
    metrics = evaluate_file(tiny_potential, path)
    assert metrics["stress_rmse_mev_per_angstrom3"] == pytest.approx(3.0, abs=1e-6)
    assert metrics["stress_mae_mev_per_angstrom3"] == pytest.approx(1.0, abs=1e-6)


def test_net_forces_are_those_on_molecules(write_xyz, tiny_potential):
    one, other = ase.build.molecule("H2O"), ase.build.molecule("H2O")
    other.positions += [0.0, 0.5, 3.0]
    both = one + other
    forces = tiny_potential.evaluate(both, forces=True).forces
    label = forces.copy()
    label[0] += [0.003, 0.0, 0.0]
    label[1] += [0.001, 0.2, 0.0]  # which the next atom takes back
    label[2] += [0.0, -0.2, 0.0]
    path = write_xyz("waters.xyz", [both, one], REF_forces=[label, forces[:3]])
    metrics = evaluate_file(tiny_potential, path)
    assert metrics["n_net_forces"] == 2
    assert metrics["net_force_rmse_mev_per_angstrom"] == pytest.approx(4.0 / np.sqrt(6), abs=1e-3)
    assert metrics["net_force_mae_mev_per_angstrom"] == pytest.approx(4.0 / 6, abs=1e-3)


def test_units_of_the_labels(labelled, write_xyz, tiny_potential):
    frames, results = labelled
    in_hartree = [(r.energy - 0.027211386245988) / 27.211386245988 for r in results]
    path = write_xyz("hartree.xyz", frames, REF_energy=in_hartree)
    metrics = evaluate_file(tiny_potential, path, labels=LabelConfig(energy_unit="Hartree"))
    assert metrics["energy_mae_mev"] == pytest.approx(27.211386, abs=1e-4)


def test_isolated_atoms_cannot_be_evaluated(tiny_potential, acac_folder):
    with pytest.raises(DatasetError, match="holds isolated atoms only"):
        evaluate_file(tiny_potential, acac_folder / "isolated_atoms.xyz")


def test_validation_score_by_hand():
    metrics = {
        "energy_rmse_mev_per_atom": 20.0,
        "force_rmse_mev_per_angstrom": 500.0,
        "stress_rmse_mev_per_angstrom3": None,
        "net_force_rmse_mev_per_angstrom": 100.0,
    }
    assert validation_score(metrics, LossConfig(net_forces_weight=5.0)) == pytest.approx(
        0.02**2 + 100.0 * 0.5**2 + 5.0 * 0.1**2
    )
    loss = LossConfig(energy_weight=3.0, forces_weight=2.0)
    assert validation_score(metrics, loss) == pytest.approx(3.0 * 0.02**2 + 2.0 * 0.5**2)
    second = StageTwoConfig(energy_weight=1000.0, forces_weight=0.0)
    assert validation_score(metrics, LossConfig(stage_two=second)) == pytest.approx(0.4)


def test_what_a_run_leaves_behind(make_config, acac_folder, tmp_path):
    config = make_config(
        data={
            "n_train": 12,
            "n_validation": 5,
            "test_files": [str(acac_folder / "test_300K_first_10.xyz")],
        },
        model_card={"level_of_theory": "PBE-D3/def2-SVP", "license": "MIT"},
        run={"dtype": "float64", "plots": True},
    )
    said = []
    result = train(config, echo=said.append)
    assert any("energy from calculator result 'energy'" in line for line in said)
    assert any(line.startswith("test_300K_first_10: 10 structures") for line in said)
    report = json.loads(result.report.read_text(encoding="utf-8"))
    assert report["structures"] == {"training": 12, "validation": 5, "test_300K_first_10": 10}
    assert report["seed"] == 0
    assert report["versions"]["torch"].startswith("2.")
    assert len(report["data"][0]["sha256"]) == 64
    assert report["errors"] == json.loads(json.dumps(result.metrics))
    assert set(report["errors"]["validation"]["by_element"]) == {"H", "C", "O"}

    potential = load_checkpoint(result.best_model)
    assert potential.metadata.level_of_theory == "PBE-D3/def2-SVP"
    assert potential.metadata.license == "MIT"
    metrics = evaluate_file(potential, acac_folder / "test_300K_first_10.xyz")
    reported = report["errors"]["test_300K_first_10"]
    for name in ("energy_rmse_mev", "force_rmse_mev_per_angstrom"):
        assert metrics[name] == pytest.approx(reported[name], rel=1e-6)
        assert potential.metadata.metrics[f"test_300K_first_10_{name}"] == reported[name]
    for name in (
        "learning_curve", "parity_training", "parity_validation", "parity_test_300K_first_10"
    ):  # fmt: skip
        content = (result.output_dir / f"{name}.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) > 10_000


def test_errors_on_the_training_set_are_those_of_a_sample(make_config, tmp_path):
    """Which is all that a large set needs; the other parts are evaluated whole."""
    data = {"n_train": 12, "n_validation": 5}
    found = {}
    for number in (4, 12, None):
        run = {"reported_training_structures": number, "output_dir": str(tmp_path / str(number))}
        config = make_config(data=data, run=run)
        result = train(config, echo=quiet)
        assert json.loads(result.report.read_text())["structures"]["training"] == 12
        assert result.metrics["training"]["n_structures"] == (number or 12)
        assert result.metrics["validation"]["n_structures"] == 5
        found[number] = result.metrics["training"]["force_rmse_mev_per_angstrom"]
    assert found[12] == found[None]
    assert found[4] != found[12]


def test_the_best_epoch_is_kept(make_config, monkeypatch):
    scores = iter([3.0, 1.0, 2.0, 1.0])
    monkeypatch.setattr(validation, "validation_score", lambda metrics, loss: next(scores))
    result = train(make_config(optimizer={"epochs": 4, "learning_rate": 0.01}), echo=quiet)
    with (result.output_dir / "log.csv").open(encoding="utf-8") as stream:
        second = list(csv.DictReader(stream))[1]
    assert json.loads(result.report.read_text())["best_step"] == int(second["step"]) == 6
    found = result.metrics["validation"]["force_rmse_mev_per_angstrom"]
    assert found == pytest.approx(float(second["validation_force_rmse_mev_per_angstrom"]), rel=1e-5)


def test_stress_can_be_trained_on(structures, write_xyz, make_config):
    frames = []
    for atoms in structures[:6]:
        atoms.cell, atoms.pbc = np.diag([12.0, 12.0, 12.0]), True
        frames.append(atoms)
    path = write_xyz(
        "boxes.xyz",
        frames,
        REF_energy=[atoms.info["E"] for atoms in frames],
        REF_forces=[atoms.info["F"] for atoms in frames],
        REF_stress=[np.eye(3).ravel() * 1e-3] * 6,
    )
    config = make_config(
        data={"train_files": [str(path)], "n_train": 4, "n_validation": 2},
        loss={"stress_weight": 10.0},
        optimizer={"epochs": 1},
    )
    result = train(config, echo=quiet)
    assert result.metrics["validation"]["n_stresses"] == 2
    assert result.metrics["validation"]["stress_rmse_mev_per_angstrom3"] > 0.0


def test_a_run_can_start_from_a_trained_model(make_config, tmp_path):
    first = train(make_config(optimizer={"epochs": 1}, run={"dtype": "float64"}), echo=quiet)
    run = {"output_dir": str(tmp_path / "second"), "initial_model": str(first.best_model)}
    run["dtype"] = "float64"
    one_step = {"epochs": None, "max_steps": 1, "learning_rate": 1e-12}
    second = train(make_config(optimizer=one_step, run=run), echo=quiet)
    before, after = (load_checkpoint(result.best_model).module for result in (first, second))
    assert torch.equal(before.reference_energies, after.reference_energies)
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(old, new, rtol=0.0, atol=1e-10, msg=name)
    run = {"output_dir": str(tmp_path / "third"), "initial_model": str(first.best_model)}
    potential = {"model": {"elements": [1, 6, 8], "n_layers": 3}}
    with pytest.raises(ConfigError, match=r"initial_model .* has other settings than potential"):
        train(make_config(run=run, potential=potential), echo=quiet)
    said: list[str] = []  # settings without weights may change, and it is said
    potential = {"hypergraph": {"cutoff_angstrom": 4.5}}
    run["output_dir"] = str(tmp_path / "fourth")
    train(make_config(optimizer=one_step, run=run, potential=potential), echo=said.append)
    assert any("its settings were others" in line for line in said)


def test_a_run_can_take_weights_but_not_energies(structures, write_xyz, make_config, tmp_path):
    """As for labels of another level of theory, whose total energies are others."""
    first = train(make_config(optimizer={"epochs": 1}), echo=quiet)
    frames = structures[:8]
    path = write_xyz(
        "shifted.xyz",
        frames,
        REF_energy=[atoms.info["E"] - 10.0 * len(atoms) for atoms in frames],
        REF_forces=[atoms.info["F"] for atoms in frames],
    )
    run = {"output_dir": str(tmp_path / "second"), "initial_model": str(first.best_model)}
    second = train(
        make_config(
            data={"train_files": [str(path)], "n_train": 6, "n_validation": 2},
            optimizer={"epochs": None, "max_steps": 1, "learning_rate": 1e-12},
            run=run | {"initial_energies": False},
        ),
        echo=quiet,
    )
    before, after = (load_checkpoint(result.best_model).module for result in (first, second))
    for old, new in zip(before.parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(old, new, rtol=0.0, atol=1e-6)
    assert second.metrics["validation"]["energy_mae_mev_per_atom"] < 1000.0
    assert not torch.equal(before.reference_energies, after.reference_energies)


def test_the_model_knows_the_charges_of_its_training(structures, write_xyz, make_config, tmp_path):
    frames = structures[:8]
    path = write_xyz(
        "neutral.xyz",
        frames,
        REF_energy=[atoms.info["E"] for atoms in frames],
        REF_forces=[atoms.info["F"] for atoms in frames],
    )
    settings = {"train_files": [str(path)], "n_train": 6, "n_validation": 2}
    result = train(make_config(data=settings, optimizer={"epochs": 1}), echo=quiet)
    metadata = load_checkpoint(result.best_model).metadata
    assert (metadata.charges, metadata.closed_shells) == ((0,), True)
    anion = structures[9].copy()
    anion.arrays["REF_forces"] = anion.info["F"]
    anion.info = {"charge": -1, "REF_energy": anion.info["E"]}
    ase.io.write(tmp_path / "anion.xyz", anion)
    settings |= {"test_files": [str(tmp_path / "anion.xyz")]}
    run = {"output_dir": str(tmp_path / "charged")}
    with pytest.raises(DatasetError, match="has charge -1, which no structure of the training set"):
        train(make_config(data=settings, run=run), echo=quiet)


def test_energies_alone_can_be_trained_on(structures, write_xyz, make_config):
    frames = structures[:8]
    path = write_xyz("energies.xyz", frames, REF_energy=[atoms.info["E"] for atoms in frames])
    said = []
    config = make_config(
        data={"train_files": [str(path)], "n_train": 6, "n_validation": 2},
        loss={"forces_weight": 0.0},
        optimizer={"epochs": 1},
    )
    result = train(config, echo=said.append)
    assert result.metrics["validation"]["n_force_components"] == 0
    assert result.metrics["validation"]["energy_rmse_mev"] > 0.0
    assert any("energy scale 1.000000 eV" in line for line in said)
    with pytest.raises(DatasetError, match=r"none of 6 structures .* has a label for forces"):
        train(make_config(data={"train_files": [str(path)], "n_train": 6, "n_validation": 2},
                          loss={"forces_weight": 1.0},
                          run={"output_dir": config.run.output_dir + "2"}), echo=quiet)  # fmt: skip


def test_structures_without_perceivable_bonds(structures, write_xyz, make_config):
    frames = [atoms.copy() for atoms in structures[:8]]
    frames[3].positions[7] += frames[3].positions[7] - frames[3].positions[1]  # C-H of 2.2 Å
    frames[3].positions[7] += frames[3].positions[7] - frames[3].positions[1]
    path = write_xyz(
        "broken.xyz",
        frames,
        REF_energy=[atoms.info["E"] for atoms in structures[:8]],
        REF_forces=[atoms.info["F"] for atoms in structures[:8]],
    )
    data = {"train_files": [str(path)], "n_train": None, "n_validation": 2}
    with pytest.raises(TopologyError, match=r"broken\.xyz\[3\]: .*data\.skip_unperceived"):
        train(make_config(data=data), echo=quiet)
    run = {"output_dir": str(path.parent / "skipping")}
    config = make_config(data=data | {"skip_unperceived": True}, run=run, optimizer={"epochs": 1})
    report = json.loads(train(config, echo=quiet).report.read_text())
    assert report["left_out"] == ["broken.xyz[3]"]
    assert report["structures"] == {"training": 5, "validation": 2}


def test_a_test_file_must_not_hold_training_structures(make_config, acac_folder):
    test_file = str(acac_folder / "train_300K_first_40.xyz")
    with pytest.raises(DatasetError, match="structures occur in two parts"):
        train(make_config(data={"test_files": [test_file]}), echo=quiet)


def test_elements_unknown_to_the_potential(make_config):
    config = make_config(potential={"model": {"elements": [1, 6]}})
    with pytest.raises(DatasetError, match=r"the data hold O, .* knows H, C; add \[8\] to"):
        train(config, echo=quiet)


def test_missing_matplotlib_is_noticed_before_the_run(make_config, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"set run\.plots to false"):
        train(make_config(run={"plots": True}), echo=quiet)


def test_a_device_that_is_not_there(make_config, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"run\.device = 'cuda' but torch sees no GPU"):
        train(make_config(run={"device": "cuda"}), echo=quiet)
