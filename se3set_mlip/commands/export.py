"""`se3set export`: a checkpoint becomes a TorchScript file."""

from pathlib import Path
from typing import Any

import click

from se3set_mlip.commands.options import (
    NEW_FILE,
    model_argument,
    read_atoms,
    structure_options,
)
from se3set_mlip.errors import InputError
from se3set_mlip.export.torchscript import export_bound, export_generic
from se3set_mlip.potential.checkpoint import load_checkpoint
from se3set_mlip.potential.fragment_cache import FragmentCache


@click.command("export")
@model_argument
@structure_options
@click.option("--output", "-o", type=NEW_FILE, required=True, help="The file to write (.pt).")
@click.option(
    "--bound",
    is_flag=True,
    help="Bind to STRUCTURE, in nm and kJ/mol, for OpenMM's TorchForce.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    help="Precision of the network. [default: the checkpoint's]",
)
def export_command(
    *, model: Path, output: Path, bound: bool, dtype: str | None, **structure: Any
) -> None:
    """Write the checkpoint MODEL as TorchScript: for any system, or bound to STRUCTURE."""
    path = structure.pop("structure")
    potential = load_checkpoint(model)
    if not bound:
        if path is not None or structure["smiles"] is not None:
            raise InputError("a structure is used with --bound only; add --bound or leave it out")
        export_generic(potential, output, dtype=dtype)
        click.echo(f"written to {output}: any system of the model's elements, in eV and Å")
        return
    atoms, topology = read_atoms(path, **structure)
    fragmentation = FragmentCache(potential.config.fragmentation).find(atoms, topology=topology)
    periodic = bool(atoms.pbc.all())
    export_bound(potential, output, fragmentation, periodic=periodic, dtype=dtype)
    kind = "periodic" if periodic else "isolated"
    click.echo(f"written to {output}: bound to {len(atoms)} atoms, {kind}, in nm and kJ/mol")
