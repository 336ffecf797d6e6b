"""
The command line: which commands there are, and their options.

Airflow imports it for each of its own commands (3.2 and later), so what a command does is imported when it runs.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    import argparse

    from airflow.cli.cli_config import CLICommand

Add: TypeAlias = Callable[..., object]
"""Takes an option: what ``ArgumentParser.add_argument`` takes."""

SUMMARY: Final = "Intercom: a local sandbox, a look at a connection, single messages and deliveries"

_INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """
    A command.

    :param name: Its name.
    :param help: A line on what it does.
    :param description: More on it.
    :param module: Where its ``run(options, out)`` is, which gives the exit status.
    :param add_options: Names its options.
    :param epilog: Tells what else stands in its help.
    """

    name: str
    help: str
    description: str
    module: str
    add_options: Callable[[Add], None]
    epilog: Callable[[], str | None] = lambda: None

    def run(self, options: argparse.Namespace) -> int:
        """
        Run it; what goes wrong is told in a line, and whatever is logged goes to the standard error.

        :param options: Its options.
        :return: The exit status.
        """
        from intercom_provider.api.errors import IntercomError  # noqa: PLC0415 - not for each of Airflow's own commands

        out = sys.stdout
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is out:
                handler.setStream(sys.stderr)
        try:
            # Airflow logs to what is the standard output when a logger is made; others read what a command prints.
            with redirect_stdout(sys.stderr):
                return int(import_module(self.module).run(options, out))
        except (IntercomError, OSError) as error:
            sys.stderr.write(f"{error}\n")
            return 1
        except KeyboardInterrupt:
            return _INTERRUPTED


def _connection(add: Add) -> None:
    add(
        "--conn-id",
        default="intercom_default",
        metavar="ID",
        help="the connection, as Airflow finds it: environment, secrets backend, database (%(default)s)",
    )


def _output(add: Add) -> None:
    add(
        "--output",
        metavar="FILE",
        help="write one JSON line a message: to a path, an object-storage URI, or - for the standard output",
    )


def _sandbox(add: Add) -> None:
    from intercom_provider.sandbox.__main__ import add_options  # noqa: PLC0415 - only where it is wanted

    add_options(add)


def _magic_table() -> str:
    from intercom_provider.sandbox.__main__ import magic_table  # noqa: PLC0415 - only where it is wanted

    return magic_table()


def _check(add: Add) -> None:
    _connection(add)
    add(
        "--probe-send",
        action="store_true",
        help="also ask for a message without sender, recipient and body: what Intercom answers tells whether the "
        "token may send, and nothing can come of it",
    )


def _send(add: Add) -> None:
    _connection(add)
    add("--type", required=True, choices=("in_app", "email", "whatsapp", "sms"), help="the type of the message")
    add(
        "--to",
        required=True,
        metavar="RECIPIENT",
        help="one contact: a phone (+44...), user:ID, lead:ID, or JSON as the operator's field takes it",
    )
    add("--body", metavar="TEXT", help="the text; not for WhatsApp")
    add(
        "--body-format",
        choices=("html", "text"),
        default="html",
        help="text: the body is plain text and is escaped (%(default)s)",
    )
    add("--subject", metavar="TEXT", help="the subject; email only")
    add("--template", metavar="NAME", help="WhatsApp: the template's name; email: plain or personal")
    add("--components", metavar="JSON", help="the parameters of a WhatsApp template, as in Meta's Cloud API")
    add("--locale", metavar="CODE", help="the language of a WhatsApp template")
    add("--from-admin-id", metavar="ID", help="the sender (the connection's admin_id)")
    add("--key", metavar="KEY", help="your own id for the message, echoed in the receipt")
    add("--yes", action="store_true", help="do not ask before it is sent")


def _status(add: Add) -> None:
    _connection(add)
    add("--ruleset-id", metavar="ID", help="a WhatsApp Outbound message made in Intercom")
    add("--whatsapp-message-id", nargs="+", metavar="WAMID", help="single WhatsApp messages, at most 1,000")
    add("--wait", action="store_true", help="look again until all have arrived or failed")
    add(
        "--wait-for",
        choices=("delivered", "read"),
        default="delivered",
        help="what a message has to reach; read may never come (%(default)s)",
    )
    add("--expected-count", type=int, metavar="NUMBER", help="how many messages a ruleset will have")
    add(
        "--settle-for",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="how long a ruleset of unknown size must not have grown (%(default)s)",
    )
    add("--poll", type=float, default=10.0, metavar="SECONDS", help="time between two looks (%(default)s)")
    add("--timeout", type=float, default=86_400.0, metavar="SECONDS", help="give up the wait after (%(default)s)")
    _output(add)


def _unconfirmed(add: Add) -> None:
    add(
        "results_path",
        metavar="RESULTS_PATH",
        help="the folder of the batch's results, as its XCom results_path names it: DAG_ID/RUN_ID/TASK_ID/MAP_INDEX",
    )
    add("--try", type=int, metavar="NUMBER", dest="try_number", help="the try of the task (the last)")
    add(
        "--messages",
        metavar="FILE",
        help="search Intercom for those that were sent: the messages that the batch had, as JSON Lines, by path or URI",
    )
    add("--defaults", metavar="JSON", help="the defaults that the batch had, or a file of them; with --messages")
    add("--since", metavar="TIME", help="when the batch began, as ISO text or epoch seconds; with --messages")
    _connection(add)
    _output(add)


COMMANDS: Final = (
    Command(
        name="sandbox",
        help="run a local Intercom",
        description="Runs a local Intercom that sends nothing to anybody, until Ctrl+C.",
        module="intercom_provider.sandbox.__main__",
        add_options=_sandbox,
        epilog=_magic_table,
    ),
    Command(
        name="check",
        help="tell whose token a connection has, and what it may do",
        description="Tells the workspace, its region, the token's admin, and what the token may do.",
        module="intercom_provider.cli.check",
        add_options=_check,
    ),
    Command(
        name="send",
        help="send one message, after a question",
        description="Sends one message and prints its receipt as JSON. Asks first. Keeps no ledger: run twice, it "
        "sends twice.",
        module="intercom_provider.cli.send",
        add_options=_send,
    ),
    Command(
        name="status",
        help="tell how far WhatsApp messages have come",
        description="Tells how far the WhatsApp messages of a ruleset, or single ones, have come.",
        module="intercom_provider.cli.status",
        add_options=_status,
    ),
    Command(
        name="unconfirmed",
        help="list the messages of a batch that may have been sent or not",
        description="Lists the messages of a batch that may have been sent or not; with --messages, "
        "finds those that contacts have answered.",
        module="intercom_provider.cli.unconfirmed",
        add_options=_unconfirmed,
    ),
)


def get_commands() -> list[CLICommand]:
    """
    Give Airflow its command ``airflow intercom`` (3.2 and later).

    :return: One group with the commands.
    """
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand  # noqa: PLC0415 - who asks has it already

    def offer(command: Command) -> ActionCommand:
        options: list[Arg] = []

        def add(*flags: str, **settings: Any) -> None:
            options.append(Arg(flags, **settings))  # type: ignore[no-untyped-call]  # Airflow has no annotation

        command.add_options(add)
        # Airflow takes no notice of what a command returns.
        return ActionCommand(
            name=command.name,
            help=command.help,
            description=command.description,
            epilog=command.epilog(),
            func=lambda given: sys.exit(command.run(given)),
            args=options,
        )

    return [GroupCommand(name="intercom", help=SUMMARY, subcommands=[offer(command) for command in COMMANDS])]
