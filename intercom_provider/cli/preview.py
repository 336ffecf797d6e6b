"""The command ``preview``: what a batch would send, before it does. Nothing is sent, and nothing is written."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

from intercom_provider.api.errors import InvalidInputError, Problem
from intercom_provider.cli.connection import open_hook, open_ledger
from intercom_provider.cli.preview_result import Preview, Shown
from intercom_provider.cli.reconcile import read_defaults
from intercom_provider.ledger.ledger import Attempt
from intercom_provider.ledger.repeat_after import read_repeat_after
from intercom_provider.sending.batch.input import BatchInput
from intercom_provider.sending.batch.screening import Screening
from intercom_provider.sending.batch.suppression import Suppression
from intercom_provider.sending.batch.window import read_batch_window
from intercom_provider.sending.options import SendOptions

if TYPE_CHECKING:
    import argparse
    from typing import TextIO

    from intercom_provider.ledger.repeat_after import RepeatAfter
    from intercom_provider.ledger.sql import SqlLedger
    from intercom_provider.sending.batch.input import Item
    from intercom_provider.sending.batch.window import BatchWindow

_NOT_A_WINDOW: Final = (
    "must be two different local times, such as 09:00-20:00: when the window opens, and when it closes"
)


def run(options: argparse.Namespace, out: TextIO) -> int:
    """
    Check the whole input as the batch would, and show messages as they would go out.

    :param options: As the batch's fields, ``line`` or ``sample``, and ``output``.
    :param out: The standard output.
    :return: The exit status: 0; 1 when rows are invalid.
    :raises InvalidInputError: When the input as a whole is wrong.
    """
    settings = open_hook(options.conn_id).settings
    ledger = _open_campaign(options)
    salt = "" if ledger is None else ledger.salt
    defaults = read_defaults(options.defaults)
    suppression = Suppression(options.suppress)
    screening = Screening(SendOptions(campaign=options.campaign), ledger)
    window = _read_window(options)
    preview = Preview()
    wanted: list[tuple[Item, str | None]] = []
    with BatchInput(
        options.messages,
        defaults,
        duplicates="skip",
        salt=salt,
        settings=settings,
        invalid="reject",
        needs_timezone=window is not None and window.needs_timezone,
    ) as batch:
        for item in screening.looked_up(batch.preview()):
            name, reason = _judge(item, screening, suppression)
            is_sample = options.line is None and name == "to_send" and len(wanted) < options.sample
            opens_at = None if window is None or name != "to_send" else window.opens_at(item.timezone)
            if opens_at is None:
                preview.add(item.number, name, reason)
            else:
                reason = preview.hold(item.number, opens_at, item.timezone or options.timezone.strip())
            if is_sample or item.number == options.line:
                wanted.append((item, reason))
        preview.numbered_by = batch.numbered_by
    if options.line is not None and not wanted:
        raise InvalidInputError.of("--line", f"the input has no {preview.numbered_by} {options.line}")
    for item, reason in wanted:
        wire = None if item.message is None else item.message.wire(settings.admin_id)
        preview.shown.append(Shown(item.number, wire, reason))
    _write(preview, options.output, out)
    if invalid := preview.counts["invalid"]:
        # The standard output may be a file.
        sys.stderr.write(f"{invalid:,} of {preview.counts['total']:,} rows are invalid\n")
    return 1 if invalid else 0


def _read_window(options: argparse.Namespace) -> BatchWindow | None:
    if options.send_window is None:
        return None
    try:
        return read_batch_window(options.send_window.split("-"), options.timezone)
    except InvalidInputError as error:
        if error.problems[0].field == "timezone":
            raise _of_option(error) from None
        raise InvalidInputError.of("--send-window", _NOT_A_WINDOW) from None


def _read_repeat_after(options: argparse.Namespace) -> RepeatAfter | None:
    if options.repeat_after is not None and options.campaign is None:
        raise InvalidInputError.of("--repeat-after", "needs --campaign, within which a message is known")
    try:
        return read_repeat_after(options.repeat_after, options.timezone)
    except InvalidInputError as error:
        raise _of_option(error) from None


def _of_option(error: InvalidInputError) -> InvalidInputError:
    """Name the option in place of the field."""
    return InvalidInputError(Problem(f"--{each.field.replace('_', '-')}", each.text) for each in error.problems)


def _open_campaign(options: argparse.Namespace) -> SqlLedger | None:
    """Open the ledger of a campaign to read it; None without a campaign, and where no table has been made yet."""
    repeat_after = _read_repeat_after(options)
    if options.campaign is None:
        return None
    import sqlalchemy as sa

    from intercom_provider.ledger.database_thread import Transactions
    from intercom_provider.ledger.sql import Owner, SqlLedger

    database = open_ledger(options.ledger_conn_id, "--ledger-conn-id")
    name = database.tables.messages.name
    if not Transactions(database).call(lambda: sa.inspect(database.engine).has_table(name)):
        return None
    ledger = SqlLedger(
        database,
        Owner("", "", "", -1, 0, 0),
        Attempt(),
        campaign=options.campaign.strip(),
        repeat_after=repeat_after,
    )
    ledger.begin_try(read_only=True)
    return ledger


def _judge(item: Item, screening: Screening, suppression: Suppression) -> tuple[str, str | None]:
    """Return what would become of a message, in the order in which a batch decides it, and why."""
    if item.duplicate_of is not None:
        return "duplicates", f"the same as index {item.duplicate_of}"
    if (found := screening.find_earlier(item)) is not None:
        return "already_sent" if found.state == "sent" else "claimed", str(found)
    if item.message is None:
        return "invalid", item.refusal
    reason = suppression.reason(item.message)
    return ("to_send", None) if reason is None else ("suppressed", reason)


def _write(preview: Preview, output: str, out: TextIO) -> None:
    if output == "json":
        out.write(json.dumps(preview.values(), ensure_ascii=False) + "\n")
        return
    if output == "html":
        from intercom_provider.cli.preview_page import as_lines
    else:
        from intercom_provider.cli.preview_text import as_lines
    out.writelines(f"{line}\n" for line in as_lines(preview))
