"""The files of a configuration become checked parts of a run: training, validation and test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from se3set_mlip.elements import SYMBOLS
from se3set_mlip.errors import DatasetError
from se3set_mlip.training.config import (
    DEFAULT_VALIDATION_FRACTION,
    DataConfig,
    LossConfig,
    StageTwoConfig,
    TrainingConfig,
)
from se3set_mlip.training.datasets import Frame, FrameFile, check_labels, read_frames
from se3set_mlip.training.fragmenting import perceivable
from se3set_mlip.training.plausibility import check_disjoint
from se3set_mlip.training.references import elements_of
from se3set_mlip.training.split import draw_frames, split_frames


@dataclass(frozen=True)
class TrainingData:
    """All structures of a run, by purpose."""

    training: tuple[Frame, ...]
    validation: tuple[Frame, ...]
    test: dict[str, tuple[Frame, ...]]
    """Name -> structures; the name is that of the file, without its ending."""
    isolated_atoms: tuple[Frame, ...]
    files: tuple[FrameFile, ...]
    left_out: tuple[str, ...]
    """Names of structures whose bonds cannot be perceived, where these may be left out."""

    @property
    def parts(self) -> dict[str, tuple[Frame, ...]]:
        """All parts by name."""
        return {"training": self.training, "validation": self.validation, **self.test}


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
    settings = config.data
    left_out: list[str] = []

    def read(paths: Sequence[str]) -> list[FrameFile]:
        files = [read_frames(path, settings.labels) for path in paths]
        for file in files:
            echo(file.describe())
        return files

    def usable(frames: Sequence[Frame]) -> tuple[Frame, ...]:
        if not settings.skip_unperceived:
            return tuple(frames)
        kept = perceivable(frames, config.potential.fragmentation)
        names = {frame.name for frame in kept}
        left_out.extend(frame.name for frame in frames if frame.name not in names)
        return kept

    training_files = read(settings.train_files)
    auxiliary_files = read(settings.auxiliary_files)
    validation_files = read(settings.validation_files)
    test_files = read(settings.test_files)
    training, validation = _training_and_validation(
        settings,
        usable([frame for file in training_files for frame in file.frames]),
        usable([frame for file in validation_files for frame in file.frames]),
    )
    auxiliary = usable([frame for file in auxiliary_files for frame in file.frames])
    data = TrainingData(
        training=(*training, *auxiliary),
        validation=validation,
        test={
            name: usable(file.frames)
            for name, file in zip(_part_names(settings.test_files), test_files, strict=True)
        },
        isolated_atoms=tuple(atom for file in training_files for atom in file.isolated_atoms),
        files=(*training_files, *auxiliary_files, *validation_files, *test_files),
        left_out=tuple(left_out),
    )
    _check_labels(data, config.loss, missing=settings.missing_labels)
    _check_elements(data, config.potential.model.elements)
    check_disjoint(data.parts)
    if left_out:
        echo(f"{len(left_out)} structures left out, whose bonds cannot be perceived: {left_out[0]}")
    echo(
        f"{len(data.training)} structures for training, {len(validation)} for validation, "
        f"{sum(map(len, data.test.values()))} for test"
    )
    return data


def _training_and_validation(
    settings: DataConfig, training: tuple[Frame, ...], validation: tuple[Frame, ...]
) -> tuple[tuple[Frame, ...], tuple[Frame, ...]]:
    """Return both parts; without validation files a part of the training files is held out."""
    for frames, files in (
        (training, settings.train_files),
        (validation, settings.validation_files),
    ):
        if files and not frames:
            raise DatasetError(
                f"{', '.join(files)} hold no structures to learn from; name files of molecules "
                "(isolated atoms give reference energies only)"
            )
    if not settings.validation_files:
        training, validation = split_frames(
            training,
            n_validation=settings.n_validation,
            validation_fraction=settings.validation_fraction or DEFAULT_VALIDATION_FRACTION,
            seed=settings.split_seed,
        )
    if settings.n_train is not None:
        training = draw_frames(training, settings.n_train, seed=settings.split_seed)
    return training, validation


def _part_names(paths: Sequence[str]) -> list[str]:
    """Return a name for each test file; equal ones, and those of other parts, get a number."""
    names: list[str] = []
    for path in paths:
        stem = Path(path).stem
        taken = {"training", "validation", *names}
        numbered = (f"{stem}_{number}" for number in range(2, len(paths) + 4))
        names.append(next(name for name in (stem, *numbered) if name not in taken))
    return names


def _check_labels(data: TrainingData, loss: LossConfig, *, missing: str) -> None:
    """Refuse structures without the labels that the loss needs."""
    stages: list[LossConfig | StageTwoConfig] = [loss]
    if loss.stage_two is not None:
        stages.append(loss.stage_two)
    for frames in (data.training, data.validation):
        check_labels(
            frames,
            energy=any(stage.energy_weight > 0.0 for stage in stages),
            forces=any(stage.forces_weight + stage.net_forces_weight > 0.0 for stage in stages),
            stress=any(stage.stress_weight > 0.0 for stage in stages),
            missing=missing,
        )


def _check_elements(data: TrainingData, known: Sequence[int]) -> None:
    """Refuse elements that the potential does not know."""
    found = {z for frames in data.parts.values() for z in elements_of(frames)}
    unknown = sorted(found - set(known))
    if unknown:
        raise DatasetError(
            f"the data hold {', '.join(SYMBOLS[z] for z in unknown)}, the potential knows "
            f"{', '.join(SYMBOLS[z] for z in known)}; add {unknown} to potential.model.elements"
        )
