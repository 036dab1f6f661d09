"""Each command does what its help says, on a model with random weights."""

import json
import shutil

import ase.io
import numpy as np
import pytest
from click.testing import CliRunner

from se3set_mlip.cli import main
from se3set_mlip.shipped import shipped_structure

ACETYLACETONE = r"CC(=O)/C=C(/C)O"
STRUCTURE = str(shipped_structure("acetylacetone"))


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: object, exit_code: int = 0) -> str:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == exit_code, result.output
        return result.output

    return invoke


def test_help_lists_all_commands(run):
    output = run("--help")
    for name in (
        "check",
        "demo",
        "evaluate",
        "export",
        "fragments",
        "info",
        "md",
        "relax",
        "train",
    ):
        assert f"\n  {name} " in output


@pytest.mark.parametrize("name", main.commands)
def test_every_command_and_option_has_help(name):
    command = main.commands[name]
    assert command.help
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.name not in ("optimizer", "preset"):
            assert parameter.help, parameter.name


def test_relax_writes_structure_and_trajectory(run, tiny_model, tmp_path):
    output = run(
        "relax",
        tiny_model,
        STRUCTURE,
        "--steps",
        4,
        "--fmax",
        1e-6,
        "--trajectory",
        "path.traj",
        exit_code=1,
    )
    assert "NOT converged after 4 steps" in output
    frames = ase.io.read(tmp_path / "path.traj", index=":")
    assert len(frames) == 5
    relaxed = ase.io.read(tmp_path / "relaxed.xyz")
    assert np.allclose(relaxed.positions, frames[-1].positions, atol=1e-7)
    assert f"{frames[-1].get_potential_energy():.6f} eV" in output


def test_relax_from_smiles(run, tiny_model, tmp_path):
    run("relax", tiny_model, "--smiles", "CO", "--fmax", 100, "-o", "methanol.xyz")
    assert ase.io.read(tmp_path / "methanol.xyz").get_chemical_formula() == "CH4O"


@pytest.mark.parametrize("engine", ["ase", "openmm"])
def test_md_reports_and_writes(run, tiny_model, tmp_path, engine):
    output = run(
        "md",
        tiny_model,
        STRUCTURE,
        "--engine",
        engine,
        "--duration",
        0.01,
        "--interval",
        5,
        "-o",
        "run.xyz",
    )
    assert "drift (meV/atom/ps)" in output
    assert "ns/day" in output
    assert len(ase.io.read(tmp_path / "run.xyz", index=":")) == 5


def test_md_with_a_thermostat_reports_no_drift(run, tiny_model):
    output = run("md", tiny_model, STRUCTURE, "--ensemble", "nvt", "--duration", 0.005)
    assert output.splitlines()[1].split()[4] == "-"


@pytest.mark.heavy
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # torch's own, of its compiler
@pytest.mark.parametrize("engine", ["ase", "openmm"])
def test_md_compiled_moves_alike(run, tiny_model, tmp_path, engine):
    plain = ["md", tiny_model, STRUCTURE, "--duration", 0.01, "--engine", engine]
    run(*plain, "-o", "plain.xyz")
    assert "compiling the network" in run(*plain, "--compile", "-o", "compiled.xyz")
    ends = [ase.io.read(tmp_path / f"{name}.xyz") for name in ("plain", "compiled")]
    assert np.abs(ends[0].positions - ase.io.read(STRUCTURE).positions).max() > 1e-3
    assert np.allclose(ends[0].positions, ends[1].positions, atol=1e-6)


def test_evaluate_writes_the_promised_numbers(run, tiny_model, tmp_path):
    atoms = ase.io.read(STRUCTURE)
    atoms.info["REF_energy"] = -9390.0
    atoms.arrays["REF_forces"] = np.full((15, 3), 0.1)
    ase.io.write(tmp_path / "labelled.xyz", [atoms, atoms])
    output = run("evaluate", tiny_model, "labelled.xyz", "--json", "errors.json")
    errors = json.loads((tmp_path / "errors.json").read_text())
    assert errors["n_structures"] == 2
    for name in (
        "energy_rmse_mev",
        "energy_rmse_mev_per_atom",
        "energy_mae_mev",
        "force_rmse_mev_per_angstrom",
        "force_mae_mev_per_angstrom",
    ):
        assert errors[name] > 0
        assert name in output
    assert errors["energy_rmse_mev_per_atom"] == pytest.approx(errors["energy_rmse_mev"] / 15)


