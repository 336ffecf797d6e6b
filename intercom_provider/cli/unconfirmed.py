"""``unconfirmed``: list the messages of a batch that may have been sent or not, and find which of them were sent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.cli.output import STDOUT, explain_storage_errors, write_lines
from intercom_provider.cli.reconcile import (
    describe_match,
    match_conversations,
    read_defaults,
    read_since,
    select_messages,
)
from intercom_provider.ledger.configuration import ledger_connection
from intercom_provider.results.reader import TryResults

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TextIO

    from intercom_provider.cli.reconcile import Match
    from intercom_provider.results.reader import MessageResult, Owner
    from intercom_provider.waiting.sent import Row

_RECOVERY_HINT: Final = """\
Clear the task, with on_unconfirmed="resend" if none of them arrived, with on_unconfirmed="assume_sent" if all did. If
some did, send the others as a batch of their own."""
ADVICE: Final = f"""\
Intercom's answer was lost, so there is no id to look these messages up by. Those that contacts have answered are found
with --messages. For the others look in Intercom for the contact that your own list has at that index or under that key.
{_RECOVERY_HINT}"""
LIMITS: Final = f"""\
A message has no conversation before its contact answers, so an "unknown" message may have arrived or not; look at the
conversations of those that are "perhaps". {_RECOVERY_HINT}"""


def run(options: argparse.Namespace, out: TextIO) -> int:
    """
    List the unconfirmed messages.

    :param options: ``results_path``, ``try_number`` and ``output``; to search in Intercom as well ``messages``,
        ``defaults``, ``since`` and ``conn_id``; in place of a folder ``campaign`` and ``ledger_conn_id``.
    :param out: The standard output.
    :return: The exit status: 0, with or without unconfirmed messages.
    """
    if (campaign := _campaign(options)) is not None:
        from intercom_provider.cli.unconfirmed_campaign import run_campaign

        return run_campaign(campaign, options, out)
    with explain_storage_errors("RESULTS_PATH", "cannot be read: "):
        tries = {results.try_number: results for results in TryResults.of_tries(options.results_path)}
        chosen = _choose(tries, options)
        tries, owner, others = _of_one_owner(tries, chosen)
        total, found = _read(tries[chosen])
        is_complete = tries[chosen].written_lines() == total
        before = max((sum(1 for _ in tries[number].lines()) for number in tries if number < chosen), default=0)
    matches = _search(options, tries, found, total) if options.messages is not None and found else None
    text = sys.stderr if options.output == STDOUT else out
    whose = "" if owner is None else f" of {owner}"
    text.write(f"{len(found):,} of {total:,} messages are unconfirmed (try {chosen}{whose})\n")
    for other in others:
        text.write(f"The folder has results of {other}, too: name their try with --try to see them\n")
    if before > total:
        text.write(f"An earlier try has {before:,}: this one was cut short, or got another list (--try)\n")
    if matches is not None:
        text.write(f"{sum(match.finding == 'found' for match in matches):,} of them were sent\n")
    if options.output:
        write_lines(_rows(found, matches), options.output, out)
    else:
        _write_found(found, matches, text)
    if not is_complete:
        text.write(
            f"Try {chosen} did not come to its end (killed, or still running): some messages may be missing here\n"
        )
    if found:
        text.write(f"\n{ADVICE if matches is None else LIMITS}\n")
    return 0


def _campaign(options: argparse.Namespace) -> str | None:
    """Check which options go together, and return the campaign that is meant; None for a folder of results."""
    if options.messages is None and (options.defaults or options.since):
        raise InvalidInputError.of("--messages", "is missing: --defaults and --since need it")
    given = options.results_path
    if (given is None) == (options.campaign is None):
        raise InvalidInputError.of("RESULTS_PATH, --campaign", "exactly one of them has to be given")
    if given is None:
        return str(options.campaign)
    if ledger_connection(options.ledger_conn_id) is None or "://" in given or Path(given).exists():
        return None
    return str(given)


def _write_found(found: Sequence[MessageResult], matches: Sequence[Match] | None, text: TextIO) -> None:
    for position, line in enumerate(found):
        name = f"message {line.index}" + ("" if line.key is None else f", key {line.key}")
        text.write(f"  {name}: {line.reason if matches is None else describe_match(matches[position])}\n")


def _rows(found: Sequence[MessageResult], matches: Sequence[Match] | None) -> Iterator[Row]:
    for position, line in enumerate(found):
        row: Row = {"index": line.index, "key": line.key, "reason": line.reason}
        if matches is not None:
            match = matches[position]
            row |= {"finding": match.finding, "conversation_id": match.conversation and match.conversation.id}
        yield row


def _search(
    options: argparse.Namespace, tries: Mapping[int, TryResults], found: Sequence[MessageResult], total: int
) -> list[Match]:
    from intercom_provider.cli.connection import open_hook
    from intercom_provider.sending.batch.input import BatchInput

    since = read_since(options.since)
    hook = open_hook(options.conn_id)
    defaults = read_defaults(options.defaults)
    with BatchInput(
        options.messages, defaults, duplicates="skip", salt="", settings=hook.settings, invalid="reject"
    ) as batch:
        messages = select_messages(batch, found, total)
    with hook.get_conn() as client:
        sent_ids = (line.id for results in tries.values() for line in results.lines() if line.id is not None)
        return match_conversations(client, hook.settings, messages, since, sent_ids)


def _choose(tries: Mapping[int, TryResults], options: argparse.Namespace) -> int:
    if not tries:
        raise InvalidInputError.of(
            "RESULTS_PATH",
            "has no results of a batch (try-1-part-1.jsonl): it is the folder DAG_ID/RUN_ID/TASK_ID/MAP_INDEX",
        )
    if options.try_number is None:
        return max(tries)
    if options.try_number not in tries:
        raise InvalidInputError.of("--try", f"there are {', '.join(map(str, tries))}")
    return int(options.try_number)


def _of_one_owner(
    tries: Mapping[int, TryResults], chosen: int
) -> tuple[dict[int, TryResults], Owner | None, list[str]]:
    """Return the tries of the task instance that left the chosen one, this instance, and the others in the folder."""
    owners = {number: results.owner() for number, results in tries.items()}
    owner = owners[chosen]
    others = sorted({str(each) for each in owners.values() if each not in (owner, None)})
    return {number: tries[number] for number in tries if owners[number] in (owner, None)}, owner, others


def _read(results: TryResults) -> tuple[int, list[MessageResult]]:
    total = 0
    found: list[MessageResult] = []
    for line in results.lines():
        total += 1
        if line.outcome == "unconfirmed":
            found.append(line)
    return total, found
