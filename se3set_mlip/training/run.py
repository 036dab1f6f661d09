"""What all parts of a training run share, made from a configuration and its data."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from se3set_mlip.potential.potential import Potential
from se3set_mlip.training.batches import Batch, Sample, fixed_batches, make_samples
from se3set_mlip.training.config import TrainingConfig
from se3set_mlip.training.outputs import fingerprint
from se3set_mlip.training.parts import TrainingData
from se3set_mlip.training.schedule import MovingAverage
from se3set_mlip.training.setup import build_potential
from se3set_mlip.training.state import Progress, save_state


@dataclass(frozen=True)
class Run:
    """What all parts of the loop share."""

    config: TrainingConfig
    folder: Path
    potential: Potential
    optimizer: torch.optim.Optimizer
    average: MovingAverage
    progress: Progress
    samples: list[Sample]
    validation: list[Batch]
    fingerprint: dict[str, Any]
    n_steps: int
    epoch_length: int

    def save(self) -> None:
        """Write the state."""
        save_state(
            self.folder,
            self.progress,
            module=self.potential.module,
            optimizer=self.optimizer,
            average=self.average,
            fingerprint=self.fingerprint,
        )


def prepare_run(
    config: TrainingConfig, folder: Path, data: TrainingData, *, echo: Callable[[str], None]
) -> Run:
    """Make the potential, the optimizer and the tensors of a new run."""
    potential = build_potential(config, data, echo=echo)
    potential.module.train()
    settings = config.optimizer
    samples = make_samples(potential, data.training, bond_stretch=config.data.bond_stretch)
    if len(samples) > len(data.training):
        echo(
            f"{len(samples)} training samples: some structures are used with the fragments of more "
            "than one topology (data.bond_stretch)"
        )
    validation = fixed_batches(
        make_samples(potential, data.validation), config.run.evaluation_batch_size
    )
    epoch_length = math.ceil(len(samples) / settings.batch_size)
    n_steps = settings.max_steps or (settings.epochs or 0) * epoch_length
    return Run(
        config=config,
        folder=folder,
        potential=potential,
        optimizer=torch.optim.AdamW(
            potential.module.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            amsgrad=settings.amsgrad,
        ),
        average=MovingAverage(potential.module, settings.ema_decay),
        progress=Progress(),
        samples=samples,
        validation=[batch.to(potential.device) for batch in validation],
        fingerprint=fingerprint(config, data),
        n_steps=n_steps,
        epoch_length=epoch_length,
    )
