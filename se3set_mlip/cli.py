"""`se3set`: the command line. Each command calls one function of the package.

An error of ours prints one line and exits with 2, as wrong usage does; any other error is a defect
and shows its traceback.
"""

from typing import IO, Any

import click

from se3set_mlip import __version__
from se3set_mlip.commands.check import check_command
from se3set_mlip.commands.demo import demo_command
from se3set_mlip.commands.export import export_command
from se3set_mlip.commands.fragments import fragments_command
from se3set_mlip.commands.info import info_command
from se3set_mlip.commands.label import label_command
from se3set_mlip.commands.simulate import md_command, relax_command
from se3set_mlip.commands.training import evaluate_command, train_command
from se3set_mlip.errors import Se3SetError


class _OneLineError(click.ClickException):
    """An error of the package as click prints it."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message on one line of standard error."""
        click.echo("Error: " + " ".join(self.message.split()), file=file, err=True)


class _Group(click.Group):
    """A group whose commands may raise errors of the package."""

    def invoke(self, context: click.Context) -> Any:
        """Run a command; an error of ours becomes one line."""
        try:
            return super().invoke(context)
        except Se3SetError as error:
            raise _OneLineError(str(error)) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="se3set")
def main() -> None:
    """SE3Set potentials: label, train, examine, relax, run dynamics, export."""


for command in (
    demo_command,
    label_command,
    train_command,
    evaluate_command,
    relax_command,
    md_command,
    export_command,
    info_command,
    fragments_command,
    check_command,
):
    main.add_command(command)
