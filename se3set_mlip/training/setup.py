"""A configuration becomes checked data, and a potential with reference energies and a scale."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from se3set_mlip.elements import SYMBOLS
from se3set_mlip.errors import ConfigError, DatasetError
from se3set_mlip.potential.potential import Metadata, Potential
from se3set_mlip.potential.potential_module import PotentialModule
from se3set_mlip.training.config import LossConfig, StageTwoConfig, TrainingConfig
from se3set_mlip.training.datasets import Frame, FrameFile, check_labels, read_frames
from se3set_mlip.training.plausibility import check_disjoint, check_energies, check_forces
from se3set_mlip.training.references import (
    elements_of,
    mean_residual_per_atom,
    reference_energies,
    rms_force,
)
from se3set_mlip.training.split import draw_frames, split_frames

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class TrainingData:
    """All structures of a run, by purpose."""

    training: tuple[Frame, ...]
    validation: tuple[Frame, ...]
    test: dict[str, tuple[Frame, ...]]
    """File -> structures."""
    isolated_atoms: tuple[Frame, ...]
    files: tuple[FrameFile, ...]


def load_data(config: TrainingConfig, *, echo: Callable[[str], None]) -> TrainingData:
    """Read, split and check the data of a run.

    Parameters
    ----------
    config
        The whole configuration; the loss decides which labels are needed.
    echo
        Called with lines for the user: what was found in each file, and under which names.

    Raises
    ------
    DatasetError
        For missing labels, broken files, elements that the potential does not know, and structures
        that occur in two parts.
    """
    data = config.data

    def read(paths: Sequence[str]) -> list[FrameFile]:
        files = [read_frames(path, data.labels) for path in paths]
        for file in files:
            echo(file.describe())
        return files

    training_files = read(data.train_files)
    validation_files = read(data.validation_files)
    test_files = read(data.test_files)
    training = tuple(frame for file in training_files for frame in file.frames)
    validation = tuple(frame for file in validation_files for frame in file.frames)
    if not training:
        raise DatasetError(
            f"{', '.join(data.train_files)} hold no structures beside isolated atoms; name a file "
            "of molecules in data.train_files"
        )
    if not validation:
        training, validation = split_frames(
            training,
            n_validation=data.n_validation,
            validation_fraction=data.validation_fraction,
            seed=data.split_seed,
        )
    if data.n_train is not None:
        training = draw_frames(training, data.n_train, seed=data.split_seed)
    test = {file.path: file.frames for file in test_files}
    stages: list[LossConfig | StageTwoConfig] = [config.loss]
    if config.loss.stage_two is not None:
        stages.append(config.loss.stage_two)
    for frames in (training, validation):
        check_labels(
            frames,
            energy=any(stage.energy_weight > 0.0 for stage in stages),
            forces=any(stage.forces_weight > 0.0 for stage in stages),
            stress=any(stage.stress_weight > 0.0 for stage in stages),
            missing=data.missing_labels,
        )
    everything = (*training, *validation, *(frame for frames in test.values() for frame in frames))
    known = config.potential.model.elements
    unknown = [z for z in elements_of(everything) if z not in known]
    if unknown:
        raise DatasetError(
            f"the data hold {', '.join(SYMBOLS[z] for z in unknown)}, the potential knows "
            f"{', '.join(SYMBOLS[z] for z in known)}; add {unknown} to "
            "potential.model.elements"
        )
    check_disjoint({"training": training, "validation": validation, **test})
    echo(
        f"{len(training)} structures for training, {len(validation)} for validation, "
        f"{sum(map(len, test.values()))} for test"
    )
    return TrainingData(
        training=training,
        validation=validation,
        test=test,
        isolated_atoms=tuple(atom for file in training_files for atom in file.isolated_atoms),
        files=(*training_files, *validation_files, *test_files),
    )


def build_potential(
    config: TrainingConfig, data: TrainingData, *, echo: Callable[[str], None]
) -> Potential:
    """Make the potential with random weights, its reference energies and its energy scale.

    Raises
    ------
    DatasetError
        When reference energies are lacking, or energies and forces are implausible in their units.
    ConfigError
        When the device does not exist.
    """
    settings = config.data
    references = reference_energies(
        settings.reference_energies,
        frames=(*data.training, *data.validation),
        isolated_atoms=data.isolated_atoms,
        labels=settings.labels,
    )
    if settings.check_units:
        for frames in (data.training, data.validation, *data.test.values()):
            covered = [f for f in frames if all(int(z) in references for z in f.atoms.numbers)]
            check_energies(covered, references)
            check_forces(covered)
    if settings.shift_to_mean:
        shift = mean_residual_per_atom(data.training, references)
        references = {number: energy + shift for number, energy in references.items()}
        echo(f"reference energies shifted by {shift:.6f} eV per atom to the training set's mean")
    scale = settings.energy_scale_ev
    if scale is None:
        scale = rms_force(data.training) or 1.0
    echo(
        "reference energies: "
        + ", ".join(f"{SYMBOLS[z]} {e:.6f} eV" for z, e in sorted(references.items()))
        + f"; energy scale {scale:.6f} eV"
    )
    module = PotentialModule(config.potential, dtype=_DTYPES[config.run.dtype])
    module.set_energies(reference=references, scale=scale)
    card = config.model_card
    metadata = Metadata(
        level_of_theory=card.level_of_theory,
        training_data=card.training_data or ", ".join(config.data.train_files),
        license=card.license,
        description=card.description,
        authors=card.authors,
    )
    potential = Potential(module, config.potential, metadata)
    return potential.to(device=_device(config.run.device))


def _device(name: str) -> torch.device:
    """Return a device that is there."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"run.device = {name!r} is no device; use 'cpu' or 'cuda'") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"run.device = {name!r} but torch sees no GPU; use 'cpu'")
    return device
