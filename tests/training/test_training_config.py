"""Configurations are read from YAML, and wrong ones are refused with the remedy."""

from pathlib import Path

import pytest

from se3set_mlip.errors import ConfigError
from se3set_mlip.training import read_training_config

YAML = """
data:
  train_files: data/train.xyz
  test_files: [/absolute/test.xyz]
  reference_energies: data/atoms.xyz
potential: {model: {elements: [1, 6, 8]}}
optimizer: {epochs: 5, learning_rate: 1e-3}
run: {output_dir: ../result}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path, monkeypatch):
    folder = tmp_path / "configs"
    folder.mkdir()
    write(folder, YAML)
    monkeypatch.chdir(tmp_path)
    config = read_training_config("configs/config.yaml")
    assert config.data.train_files == (str(folder / "data/train.xyz"),)
    assert config.data.test_files == ("/absolute/test.xyz",)
    assert config.data.reference_energies == str(folder / "data/atoms.xyz")
    assert config.run.output_dir == str(tmp_path / "result")
    assert config.optimizer.learning_rate == 1e-3


def test_words_for_reference_energies_are_no_paths(tmp_path):
    config = read_training_config(write(tmp_path, YAML.replace("data/atoms.xyz", "fit")))
    assert config.data.reference_energies == "fit"
    mapping = YAML.replace("data/atoms.xyz", "{H: -13.5, C: -1027}")
    config = read_training_config(write(tmp_path, mapping))
    assert config.data.reference_energies == {"H": -13.5, "C": -1027}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("learning_rate", "lerning_rate", "did you mean 'learning_rate'"),
        ("epochs: 5", "epochs: 5, max_steps: 7", "exactly one of the two"),
        ("epochs: 5", "epochs: 0", r"optimizer\.epochs = 0; expected a positive number"),
        ("epochs: 5", "epochs: 5, ema_decay: 1.0", r"ema_decay = 1\.0; expected less than 1"),
        ("train_files: data/train.xyz", "train_files: []", r"data\.train_files = \(\)"),
        ("run: {", "loss: {kind: mae}\nrun: {", "did you mean 'mse'"),
        ("run: {", "loss: {energy_weight: -1}\nrun: {", r"energy_weight = -1\.0; expected zero"),
        ("run: {", "run: {dtype: float16, ", "did you mean 'float"),
        ("run: {", "run: {threads: 0, ", r"run\.threads = 0; expected a positive number"),
        ("data:\n", "data:\n  missing_labels: zero\n", "expected one of error, mask"),
        ("data:\n", "data:\n  validation_fraction: 1.5\n", "between 0 and 1"),
        ("data:\n", "data:\n  n_validation: 5\n  validation_fraction: 0.2\n", "one of the three"),
        ("data:\n", "data:\n  labels: {energy_unit: kcal}\n", "did you mean 'kcal/mol'"),
        ("optimizer: {epochs: 5,", "optimizer: {", "exactly one of the two"),
        ("potential:", "potential: [", "is not valid YAML"),
    ],
)
def test_wrong_settings_are_named(tmp_path, old, new, message):
    assert old in YAML
    with pytest.raises(ConfigError, match=message):
        read_training_config(write(tmp_path, YAML.replace(old, new, 1)))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*nothing\.yaml"):
        read_training_config(tmp_path / "nothing.yaml")
