"""A YAML file, or nested mappings, become a training configuration.

Relative paths in a YAML file are relative to the folder of that file, so that a run can be repeated
from any working directory.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from se3set_mlip.configuration import config_from_dict
from se3set_mlip.errors import ConfigError, MissingDependencyError
from se3set_mlip.model.sizes import settings_with_size
from se3set_mlip.training.config import TrainingConfig


def training_config_from_dict(
    values: Mapping[str, Any], *, folder: str | Path | None = None
) -> TrainingConfig:
    """Build a training configuration from nested mappings.

    Parameters
    ----------
    values
        The sections ``data``, ``potential``, ``optimizer``, ``run``, ``loss``, ``model_card``. One
        file may stand where a list of files is expected. ``potential.model`` may name a ``size``
        (see :mod:`se3set_mlip.model.sizes`); its other keys stand above what the size says.
    folder
        Relative paths are taken relative to this folder; unchanged when None.

    Raises
    ------
    ConfigError
        For unknown keys (the nearest known one is named) and values out of range.
    """
    values = dict(values) if isinstance(values, Mapping) else values
    if isinstance(values, dict) and isinstance(values.get("data"), Mapping):
        data = dict(values["data"])
        for name in ("train_files", "auxiliary_files", "validation_files", "test_files"):
            if isinstance(data.get(name), str):
                data[name] = [data[name]]
        values["data"] = data
    if isinstance(values, dict) and isinstance(values.get("potential"), Mapping):
        potential = dict(values["potential"])
        if isinstance(potential.get("model"), Mapping):
            potential["model"] = settings_with_size(potential["model"])
        values["potential"] = potential
    config = config_from_dict(TrainingConfig, values)
    return config if folder is None else _with_absolute_paths(config, Path(folder))


def _with_absolute_paths(config: TrainingConfig, folder: Path) -> TrainingConfig:
    """Return ``config`` with every relative path resolved against ``folder``."""

    def resolve(path: str) -> str:
        return str((folder / path).resolve())

    references = config.data.reference_energies
    if isinstance(references, str) and references not in ("fit", "isolated_atoms"):
        references = resolve(references)
    data = replace(
        config.data,
        train_files=tuple(map(resolve, config.data.train_files)),
        auxiliary_files=tuple(map(resolve, config.data.auxiliary_files)),
        validation_files=tuple(map(resolve, config.data.validation_files)),
        test_files=tuple(map(resolve, config.data.test_files)),
        reference_energies=references,
    )
    initial = config.run.initial_model
    run = replace(
        config.run,
        output_dir=resolve(config.run.output_dir),
        initial_model=None if initial is None else resolve(initial),
    )
    return replace(config, data=data, run=run)


def read_training_config(path: str | Path) -> TrainingConfig:
    """Read a training configuration from a YAML file; its relative paths start at its folder.

    Raises
    ------
    ConfigError
        When the file is missing, is not YAML, or holds unknown keys or values out of range.
    MissingDependencyError
        When PyYAML is not installed.
    """
    try:
        import yaml  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingDependencyError(
            "reading a YAML file needs PyYAML; install it with `pip install pyyaml`"
        ) from error
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    return training_config_from_dict(values, folder=path.resolve().parent)
