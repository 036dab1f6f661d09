"""`se3set demo`."""

from pathlib import Path

import click

from se3set_mlip.commands.options import MODEL, threads_option
from se3set_mlip.demo import demo_dynamics, run_demo


@click.command("demo")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("se3set-demo"),
    show_default=True,
    help="Where trajectories and the picture go.",
)
@click.option("--model", type=MODEL, help="A model instead of the shipped one.")
@click.option("--smiles", help="A molecule of yours, by the general model.")
@click.option("--duration", default=2.0, show_default=True, help="Length of each run in ps.")
@threads_option
def demo_command(*, folder: Path, model: Path | None, smiles: str | None, duration: float) -> None:
    """Relax acetylacetone or your molecule, run NVE dynamics in ASE and OpenMM, compare, draw."""
    run_demo(folder, model=model, smiles=smiles, config=demo_dynamics(duration), echo=click.echo)
