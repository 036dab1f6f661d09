"""`se3set check`: whether a potential may be trusted with dynamics of a structure.

A calculator of another package is named by where it comes from, ``module:callable``, with the
arguments of the call as a JSON object.
"""

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from se3set_mlip.commands.options import (
    NEW_FILE,
    precision_options,
    read_atoms,
    structure_options,
)
from se3set_mlip.errors import InputError
from se3set_mlip.export.loading import load
from se3set_mlip.shipped import find_model, is_model
from se3set_mlip.testing.plots import draw_report
from se3set_mlip.testing.report import Report, format_table, versions
from se3set_mlip.testing.run import run_report


@click.command("check")
@click.argument("model")
@structure_options
@click.option(
    "--against",
    multiple=True,
    metavar="MODULE:CALLABLE",
    help="Check this ASE calculator too, e.g. ase.calculators.lj:LennardJones; repeatable.",
)
@click.option(
    "--against-arguments",
    multiple=True,
    metavar="JSON",
    help='Arguments of the --against at the same place, e.g. \'{"method": "GFN2-xTB"}\'.',
)
@click.option(
    "--model-arguments", metavar="JSON", default="{}", help="Arguments if MODEL is a callable."
)
@click.option("--full", is_flag=True, help="All checks at length, with the drift over 20 ps.")
@click.option(
    "--stability-ps",
    type=click.FloatRange(min=0.0, min_open=True),
    help="Length of the thermostatted runs at each temperature. [default: 0.1, with --full 100]",
)
@click.option("--seed", default=0, show_default=True, help="Of all random numbers.")
@click.option("--json", "json_file", type=NEW_FILE, help="Write all results here.")
@click.option("--plot", type=NEW_FILE, help="Draw a page of pictures of MODEL (.png, .pdf).")
@precision_options
@click.pass_context
def check_command(
    context: click.Context,
    /,
    *,
    model: str,
    against: tuple[str, ...],
    against_arguments: tuple[str, ...],
    model_arguments: str,
    full: bool,
    stability_ps: float | None,
    seed: int,
    json_file: Path | None,
    plot: Path | None,
    device: str,
    dtype: str,
    **structure: Any,
) -> None:
    """Check whether MODEL may be trusted with dynamics of STRUCTURE.

    MODEL is a model file, the name of a shipped model, or an ASE calculator as MODULE:CALLABLE.
    STRUCTURE (a file, or --smiles) may be left out where an .xyz of the same name lies beside the
    model file. Exits with 1 if a check of MODEL fails.
    """
    if len(against_arguments) > len(against):
        raise InputError(
            f"{len(against_arguments)} --against-arguments for {len(against)} --against; give at "
            "most one for each, in the same order"
        )
    if is_model(model):
        model = str(find_model(model))
    subjects = [(_name(model), _subject(model, model_arguments, device=device, dtype=dtype))]
    path = structure.pop("structure") or _beside(model, smiles=structure["smiles"])
    atoms, topology = read_atoms(path, **structure)
    for k, target in enumerate(against):
        arguments = against_arguments[k] if k < len(against_arguments) else "{}"
        subjects.append((_name(target), _calculator(target, arguments)))
    reports = [
        run_report(
            subject,
            atoms,
            topology=topology,
            quick=not full,
            stability_ps=stability_ps,
            seed=seed,
            name=name,
        )
        for name, subject in subjects
    ]
    click.echo(format_table(reports))
    if json_file is not None:
        _write_json(reports, json_file)
    if plot is not None:
        draw_report(reports[0], plot)
    if not reports[0].passed:
        context.exit(1)


def _beside(model: str, *, smiles: str | None) -> Path | None:
    """Return the structure that lies beside a model file, unless one is named otherwise."""
    if smiles is not None:
        return None
    path = Path(model).with_suffix(".xyz")
    if Path(model).is_file() and path.is_file():
        return path
    raise InputError(
        f"no structure is named and there is no {path.name} beside {model}; name a file, or give "
        "--smiles SMILES"
    )


def _name(target: str) -> str:
    """Return a short name of a model file or a callable."""
    return Path(target).stem if Path(target).is_file() else target.rpartition(":")[2]


def _subject(target: str, arguments: str, *, device: str, dtype: str) -> Any:
    """Return the potential of a file, or the calculator that a callable makes."""
    if Path(target).is_file():
        return load(Path(target), device=device, dtype=dtype)
    if ":" not in target:
        raise InputError(
            f"model file {target!r} does not exist; correct the path, or name an ASE calculator as "
            "module:callable"
        )
    return _calculator(target, arguments)


def _calculator(target: str, arguments: str) -> Any:
    """Call what ``module:callable`` names with arguments from JSON."""
    module_name, _, name = target.partition(":")
    if not module_name or not name:
        raise InputError(
            f"calculator {target!r} must have the form module:callable, such as "
            "ase.calculators.lj:LennardJones"
        )
    try:
        values = json.loads(arguments)
    except json.JSONDecodeError as error:
        raise InputError(f"arguments {arguments!r} are no JSON ({error})") from error
    if not isinstance(values, dict):
        raise InputError(f'arguments {arguments!r} must be a JSON object, {{"name": value}}')
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(
            f"module {module_name!r} of {target!r} cannot be imported ({error}); install it in "
            "this environment, or correct the name"
        ) from error
    factory = getattr(module, name, None)
    if not callable(factory):
        raise InputError(f"module {module_name!r} has no callable {name!r}; correct the name")
    try:
        return factory(**values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{target} with arguments {arguments} raises: {error}") from error


def _write_json(reports: Sequence[Report], path: Path) -> None:
    """Write all results, and the versions of what computed them."""
    content = {"versions": versions(), "reports": [report.to_dict() for report in reports]}
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
