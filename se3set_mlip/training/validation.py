"""The end of an epoch and of a run: validation, the best potential, the log, the report."""

import math
from collections.abc import Callable

from se3set_mlip.potential.checkpoint import save_checkpoint
from se3set_mlip.training.metrics import (
    Metrics,
    compute_metrics,
    join_predictions,
    predict,
    validation_score,
)
from se3set_mlip.training.outputs import BEST_FILE, LAST_FILE, write_log
from se3set_mlip.training.parts import TrainingData
from se3set_mlip.training.report import write_report
from se3set_mlip.training.run import Run


def end_epoch(run: Run) -> None:
    """Validate, keep the best potential, write the log and the state."""
    progress, settings = run.progress, run.config.run
    done = progress.epoch + 1
    last = progress.step >= run.n_steps
    metrics: Metrics = {}
    if last or done % settings.validate_every_epochs == 0:
        metrics = _validate(run)
    progress.rows.append(
        {
            "epoch": done,
            "step": progress.step,
            "train_loss": progress.loss_sum / progress.position,
            **{
                f"validation_{name}": metrics.get(name)
                for name in (
                    "energy_rmse_mev_per_atom",
                    "energy_mae_mev_per_atom",
                    "force_rmse_mev_per_angstrom",
                    "force_mae_mev_per_angstrom",
                )
            },
            "learning_rate": run.optimizer.param_groups[0]["lr"],
            "wall_time_s": progress.elapsed_seconds,
        }
    )
    progress.epoch, progress.position, progress.loss_sum = done, 0, 0.0
    if run.processes.first:
        write_log(run.folder, progress.rows)
    if last or done % settings.checkpoint_every_epochs == 0:
        run.save()


def _validate(run: Run) -> Metrics:
    """Return the errors of the averaged weights on the validation set; save the best potential.

    Each process computes its share; all find the same errors.
    """
    module = run.potential.module
    with run.average.applied(module):
        own = run.validation
        part = predict(module, own, device=run.potential.device) if own else None
        parts = run.processes.gather(part)
        predictions = join_predictions([part for part in parts if part is not None])
        metrics = compute_metrics(predictions, n_structures=len(predictions.names))
        score = validation_score(metrics, run.config.loss)
        if score < run.progress.best_loss:
            run.progress.best_loss, run.progress.best_step = score, run.progress.step
            if run.processes.first:
                save_checkpoint(run.folder / BEST_FILE, run.potential)
    return metrics


def finish(run: Run, data: TrainingData, *, echo: Callable[[str], None]) -> dict[str, Metrics]:
    """Write the last potential and the report on the best one; mark a complete run as finished."""
    if math.isinf(run.progress.best_loss):
        _validate(run)  # stopped by its time limit before the first validation
    metrics = run.processes.from_first(lambda: _write_results(run, data, echo=echo))
    if run.progress.step >= run.n_steps:
        run.progress.finished = True
        run.save()
    return metrics


def _write_results(
    run: Run, data: TrainingData, *, echo: Callable[[str], None]
) -> dict[str, Metrics]:
    """Write the last potential and the report."""
    with run.average.applied(run.potential.module):
        save_checkpoint(run.folder / LAST_FILE, run.potential)
    return write_report(
        run.folder,
        run.config,
        data,
        run.progress,
        n_processes=run.processes.size,
        echo=echo,
    )
