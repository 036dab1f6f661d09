"""What all parts of a training run share, made from a configuration and its data."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from se3set_mlip.potential.potential import Potential
from se3set_mlip.training.batches import Batch, Sample, fixed_batches, make_samples
from se3set_mlip.training.config import TrainingConfig
from se3set_mlip.training.optimizers import make_optimizer
from se3set_mlip.training.outputs import fingerprint
from se3set_mlip.training.parts import TrainingData
from se3set_mlip.training.plan import BatchPlan, plan_batches
from se3set_mlip.training.processes import Processes
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
    """The share of this process."""
    fingerprint: dict[str, Any]
    plan: BatchPlan
    processes: Processes
    n_steps: int

    def save(self) -> None:
        """Write the state; the first process does."""
        if self.processes.first:
            save_state(
                self.folder,
                self.progress,
                module=self.potential.module,
                optimizer=self.optimizer,
                average=self.average,
                fingerprint=self.fingerprint,
            )


def prepare_run(
    config: TrainingConfig,
    folder: Path,
    data: TrainingData,
    processes: Processes,
    *,
    echo: Callable[[str], None],
) -> Run:
    """Make the potential, the optimizer and the tensors of a new run, equal in all processes."""
    potential = build_potential(config, data, echo=echo)
    processes.copy_from_first(potential.module)
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
    plan = processes.from_first(
        lambda: plan_batches(
            potential,
            samples,
            structures=settings.structures_per_batch,
            pairs=settings.batch_pairs,
            seed=config.run.seed,
        )
    )
    if settings.batch_pairs is not None:
        echo(
            f"{min(plan.costs)} to {max(plan.costs)} pairs per structure, {len(plan.epoch(0))} "
            f"batches of at most {settings.batch_pairs} in the first epoch"
        )
    n_steps = settings.max_steps or plan.n_steps(settings.epochs or 0)
    return Run(
        config=config,
        folder=folder,
        potential=potential,
        optimizer=make_optimizer(potential.module, settings),
        average=MovingAverage(potential.module, settings.ema_decay),
        progress=Progress(),
        samples=samples,
        validation=[
            batch.to(potential.device) for batch in validation[processes.rank :: processes.size]
        ],
        fingerprint=fingerprint(config, data),
        plan=plan,
        processes=processes,
        n_steps=n_steps,
    )
