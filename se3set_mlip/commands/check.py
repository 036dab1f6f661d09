"""`se3set check`: whether a potential may be trusted with dynamics of a structure."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from se3set_mlip.commands.options import (
    NEW_FILE,
    model_argument,
    precision_options,
    read_atoms,
    structure_options,
)
from se3set_mlip.export.loading import load
from se3set_mlip.testing import run_checks


@click.command("check")
@model_argument
@structure_options
@click.option("--full", is_flag=True, help="All checks instead of the quick ones.")
@click.option("--json", "json_file", type=NEW_FILE, help="Write the results here.")
@precision_options
@click.pass_context
def check_command(
    context: click.Context,
    /,
    *,
    model: Path,
    full: bool,
    json_file: Path | None,
    device: str,
    dtype: str,
    **structure: Any,
) -> None:
    """Check MODEL on STRUCTURE (a file, or --smiles): symmetry, forces, energy conservation.

    Exits with 1 if a check fails.
    """
    atoms, topology = read_atoms(structure.pop("structure"), **structure)
    results = run_checks(
        load(model, device=device, dtype=dtype), atoms, topology=topology, quick=not full
    )
    width = max(len(result.name) for result in results)
    click.echo(f"{'check':{width}}    measured     allowed")
    for result in results:
        verdict = "passed" if result.passed else "FAILED"
        click.echo(
            f"{result.name:{width}}  {result.measured:10.3e}  {result.allowed:10.3e}  {verdict}"
        )
    if json_file is not None:
        entries = [asdict(result) | {"passed": result.passed} for result in results]
        content = json.dumps(entries, indent=2)
        json_file.write_text(content + "\n", encoding="utf-8")
    if not all(result.passed for result in results):
        context.exit(1)
