"""One command of the command line: its name, its options and its run."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    import argparse
    from typing import TextIO

Add: TypeAlias = Callable[..., object]
"""Adds an option, with the arguments of ``ArgumentParser.add_argument``."""

_EXIT_INTERRUPTED: Final = 130
_EXIT_BROKEN_PIPE: Final = 141


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """
    A command of the command line.

    :param name: Its name.
    :param help: One line for the list of commands.
    :param description: The first paragraph of its own help.
    :param module: The module of its ``run(options, out)``, which returns the exit status; "" for a group of commands.
    :param add_options: Adds its options to a parser.
    :param epilog: Returns the last paragraph of its help; None for no such paragraph.
    :param commands: The commands of the group; none for a command.
    """

    name: str
    help: str
    description: str
    module: str = ""
    add_options: Callable[[Add], None] = lambda _: None
    epilog: Callable[[], str | None] = lambda: None
    commands: tuple[Command, ...] = ()

    def run(self, options: argparse.Namespace) -> int:
        """
        Run the command. An error is printed as one line, and log lines go to the standard error.

        :param options: Its options.
        :return: The exit status.
        """
        from intercom_provider.api.errors import IntercomError

        out = sys.stdout
        if isinstance(out, io.TextIOWrapper):
            # Results are for other programs, too, so their encoding must not depend on who prints them.
            out.reconfigure(encoding="utf-8", errors="backslashreplace")
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is out:
                handler.setStream(sys.stderr)
        try:
            # Airflow's loggers write to the standard output that they find when they are made, but only the result
            # may go there.
            with redirect_stdout(sys.stderr):
                status = int(import_module(self.module).run(options, out))
            # What Python could not write at its end would be no error of the command.
            out.flush()
        except BrokenPipeError:
            # The reader has seen enough, as `head` has.
            _discard_rest(out)
            return _EXIT_BROKEN_PIPE
        except (IntercomError, OSError) as error:
            sys.stderr.write(f"{error}\n")
            _discard_rest(out)
            return 1
        except KeyboardInterrupt:
            return _EXIT_INTERRUPTED
        return status


def _discard_rest(out: TextIO) -> None:
    """Keep Python from writing at its end what cannot be written, which it would report once more."""
    try:
        out.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, out.fileno())
        os.close(nowhere)
