"""``python -m intercom_provider``: the command line for Airflow before 3.2, which has none for providers."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from intercom_provider import __version__
from intercom_provider.cli import COMMANDS, SUMMARY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from intercom_provider.cli.command import Command


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run a command.

    :param arguments: The command line; None (default) for the process's own.
    :return: The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m intercom_provider", description=SUMMARY)
    parser.add_argument("--version", action="version", version=__version__)
    _add_commands(parser, COMMANDS)
    options = parser.parse_args(arguments)
    return options.command.run(options)  # type: ignore[no-any-return]  # a namespace has no types


def _add_commands(parser: argparse.ArgumentParser, commands: Sequence[Command]) -> None:
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in commands:
        subparser = subparsers.add_parser(
            command.name,
            help=command.help,
            description=command.description,
            epilog=command.epilog(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if command.commands:
            _add_commands(subparser, command.commands)
        else:
            command.add_options(subparser.add_argument)
            subparser.set_defaults(command=command)


if __name__ == "__main__":
    sys.exit(main())
