"""What `relax` and `md` do when bonds change: their options, and the changes as they print them."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from se3set_mlip.commands.options import Command
from se3set_mlip.engines.bond_policy import (
    CHECK_INTERVAL,
    ON_BOND_CHANGE,
    TopologyChange,
    TopologyChangeWarning,
)


def bond_options(command: Command) -> Command:
    """Add ``--on-bond-change`` and ``--check-interval``."""
    command = click.option(
        "--check-interval",
        type=click.IntRange(min=1),
        default=CHECK_INTERVAL,
        show_default=True,
        help="Energies and forces from one look at the bonds to the next, to reperceive them.",
    )(command)
    return click.option(
        "--on-bond-change",
        type=click.Choice(ON_BOND_CHANGE),
        default=ON_BOND_CHANGE[0],
        show_default=True,
        help="Keep the fragments and warn of a broken bond, stop with an error, or find the bonds "
        "anew, where the energy jumps.",
    )(command)


@contextmanager
def printed_changes(
    echo: Callable[[str], Any],
) -> Iterator[Callable[[tuple[TopologyChange, ...]], None]]:
    """Give a function that prints the changes which it has not seen, in place of their warnings."""
    n_printed = 0

    def show(changes: tuple[TopologyChange, ...]) -> None:
        nonlocal n_printed
        for change in changes[n_printed:]:
            echo(f"the topology changed, {change.describe()}")
        n_printed = len(changes)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TopologyChangeWarning)
        yield show
