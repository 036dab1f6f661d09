"""`se3set info`: what a model file says about itself."""

import json
from pathlib import Path

import click

from se3set_mlip.commands.options import MODEL
from se3set_mlip.model_files import describe_file


@click.command("info")
@click.argument("file", type=MODEL)
def info_command(*, file: Path) -> None:
    """Print the metadata of FILE, a checkpoint, an exported or a shipped model, as JSON."""
    click.echo(json.dumps(describe_file(file), indent=2))
