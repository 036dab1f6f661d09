"""`se3set train` and `se3set evaluate`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from se3set_mlip.commands.options import (
    EXISTING_FILE,
    NEW_FILE,
    model_argument,
    precision_options,
)
from se3set_mlip.export.loading import load
from se3set_mlip.training import LabelConfig, evaluate_file, read_training_config, train
from se3set_mlip.training.processes import speaks


@click.command("train")
@click.argument("config", type=EXISTING_FILE)
@click.option("--resume", is_flag=True, help="Continue the run in the output folder.")
@click.option("--output-dir", help="Output folder instead of the configuration's.")
@click.option("--seed", type=int, help="Seed instead of the configuration's.")
@click.option("--device", help="Device instead of the configuration's.")
@click.pass_context
def train_command(
    context: click.Context,
    /,
    *,
    config: Path,
    resume: bool,
    output_dir: str | None,
    seed: int | None,
    device: str | None,
) -> None:
    """Train a potential as the YAML file CONFIG says.

    Interrupt it at will, and continue with --resume. Exits with 3 if the wall-time limit of the
    configuration came before the end.

    Several processes share every batch when torch's launcher starts them, on CPUs or a GPU each:
    torchrun --nproc-per-node 2 -m se3set_mlip train CONFIG
    """
    settings = read_training_config(config)
    given = {"output_dir": output_dir, "seed": seed, "device": device}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    settings = replace(settings, run=replace(settings.run, **changes))
    try:
        result = train(settings, resume=resume)
    except KeyboardInterrupt as stop:
        if speaks():
            click.echo(str(stop) or "stopped", err=True)
        raise click.Abort from stop
    if speaks():
        click.echo(f"best model: {result.best_model}")
        click.echo(f"report: {result.report}")
    if not result.finished:
        if speaks():
            click.echo("the wall-time limit came first; continue with --resume")
        context.exit(3)


@click.command("evaluate")
@model_argument
@click.argument("structures", type=EXISTING_FILE)
@click.option("--json", "json_file", type=NEW_FILE, help="Write the errors here.")
@click.option("--batch-size", default=32, show_default=True, help="Structures at a time.")
@click.option("--energy-key", help="Name of the energies. [default: REF_energy, then energy]")
@click.option("--forces-key", help="Name of the forces. [default: REF_forces, then forces]")
@precision_options
def evaluate_command(
    *,
    model: Path,
    structures: Path,
    json_file: Path | None,
    batch_size: int,
    energy_key: str | None,
    forces_key: str | None,
    device: str,
    dtype: str,
) -> None:
    """Compare MODEL with the energies and forces in STRUCTURES (extended XYZ)."""
    metrics = evaluate_file(
        load(model, device=device, dtype=dtype),
        structures,
        labels=LabelConfig(energy_key=energy_key, forces_key=forces_key),
        batch_size=batch_size,
        echo=tqdm.write,
    )
    for name, value in metrics.items():
        if isinstance(value, dict):
            for part, entries in value.items():
                shown = ", ".join(f"{key} {entry:.4g}" for key, entry in entries.items())
                click.echo(f"{name + ' ' + part:36s} {shown}")
        else:
            shown = "no labels" if value is None else f"{value:.6g}"
            click.echo(f"{name:36s} {shown}")
    if json_file is not None:
        json_file.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
