"""What `md` does with several models: the options, and the models that they name."""

from pathlib import Path

import click

from se3set_mlip.commands.options import MODEL, Command
from se3set_mlip.errors import ConfigError
from se3set_mlip.export.loading import load
from se3set_mlip.potential.committee import Committee
from se3set_mlip.potential.potential import Potential


def committee_options(command: Command) -> Command:
    """Add ``--committee``, ``--warn-above`` and ``--stop-above``."""
    command = click.option(
        "--stop-above",
        type=click.FloatRange(min=0.0, min_open=True),
        help="End the run where the models' forces on an atom have a larger spread, in eV/Å.",
    )(command)
    command = click.option(
        "--warn-above",
        type=click.FloatRange(min=0.0, min_open=True),
        help="Warn each time that the spread rises above this, in eV/Å.",
    )(command)
    return click.option(
        "--committee",
        type=MODEL,
        multiple=True,
        help="One more model, trained alike with another seed; may be given again.",
    )(command)


def load_potential(
    model: Path, committee: tuple[Path, ...], *, device: str, dtype: str
) -> Potential:
    """Load one model, or all models of a committee.

    Raises
    ------
    ConfigError
        If the models do not go together, or one is there twice.
    ArtifactError
        If one cannot be read.
    """
    paths = [path.resolve() for path in (model, *committee)]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"{twice.name} is in the committee twice, and agrees with itself; give another model"
        )
    members = [load(path, device=device, dtype=dtype) for path in (model, *committee)]
    return Committee(members) if committee else members[0]