def test_train_evaluates_and_resumes(run, tmp_path):
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(6):
        atoms = ase.io.read(STRUCTURE)
        atoms.rattle(0.02, rng=rng)
        atoms.info["REF_energy"] = -9390.0 + rng.normal() * 0.1
        atoms.arrays["REF_forces"] = rng.normal(size=(15, 3)) * 0.5
        frames.append(atoms)
    ase.io.write(tmp_path / "data.xyz", frames)
    (tmp_path / "config.yaml").write_text(
        """
data: {train_files: data.xyz, n_validation: 2, check_units: false}
potential:
  model: {elements: [1, 6, 8], irreps: 4x0e+2x1o, irreps_final: 4x0e, irreps_head: 2x0e+1x1o,
          irreps_hidden: 4x0e+2x1o, lmax: 1, n_layers: 1, n_heads: 1}
optimizer: {epochs: 1, batch_size: 2}
run: {output_dir: run}
"""
    )
    output = run("train", "config.yaml", "--seed", 3)
    assert "best model" in output
    best = next((tmp_path / "run").glob("*best*.safetensors"), None)
    assert best is not None
    assert json.loads(run("info", best))
    run("evaluate", best, "data.xyz")
    assert "finished" in run("train", "config.yaml", "--seed", 3, "--resume", exit_code=2)


def test_info_prints_metadata_of_both_kinds_of_file(run, tiny_model):
    checkpoint = json.loads(run("info", tiny_model))
    assert checkpoint["metadata"]["level_of_theory"] == "random weights"
    assert checkpoint["elements"] == [1, 6, 8]
    run("export", tiny_model, "-o", "generic.pt")
    exported = json.loads(run("info", "generic.pt"))
    assert exported["metadata"] == checkpoint["metadata"]
    assert exported["config"] == checkpoint["config"]


def test_exported_models_evaluate_as_the_checkpoint(run, tiny_model, tmp_path):
    run("export", tiny_model, "-o", "generic.pt")
    run("relax", "generic.pt", STRUCTURE, "--fmax", 1e6, "-o", "exported.xyz")
    run("relax", tiny_model, STRUCTURE, "--fmax", 1e6, "-o", "checkpoint.xyz")
    exported, checkpoint = (
        ase.io.read(tmp_path / f"{name}.xyz") for name in ("exported", "checkpoint")
    )
    assert exported.get_potential_energy() == pytest.approx(
        checkpoint.get_potential_energy(), rel=1e-12
    )


def test_export_binds_to_a_structure(run, tiny_model):
    output = run("export", tiny_model, STRUCTURE, "--bound", "-o", "bound.pt")
    assert "bound to 15 atoms, isolated, in nm and kJ/mol" in output
    assert json.loads(run("info", "bound.pt"))["bound"]["numbers"][0] == 6


def test_fragments_lists_hyperedges_and_draws(run, tmp_path):
    output = run("fragments", "--smiles", "CCO", "--draw", "ethanol.png")
    assert "C2H6O, charge 0: 9 atoms" in output
    assert (tmp_path / "ethanol.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("preset", ["implicit_md22", "explicit_md17", "explicit_qm9"])
def test_fragments_takes_presets(run, preset):
    output = run("fragments", STRUCTURE, "--preset", preset)
    assert preset.split("_")[0] in output


def test_fragments_takes_a_charge(run, tmp_path):
    run("relax", "--help")
    ase.io.write(tmp_path / "oh.xyz", ase.Atoms("OH", [[0, 0, 0], [0, 0, 0.97]]))
    assert "charge -1" in run("fragments", "oh.xyz", "--charge", -1)


def test_demo_of_a_molecule_of_ones_own(run, tiny_model, tmp_path):
    output = run("demo", "--smiles", "CO", "--model", tiny_model, "--duration", 0.005)
    assert "relaxing CO with tiny" in output
    assert (tmp_path / "se3set-demo" / "demo.png").read_bytes().startswith(b"\x89PNG")


def test_demo_runs_and_draws(run, tiny_model, tmp_path):
    output = run("demo", "--model", tiny_model, "--duration", 0.005)
    folder = tmp_path / "se3set-demo"
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG")
    result = json.loads((folder / "demo.json").read_text())
    assert abs(result["start_energy_difference_mev"]) < 1e-6
    assert abs(result["largest_energy_difference_mev"]) < 1e-3
    assert "picture in" in output
