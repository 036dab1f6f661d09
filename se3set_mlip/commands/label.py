"""`se3set label`: structures -> energies and forces of quantum chemistry."""

from collections import Counter
from pathlib import Path

import click

from se3set_mlip.commands.options import EXISTING_FILE, NEW_FILE
from se3set_mlip.labelling.methods import DFT, XTB
from se3set_mlip.labelling.run import label_file


@click.command("label")
@click.argument("structures", type=EXISTING_FILE, nargs=-1, required=True)
@click.option("-o", "--output", type=NEW_FILE, required=True, help="Extended XYZ to write.")
@click.option(
    "--method",
    default="GFN2-xTB",
    show_default=True,
    help="GFN2-xTB or GFN1-xTB (tblite), or FUNCTIONAL/BASIS (PySCF), as wb97x/6-31g*.",
)
@click.option("--charge", type=int, help="Charge of structures that do not say it. [default: 0]")
@click.option(
    "--accuracy",
    type=click.FloatRange(min=0.0, min_open=True),
    default=XTB.accuracy,
    show_default=True,
    help="Of tblite: smaller is better.",
)
@click.option(
    "--cartesian/--spherical",
    default=DFT.cartesian,
    show_default=True,
    help="Six d functions or five, of PySCF's basis sets.",
)
@click.option("--density-fitting", is_flag=True, help="Faster DFT, with a small error.")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    help="Structures at a time, one thread each. [default: one for each core]",
)
def label_command(
    *,
    structures: tuple[Path, ...],
    output: Path,
    method: str,
    charge: int | None,
    accuracy: float,
    cartesian: bool,
    density_fitting: bool,
    processes: int | None,
) -> None:
    """Compute energies and forces of all STRUCTURES (any format of ASE) by quantum chemistry.

    Molecules with an even number of electrons. Interrupt it at will: the same command goes on.
    Beside the output lies a .json file that says how the labels were made, and which structures
    failed.
    """
    functional, slash, basis = method.partition("/")
    chosen = (
        DFT(functional, basis, cartesian=cartesian, density_fitting=density_fitting)
        if slash
        else XTB(method, accuracy)
    )
    try:
        done = label_file(structures, output, method=chosen, charge=charge, processes=processes)
    except KeyboardInterrupt as stop:
        click.echo("stopped; the same command goes on", err=True)
        raise click.Abort from stop
    click.echo(f"{done.n_labelled} structures with {chosen.level_of_theory}: {done.path}")
    for reason, count in Counter(done.failures.values()).most_common(5):
        click.echo(f"{count} failed: {reason}")
    click.echo(f"how they were made: {done.record}")
