"""``unconfirmed`` for a campaign: what the ledger does not know of its messages, over all runs."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Final

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.cli.connection import open_hook, open_ledger
from intercom_provider.cli.output import STDOUT, write_lines
from intercom_provider.cli.reconcile import describe_match, match_conversations, read_defaults, read_since
from intercom_provider.ledger.database_thread import Transactions
from intercom_provider.ledger.overview import read_open, sent_message_ids

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from typing import TextIO

    from intercom_provider.cli.reconcile import Match
    from intercom_provider.ledger.database import Database
    from intercom_provider.ledger.overview import OpenMessage
    from intercom_provider.waiting.sent import Row

_MAX_SECONDS: Final = 60.0
_ADVICE: Final = """\
No run sends these again by itself. Enter those that arrived with `airflow intercom ledger mark`; have the others sent
by a run with on_unconfirmed="resend"."""


def run_campaign(campaign: str, options: argparse.Namespace, out: TextIO) -> int:
    """
    List the messages of a campaign that may have been sent or not.

    :param campaign: The campaign.
    :param options: As for the results of a batch, and ``ledger_conn_id``.
    :param out: The standard output.
    :return: The exit status: 0, with or without unconfirmed messages.
    """
    if options.try_number is not None:
        raise InvalidInputError.of("--try", "goes with the results of a batch: a campaign is listed over all runs")
    database = open_ledger(options.ledger_conn_id, "--ledger-conn-id")
    transactions = Transactions(database, limit=_MAX_SECONDS)
    salt = transactions.call(database.set_up)
    found = transactions.run(partial(read_open, database, campaign=campaign))
    matches = None
    if options.messages is not None and found:
        matches = _search(database, campaign, f"{salt}/c:{campaign}", options, found)
    text = sys.stderr if options.output == STDOUT else out
    text.write(f"{len(found):,} messages of the campaign {campaign} are unconfirmed\n")
    if matches is not None:
        text.write(f"{sum(match is not None and match.finding == 'found' for match in matches):,} of them were sent\n")
    if options.output:
        write_lines(_rows(found, matches), options.output, out)
    else:
        for position, each in enumerate(found):
            text.write(f"  {_name(each)}: {_finding(each, matches, position)}\n")
    if found:
        text.write(f"\n{_ADVICE}\n")
    return 0


def _search(
    database: Database, campaign: str, scope_salt: str, options: argparse.Namespace, found: Sequence[OpenMessage]
) -> list[Match | None]:
    """Search Intercom for the messages that are in the given list; None for those that are not in it."""
    from intercom_provider.sending.batch.input import BatchInput

    since = found[0].claimed_at.timestamp() if options.since is None else read_since(options.since)
    hook = open_hook(options.conn_id)
    wanted = {each.digest for each in found}
    with BatchInput(
        options.messages,
        read_defaults(options.defaults),
        duplicates="skip",
        salt=scope_salt,
        settings=hook.settings,
        invalid="reject",
    ) as batch:
        batch.check()
        messages = {item.digest: item.message for item in batch if item.digest in wanted and item.message is not None}
    with hook.get_conn() as client:
        known = sent_message_ids(database, campaign)
        matches = match_conversations(client, hook.settings, list(messages.values()), since, known)
    by_digest = dict(zip(messages, matches, strict=True))
    return [by_digest.get(each.digest) for each in found]


def _rows(found: Sequence[OpenMessage], matches: Sequence[Match | None] | None) -> Iterator[Row]:
    for position, each in enumerate(found):
        row: Row = {
            "key": each.key,
            "reason": each.reason,
            "dag_id": each.dag_id,
            "run_id": each.run_id,
            "task_id": each.task_id,
            "claimed_at": each.claimed_at.isoformat(),
        }
        if matches is not None:
            match = matches[position]
            row |= {
                "finding": None if match is None else match.finding,
                "conversation_id": match and match.conversation and match.conversation.id,
            }
        yield row


def _name(each: OpenMessage) -> str:
    name = "message without a key" if each.key is None else f"key {each.key}"
    return f"{name} (DAG {each.dag_id}, run {each.run_id}, task {each.task_id}, {each.claimed_at:%Y-%m-%d %H:%M} UTC)"


def _finding(each: OpenMessage, matches: Sequence[Match | None] | None, position: int) -> str:
    if matches is None:
        return each.reason or "its sender left no result"
    match = matches[position]
    return "not in the list" if match is None else describe_match(match)
