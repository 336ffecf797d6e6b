"""
The command line: its commands and their options.

Airflow 3.2 and later import this module for each of their own commands. The code of a command is therefore imported
only when the command runs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.cli.command import Add, Command

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand

SUMMARY: Final = "Intercom: run a local sandbox, check a connection, send a message, show deliveries and the ledger"


def _connection(add: Add) -> None:
    add(
        "--conn-id",
        default="intercom_default",
        metavar="ID",
        help="the connection, from the environment, a secrets backend or Airflow's database (%(default)s)",
    )


def _output(add: Add) -> None:
    add(
        "--output",
        metavar="FILE",
        help="write one JSON line per message to a path, an object-storage URI, or - for the standard output",
    )


def _sandbox(add: Add) -> None:
    from intercom_provider.sandbox.__main__ import add_options

    add_options(add)


def _magic_table() -> str:
    from intercom_provider.sandbox.__main__ import magic_table

    return magic_table()


def _check(add: Add) -> None:
    _connection(add)
    add(
        "--probe-send",
        action="store_true",
        help="also check whether the token may send: posts a message without sender, recipient and body, which "
        "Intercom refuses, so that nothing is sent",
    )


def _send(add: Add) -> None:
    _connection(add)
    add(
        "--type",
        choices=("in_app", "email", "whatsapp", "sms"),
        help="the type of the message; required without --messages",
    )
    add(
        "--to",
        required=True,
        metavar="RECIPIENT",
        help="one contact: a phone (+44...), user:ID, lead:ID, or JSON as in the operator's field",
    )
    add("--body", metavar="TEXT", help="the text; not for WhatsApp")
    add(
        "--body-format",
        choices=("html", "text"),
        default="html",
        help="html, or text for plain text, which is escaped (%(default)s)",
    )
    add("--subject", metavar="TEXT", help="the subject; email only")
    add("--template", metavar="NAME", help="WhatsApp: the template's name; email: plain or personal")
    add("--components", metavar="JSON", help="the parameters of a WhatsApp template, as in Meta's Cloud API")
    add("--locale", metavar="CODE", help="the language of a WhatsApp template")
    add("--from-admin-id", metavar="ID", help="the id of the sending admin (the connection's admin_id)")
    add("--key", metavar="KEY", help="your own id for the message, repeated in the receipt")
    add("--messages", metavar="FILE", help="in place of these: the messages of a batch, as JSON Lines, by path or URI")
    add("--line", type=int, metavar="NUMBER", help="with --messages: the line whose message is sent to RECIPIENT")
    add("--defaults", metavar="JSON", help="with --messages: the batch's defaults, or a file with them")
    add("--yes", action="store_true", help="send without asking first")


def _preview(add: Add) -> None:
    add(
        "messages",
        metavar="MESSAGES",
        help="the messages, as a batch takes them: JSON Lines, by path or URI, or a list",
    )
    add("--defaults", metavar="JSON", help="the batch's defaults, or a file with them")
    add("--line", type=int, metavar="NUMBER", help="show the message of this line")
    add("--sample", type=int, default=5, metavar="NUMBER", help="show so many messages (%(default)s)")
    add("--campaign", metavar="NAME", help="count what the ledger knows as sent within this campaign")
    add("--repeat-after", metavar="TIME", help="the batch's repeat_after, such as 7d: who may have the message again")
    add("--suppress", metavar="FILE", help="the batch's list of those who must not be messaged, by path or URI")
    add("--send-window", metavar="TIMES", help="the batch's send_window, as 09:00-20:00: count what goes out when")
    add(
        "--timezone",
        metavar="ZONE",
        help="the batch's timezone, such as Europe/Dublin: of messages that have none, and of whole days (UTC)",
    )
    add("--output", choices=("text", "json", "html"), default="text", help="text, json or an html page (%(default)s)")
    _ledger(add, "--ledger-conn-id")
    _connection(add)


def _status(add: Add) -> None:
    _connection(add)
    add("--ruleset-id", metavar="ID", help="the id of a WhatsApp Outbound message made in Intercom")
    add(
        "--whatsapp-message-id",
        action="extend",
        nargs="+",
        metavar="WAMID",
        help="the ids of single WhatsApp messages, at most 1,000",
    )
    add("--wait", action="store_true", help="poll until all messages have arrived or failed")
    add(
        "--wait-for",
        choices=("delivered", "read"),
        default="delivered",
        help="the status that counts as arrived; not every message is ever read (%(default)s)",
    )
    add("--expected-count", type=int, metavar="NUMBER", help="the number of messages that the ruleset will have")
    add(
        "--settle-for",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="without --expected-count: how long the ruleset must not have grown (%(default)s)",
    )
    add("--poll", type=float, default=10.0, metavar="SECONDS", help="time between two polls (%(default)s)")
    add(
        "--timeout",
        type=float,
        default=86_400.0,
        metavar="SECONDS",
        help="time after which the wait fails (%(default)s)",
    )
    _output(add)


def _unconfirmed(add: Add) -> None:
    add(
        "results_path",
        nargs="?",
        metavar="RESULTS_PATH",
        help="the folder of the batch's results, as its XCom results_path names it: DAG_ID/RUN_ID/TASK_ID/MAP_INDEX; "
        "or the name of a campaign in the ledger",
    )
    add("--campaign", metavar="NAME", help="in place of a folder: a campaign, over all runs, from the ledger")
    _ledger(add, "--ledger-conn-id")
    add("--try", type=int, metavar="NUMBER", dest="try_number", help="the number of the task's try (the last)")
    add(
        "--messages",
        metavar="FILE",
        help="search Intercom for those that were sent: the messages that the batch had, as JSON Lines, by path or URI",
    )
    add("--defaults", metavar="JSON", help="with --messages: the batch's defaults, or a file with them")
    add("--since", metavar="TIME", help="with --messages: when the batch began, as ISO text or epoch seconds")
    _connection(add)
    _output(add)


def _results(add: Add) -> None:
    add(
        "path",
        metavar="PATH",
        help="the folder that the batch's XCom results_path names, or a sensor's file; local, or on object storage",
    )
    add("--output", choices=("csv", "jsonl"), default="csv", help="csv, or jsonl for JSON Lines (%(default)s)")
    add(
        "--outcome",
        action="extend",
        nargs="+",
        metavar="OUTCOME",
        dest="outcomes",
        help="only messages with these outcomes; of a sensor's file: with these statuses",
    )
    add("--try", type=int, metavar="NUMBER", dest="try_number", help="the number of the task's try (the last)")
    add("--allow-incomplete", action="store_true", help="also read a try that was killed or is still running")


def _ledger(add: Add, option: str = "--conn-id") -> None:
    add(
        option,
        metavar="ID",
        help="the connection of the ledger's database ([intercom] ledger_conn_id in Airflow's configuration)",
    )


def _ledger_init(add: Add) -> None:
    _ledger(add)
    add(
        "--print",
        action="store_true",
        dest="print_only",
        help="only print the SQL, for those who create tables by hand",
    )


def _ledger_show(add: Add) -> None:
    add("campaign", nargs="?", metavar="CAMPAIGN", help="a campaign, by outcome, status, day and run (all, counted)")
    _ledger(add)
    add("--output", choices=("text", "json"), default="text", help="text for people, or json (%(default)s)")


def _ledger_mark(add: Add) -> None:
    add("campaign", metavar="CAMPAIGN", help="the campaign")
    add(
        "messages",
        metavar="MESSAGES",
        help="the messages, as a batch takes them: JSON Lines, by path or URI, or a list",
    )
    add("--defaults", metavar="JSON", help="the batch's defaults, or a file with them")
    _ledger(add)
    add("--yes", action="store_true", help="write without asking first")


def _ledger_forget(add: Add) -> None:
    add("campaign", nargs="?", metavar="CAMPAIGN", help="the campaign (all)")
    add("--key", metavar="KEY", help="your own id for the person's message")
    add(
        "--to",
        metavar="RECIPIENT",
        help="for messages without a key: a phone (+44...), user:ID, lead:ID, or JSON as in the operator's field",
    )
    _ledger(add)
    add("--yes", action="store_true", help="delete without asking first")


_LEDGER_COMMANDS: Final = (
    Command(
        name="init",
        help="create the ledger's tables, or bring them up to date",
        description="Creates the tables of the ledger where they are missing, and brings those of an earlier release "
        "up to date. Senders create missing tables themselves, where their database user may.",
        module="intercom_provider.cli.ledger.init",
        add_options=_ledger_init,
    ),
    Command(
        name="show",
        help="count the messages of all campaigns, or of one",
        description="Counts the attempts of all campaigns by outcome, or those of one campaign also by delivery "
        "status, day and run.",
        module="intercom_provider.cli.ledger.show",
        add_options=_ledger_show,
    ),
    Command(
        name="mark",
        help="enter who had a campaign's message from elsewhere",
        description="Enters messages of a campaign as sent, so that no run sends them: for people who had the message "
        "before, from a script. Asks before it writes.",
        module="intercom_provider.cli.ledger.mark",
        add_options=_ledger_mark,
    ),
    Command(
        name="forget",
        help="take one person's rows out of the ledger",
        description="Deletes the rows of one person, who may then be messaged again. Asks before it deletes.",
        module="intercom_provider.cli.ledger.forget",
        add_options=_ledger_forget,
    ),
)

COMMANDS: Final = (
    Command(
        name="sandbox",
        help="run a local Intercom",
        description="Runs a local Intercom that messages nobody, until Ctrl+C.",
        module="intercom_provider.sandbox.__main__",
        add_options=_sandbox,
        epilog=_magic_table,
    ),
    Command(
        name="check",
        help="show the owner and the permissions of a connection's token",
        description="Shows the workspace and its region, the token's admin, and what the token may do.",
        module="intercom_provider.cli.check",
        add_options=_check,
    ),
    Command(
        name="send",
        help="send one message, after a confirmation",
        description="Asks for a confirmation, sends one message and prints its receipt as JSON. Keeps no ledger: run "
        "twice, it sends twice.",
        module="intercom_provider.cli.send",
        add_options=_send,
    ),
    Command(
        name="preview",
        help="show what a batch would send",
        description="Checks all messages as a batch would, counts what would be sent, lists every invalid row, and "
        "shows messages as they go to Intercom. Sends nothing, and writes nothing to a ledger.",
        module="intercom_provider.cli.preview",
        add_options=_preview,
    ),
    Command(
        name="status",
        help="show the statuses of WhatsApp messages",
        description="Counts the WhatsApp messages of a ruleset, or single ones, by status.",
        module="intercom_provider.cli.status",
        add_options=_status,
    ),
    Command(
        name="results",
        help="print the results of a batch or a sensor as CSV or JSON Lines",
        description="Prints the results of a batch, or those that a sensor wrote, message by message, as CSV or JSON "
        "Lines.",
        module="intercom_provider.cli.results",
        add_options=_results,
    ),
    Command(
        name="unconfirmed",
        help="list the messages of a batch that may have been sent or not",
        description="Lists the messages of a batch, or of a campaign over all runs, that may have been sent or not; "
        "with --messages, finds those that contacts have answered.",
        module="intercom_provider.cli.unconfirmed",
        add_options=_unconfirmed,
    ),
    Command(
        name="ledger",
        help="show and correct the ledger of what was sent",
        description="Shows and corrects the ledger in a table of yours.",
        commands=_LEDGER_COMMANDS,
    ),
)


def get_commands() -> list[CLICommand]:
    """
    Return the command ``airflow intercom`` for Airflow 3.2 and later.

    :return: One group with all commands.
    """
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    def as_action(command: Command) -> ActionCommand:
        options: list[Arg] = []

        def add(*flags: str, **settings: Any) -> None:
            options.append(Arg(flags, **settings))  # type: ignore[no-untyped-call]  # Airflow has no annotation

        command.add_options(add)
        # Airflow ignores the return value of a command.
        return ActionCommand(
            name=command.name,
            help=command.help,
            description=command.description,
            epilog=command.epilog(),
            func=lambda parsed: sys.exit(command.run(parsed)),
            args=options,
        )

    def as_airflow_has_it(command: Command) -> CLICommand:
        if not command.commands:
            return as_action(command)
        return GroupCommand(
            name=command.name,
            help=command.help,
            description=command.description,
            subcommands=[as_action(each) for each in command.commands],
        )

    return [GroupCommand(name="intercom", help=SUMMARY, subcommands=[as_airflow_has_it(each) for each in COMMANDS])]
