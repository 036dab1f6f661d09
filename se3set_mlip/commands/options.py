"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import ase
import click
import torch

from se3set_mlip.errors import ArtifactError, InputError
from se3set_mlip.shipped import find_model, is_model, model_names
from se3set_mlip.structures import general_model, read_structure, structure_from_smiles
from se3set_mlip.topology.molecule import Topology

Command = TypeVar("Command", bound=Callable[..., Any])

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


class ModelFile(click.ParamType):  # type: ignore[type-arg] # generic in new versions only
    """A model file, or the name of a shipped model; becomes the path."""

    name = "model"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path."""
        try:
            return Path(EXISTING_FILE.convert(find_model(value), param, ctx))
        except ArtifactError as error:
            self.fail(str(error), param, ctx)


MODEL = ModelFile()


def model_argument(command: Command) -> Command:
    """Add the model as first argument."""
    return click.argument("model", type=MODEL)(command)


def model_and_structure_arguments(command: Command) -> Command:
    """Add ``[MODEL] [STRUCTURE]``, see :func:`model_and_atoms`, and the structure's options."""
    return click.argument("names", metavar="[MODEL] [STRUCTURE]", nargs=-1)(
        _structure_qualifiers(command)
    )


def model_and_atoms(
    names: tuple[str, ...], *, besides: tuple[Path, ...] = (), **structure: Any
) -> tuple[Path, ase.Atoms, Topology | None]:
    """Return model, structure and its chemistry; without a model a general one, and a line says so.

    Parameters
    ----------
    names
        Model and structure, either of which may be missing.
    besides
        Other models of a committee, none of which a general one should be.
    structure
        The other options of :func:`read_atoms`.

    Raises
    ------
    click.BadParameter
        If one of them is no file and no shipped model.
    InputError
        For several structures, or none, or one that cannot be read.
    TopologyError
        If the SMILES cannot be read.
    """
    named = bool(names) and is_model(names[0])
    rest = names[1:] if named else names
    model = MODEL.convert(names[0], None, None) if named else None
    if rest and not Path(rest[0]).suffix and not Path(rest[0]).exists():
        raise InputError(
            f"{rest[0]!r} is no file, and no shipped model; those are {', '.join(model_names())}"
        )
    if len(rest) > 1:
        raise InputError(
            f"{', '.join(rest)} are {len(rest)} structures; name one, and before it a model, which "
            "is a .safetensors or .pt file or the name of a shipped one"
        )
    path = Path(EXISTING_FILE.convert(rest[0], None, None)) if rest else None
    atoms, topology = read_atoms(path, **structure)
    if model is None:
        name, what_for = general_model(atoms, topology, besides=[path.stem for path in besides])
        click.echo(f"with the model {name}, for {what_for}; name another one first")
        model = MODEL.convert(name, None, None)
    return model, atoms, topology


def _set_threads(_context: click.Context, _parameter: click.Parameter, value: int) -> int:
    """Limit torch to so many threads; the process is the command's own."""
    torch.set_num_threads(value)
    return value


def threads_option(command: Command) -> Command:
    """Add ``--threads``, which takes effect by itself.

    One is the default: the tensors of a small molecule are too small to share, and threads that
    wait for each other on a busy machine cost more than they bring.
    """
    return click.option(
        "--threads",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        expose_value=False,
        callback=_set_threads,
        help="Threads on the CPU; more than one pays off from some hundred atoms on.",
    )(command)


def precision_options(command: Command) -> Command:
    """Add ``--device``, ``--dtype`` and ``--threads``."""
    command = threads_option(command)
    command = click.option(
        "--dtype",
        type=click.Choice(["float32", "float64"]),
        default="float64",
        show_default=True,
        help="Precision of the network; float32 is faster, on a GPU above all.",
    )(command)
    return click.option(
        "--device", default="cpu", show_default=True, help="Where to compute, e.g. cuda."
    )(command)


def memory_option(command: Command) -> Command:
    """Add ``--memory``."""
    return click.option(
        "--memory",
        "memory_gib",
        type=click.FloatRange(min=0.0, min_open=True),
        help="Ceiling for one evaluation in GiB, besides weights and libraries: large systems are "
        "computed in parts that fit.  [default: what makes it fast]",
    )(command)


def structure_options(command: Command) -> Command:
    """Add what names one structure: a file or ``--smiles``, ``--index``, ``--charge``."""
    return click.argument("structure", type=EXISTING_FILE, required=False)(
        _structure_qualifiers(command)
    )


def _structure_qualifiers(command: Command) -> Command:
    """Add ``--smiles``, ``--index`` and ``--charge``."""
    command = click.option(
        "--charge", type=int, help="Total charge, where the file does not say it. [default: 0]"
    )(command)
    command = click.option(
        "--index",
        type=int,
        default=-1,
        show_default=True,
        help="Which structure of a file with several; -1 is the last.",
    )(command)
    return click.option("--smiles", help="A molecule as SMILES instead of a file.")(command)


def read_atoms(
    structure: Path | None, *, smiles: str | None, index: int, charge: int | None
) -> tuple[ase.Atoms, Topology | None]:
    """Return the structure that the options name, and its chemistry where they say it.

    Raises
    ------
    InputError
        If both a file and a SMILES are given, or neither, or they cannot be read.
    TopologyError
        If the SMILES cannot be read.
    """
    if (structure is None) == (smiles is None):
        raise InputError("name one structure: either a file, or --smiles SMILES")
    if smiles is not None:
        atoms, topology = structure_from_smiles(smiles)
        if charge not in (None, topology.charge):
            raise InputError(
                f"--charge {charge}, but the charges of {smiles!r} sum to {topology.charge}; "
                "write the charges into the SMILES"
            )
        return atoms, topology
    assert structure is not None
    return read_structure(structure, index=index, charge=charge), None
