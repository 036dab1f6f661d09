"""`se3set demo`."""

from pathlib import Path

import click

from se3set_mlip.commands.options import EXISTING_FILE, threads_option
from se3set_mlip.demo import demo_dynamics, run_demo


@click.command("demo")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("se3set-demo"),
    show_default=True,
    help="Where trajectories and the picture go.",
)
@click.option("--model", type=EXISTING_FILE, help="A model file instead of the shipped one.")
@click.option("--duration", default=2.0, show_default=True, help="Length of each run in ps.")
@threads_option
def demo_command(*, folder: Path, model: Path | None, duration: float) -> None:
    """Relax acetylacetone, run NVE dynamics in ASE and in OpenMM, compare and draw."""
    run_demo(folder, model=model, config=demo_dynamics(duration), echo=click.echo)
