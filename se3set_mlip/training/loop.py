"""The training run: epochs of steps, validation, saved states, and a report at the end.

Each epoch:

1. Steps over the training set in an order given by seed and epoch.
2. Errors of the averaged weights on the validation set; the best potential so far is saved.
3. A row in the log, and the state.

A run that is killed and continued takes the same steps, on a CPU to the last bit. So do several
processes (see :mod:`.processes`), to rounding: what decides whether to go on is agreed among them.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from se3set_mlip.errors import ConfigError
from se3set_mlip.training.batches import Share, make_share
from se3set_mlip.training.config import TrainingConfig
from se3set_mlip.training.loss import loss_weights
from se3set_mlip.training.metrics import Metrics
from se3set_mlip.training.outputs import (
    BEST_FILE,
    REPORT_FILE,
    check_fingerprint,
    has_state,
    prepare_folder,
)
from se3set_mlip.training.parts import load_data
from se3set_mlip.training.plan import shares
from se3set_mlip.training.plots import require_matplotlib
from se3set_mlip.training.processes import Processes, device_of_process, join_processes
from se3set_mlip.training.run import Run, prepare_run
from se3set_mlip.training.schedule import learning_rate_factor
from se3set_mlip.training.session import StopRequest, run_settings
from se3set_mlip.training.state import read_state, restore_state
from se3set_mlip.training.step import training_step
from se3set_mlip.training.validation import end_epoch, finish


@dataclass(frozen=True)
class TrainingResult:
    """Where the results of a run are."""

    output_dir: Path
    best_model: Path
    report: Path
    metrics: dict[str, Metrics]
    """Errors of the best potential: ``training``, ``validation``, and each test file."""
    n_steps: int
    finished: bool
    """False when the wall-time limit came first; such a run can be continued."""


def train(
    config: TrainingConfig, *, resume: bool = False, echo: Callable[[str], None] = tqdm.write
) -> TrainingResult:
    """Train a potential.

    Parameters
    ----------
    config
        Data, potential, loss, optimizer and run settings.
    resume
        Continue the run in ``config.run.output_dir``.
    echo
        Called with each line that the user should read, in the first process.

    Returns
    -------
    TrainingResult
        The files that were written, and the errors of the best potential.

    Raises
    ------
    DatasetError
        For data that cannot be trained on, and for a loss that is not finite.
    ConfigError
        For an output folder that cannot be used, and settings that changed under ``resume``.
    ArtifactError
        For a saved state that cannot be read.
    MissingDependencyError
        When plots are wanted and matplotlib is not installed.
    KeyboardInterrupt
        After an interrupt, with the state saved.
    """
    if config.run.plots:
        require_matplotlib()
    processes = join_processes()
    return _train(config, processes, resume=resume, echo=echo if processes.first else _quiet)


def _quiet(_: str) -> None:
    """Say nothing."""


def _train(
    config: TrainingConfig,
    processes: Processes,
    *,
    resume: bool,
    echo: Callable[[str], None],
) -> TrainingResult:
    """Train a potential in one of the processes of a run."""
    device = device_of_process(config.run.device, processes)
    folder = processes.from_first(lambda: prepare_folder(config, resume=resume))
    settings = replace(config.run, device=device)
    config = replace(config, run=settings)
    with run_settings(threads=settings.threads, seed=settings.seed, device=settings.device):
        state = read_state(folder) if resume and has_state(folder) else None
        if state is not None and state["progress"]["finished"]:
            raise ConfigError(
                f"the run in {folder} finished after {state['progress']['step']} steps; there is "
                "nothing to continue; choose a new run.output_dir"
            )
        data = load_data(config, echo=echo)
        run = prepare_run(config, folder, data, processes, echo=echo)
        if state is not None:
            check_fingerprint(json.loads(state["fingerprint"]), run.fingerprint)
            progress = restore_state(
                state,
                module=run.potential.module,
                optimizer=run.optimizer,
                average=run.average,
            )
            run = replace(run, progress=progress)
            echo(f"continuing at step {progress.step} of {run.n_steps}")
        else:
            run.save()
        with StopRequest() as stop:
            stopped = _optimise(run, stop, echo=echo)
        if stopped:
            raise KeyboardInterrupt(f"stopped; the state is in {folder}; continue with resume")
        metrics = finish(run, data, echo=echo)
    return TrainingResult(
        output_dir=folder,
        best_model=folder / BEST_FILE,
        report=folder / REPORT_FILE,
        metrics=metrics,
        n_steps=run.progress.step,
        finished=run.progress.finished,
    )


def _optimise(run: Run, stop: StopRequest, *, echo: Callable[[str], None]) -> bool:
    """Take steps until the end, the wall-time limit, or an interrupt; save the state then.

    Returns whether there was an interrupt, in any of the processes.
    """
    progress, settings, processes = run.progress, run.config.run, run.processes
    minutes = run.config.optimizer.max_wall_time_minutes
    limit = math.inf if minutes is None else 60.0 * minutes
    bar = tqdm(
        total=run.n_steps,
        initial=progress.step,
        disable=not (settings.progress and processes.first),
        unit="step",
        dynamic_ncols=True,
    )
    started = time.perf_counter() - progress.elapsed_seconds
    late = stopped = False
    with bar:
        while progress.step < run.n_steps and not (late or stopped):
            batches = run.plan.epoch(progress.epoch)
            for batch in batches[progress.position :]:
                _step(run, _share(run, batch), bar)
                progress.elapsed_seconds = time.perf_counter() - started
                late, stopped = processes.any_of(progress.elapsed_seconds > limit, stop.requested)
                if late or stopped or progress.step >= run.n_steps:
                    break
                every = settings.checkpoint_every_steps
                if every is not None and progress.step % every == 0:
                    run.save()
            if progress.position == len(batches) or progress.step >= run.n_steps:
                end_epoch(run)
    if late and progress.step < run.n_steps:
        echo(f"wall-time limit reached at step {progress.step} of {run.n_steps}")
    run.save()
    # The others wait here for the first: their end would end it while it writes.
    return processes.any_of(stop.requested)[0]


def _share(run: Run, batch: list[int]) -> Share:
    """Return what this process computes of a batch."""
    parts = shares(batch, run.plan.costs, n_shares=run.processes.size)
    own = parts[run.processes.rank]
    return make_share([run.samples[index] for index in batch], [run.samples[i] for i in own])


def _step(run: Run, share: Share, bar: "tqdm[Any]") -> None:
    """Take one step and note it."""
    progress, settings = run.progress, run.config.optimizer
    factor = learning_rate_factor(
        progress.step,
        n_steps=run.n_steps,
        warmup_steps=settings.warmup_steps,
        final_fraction=settings.final_learning_rate_fraction,
    )
    for group in run.optimizer.param_groups:
        group["lr"] = settings.learning_rate * factor
    result = training_step(
        run.potential.module,
        share.to(run.potential.device),
        optimizer=run.optimizer,
        loss=run.config.loss,
        weights=loss_weights(run.config.loss, step=progress.step, n_steps=run.n_steps),
        gradient_clip_norm=settings.gradient_clip_norm,
        step=progress.step,
        processes=run.processes,
    )
    run.average.update(run.potential.module)
    progress.step += 1
    progress.position += 1
    progress.loss_sum += result.loss
    bar.update()
    if progress.rows:
        row = progress.rows[-1]
        errors = (
            row["validation_energy_rmse_mev_per_atom"],
            row["validation_force_rmse_mev_per_angstrom"],
        )
        words = "/".join("-" if error is None else f"{error:.3g}" for error in errors)
        bar.set_postfix_str(
            f"loss {result.loss:.3g}, val E/F {words} meV, "
            f"lr {settings.learning_rate * factor:.2g}",
            refresh=False,
        )
    else:
        bar.set_postfix_str(f"loss {result.loss:.3g}", refresh=False)
