"""`se3set fragments`: which atoms of a molecule belong together."""

from pathlib import Path
from typing import Any

import click

from se3set_mlip.commands.options import NEW_FILE, read_atoms, structure_options
from se3set_mlip.fragments.drawing import draw_fragments
from se3set_mlip.fragments.fragmentation import PRESETS
from se3set_mlip.hyperedges import describe_hyperedges
from se3set_mlip.potential.fragment_cache import FragmentCache


@click.command("fragments")
@structure_options
@click.option(
    "--preset", type=click.Choice(list(PRESETS)), default="implicit_md22", show_default=True
)
@click.option(
    "--cutoff",
    default=4.0,
    show_default=True,
    help="Range of implicit overlap in Å, within which a fragment speaks to an atom.",
)
@click.option("--draw", type=NEW_FILE, help="Draw the molecule with its fragments coloured (.png).")
def fragments_command(*, preset: str, cutoff: float, draw: Path | None, **structure: Any) -> None:
    """List the fragments and hyperedges of STRUCTURE (a file, or --smiles)."""
    atoms, topology = read_atoms(structure.pop("structure"), **structure)
    found = FragmentCache(PRESETS[preset]).find(atoms, topology=topology)
    click.echo(found.describe())
    click.echo(describe_hyperedges(found, atoms, cutoff_angstrom=cutoff))
    if draw is not None:
        draw_fragments(found, draw)
        click.echo(f"drawn in {draw}")
