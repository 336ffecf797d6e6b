"""``unconfirmed``: the messages of a batch that may have been sent or not, and which of them did go out."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from intercom_provider.api.errors import IntercomError, InvalidInputError
from intercom_provider.cli.output import STDOUT, write_lines
from intercom_provider.results.reader import TryResults

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from typing import TextIO

    from intercom_provider.cli.reconcile import Match
    from intercom_provider.results.reader import MessageResult
    from intercom_provider.waiting.sent import Row

_WAYS_ON: Final = """\
Clear the task, with on_unconfirmed="resend" if none of them arrived, with on_unconfirmed="assume_sent" if all did. If
some did, send the others as a batch of their own."""
_ADVICE: Final = f"""\
Intercom names no message where its answer was lost, so none of these can be looked up by an id. What contacts have
answered is found with --messages. For the others look in Intercom for the contact that your own list has at that index
or under that key. {_WAYS_ON}"""
_LIMITS: Final = f"""\
A message has no conversation before its contact answers, so whatever is unknown may have arrived as well as not; look
at what is "perhaps". {_WAYS_ON}"""
_SAID: Final = {
    "found": "found: conversation {id} began with it ({began})",
    "perhaps": "perhaps: conversation {id} ({began}) may have begun with it, by its words one cannot tell",
    "unknown": "unknown: no conversation began with it",
}


def run(options: argparse.Namespace, out: TextIO) -> int:
    """
    List what is unconfirmed.

    :param options: ``results_path``, ``try_number`` and ``output``; to look in Intercom as well ``messages``,
        ``defaults``, ``since`` and ``conn_id``.
    :param out: Where its result goes.
    :return: 0, whether there are any or none.
    """
    if options.messages is None and (options.defaults or options.since):
        raise InvalidInputError.of("--messages", "is missing: --defaults and --since are of use with it only")
    try:
        tries = {parts.try_number: parts for parts in TryResults.of_tries(options.results_path)}
        chosen = _choose(tries, options)
        total, found = _read(tries[chosen])
        before = max((sum(1 for _ in parts.lines()) for number, parts in tries.items() if number < chosen), default=0)
    except (IntercomError, OSError):
        raise
    except Exception as error:
        # A storage that is not installed, or whose connection is missing, says so in a way of its own.
        raise InvalidInputError.of("RESULTS_PATH", f"can not be read: {error}") from error
    matches = _trace(options, tries, found, total) if options.messages is not None and found else None
    told = sys.stderr if options.output == STDOUT else out
    told.write(f"{len(found):,} of {total:,} messages are unconfirmed (try {chosen})\n")
    if before > total:
        told.write(f"An earlier try tells of {before:,}: this one was cut short, or got another list (--try)\n")
    if matches is not None:
        went = sum(trace.finding == "found" for trace in matches)
        told.write(f"{went:,} of them did go out\n")
    if options.output:
        rows: list[Row] = [{"index": line.index, "key": line.key, "reason": line.reason} for line in found]
        for row, trace in zip(rows, matches or (), strict=matches is not None):
            row |= {"finding": trace.finding, "conversation_id": trace.conversation and trace.conversation.id}
        write_lines(iter(rows), options.output, out)
    else:
        for place, line in enumerate(found):
            name = f"message {line.index}" + ("" if line.key is None else f", key {line.key}")
            told.write(f"  {name}: {line.reason if matches is None else _said(matches[place])}\n")
    if found:
        told.write(f"\n{_ADVICE if matches is None else _LIMITS}\n")
    return 0


def _trace(
    options: argparse.Namespace, tries: Mapping[int, TryResults], found: Sequence[MessageResult], total: int
) -> list[Match]:
    from intercom_provider.cli.connection import open_hook  # noqa: PLC0415
    from intercom_provider.cli.reconcile import messages_of, read_defaults, read_since, trace  # noqa: PLC0415
    from intercom_provider.sending.batch.input import BatchInput  # noqa: PLC0415 - only where it is wanted

    since = read_since(options.since)
    hook = open_hook(options.conn_id)
    defaults = read_defaults(options.defaults)
    with BatchInput(options.messages, defaults, duplicates="skip", salt="", settings=hook.settings) as batch:
        messages = messages_of(batch, found, total)
    with hook.get_conn() as client:
        known = (line.id for parts in tries.values() for line in parts.lines() if line.id is not None)
        return trace(client, hook.settings, messages, since, known)


def _said(trace: Match) -> str:
    conversation = trace.conversation
    if conversation is None:
        return _SAID[trace.finding]
    began = datetime.fromtimestamp(conversation.created_at or 0, UTC)
    return _SAID[trace.finding].format(id=conversation.id, began=f"{began:%Y-%m-%d %H:%M} UTC")


def _choose(tries: Mapping[int, TryResults], options: argparse.Namespace) -> int:
    if not tries:
        raise InvalidInputError.of(
            "RESULTS_PATH", "has no results of a batch (try-1-part-1.jsonl): it is the folder RUN_ID/TASK_ID/MAP_INDEX"
        )
    if options.try_number is None:
        return max(tries)
    if options.try_number not in tries:
        raise InvalidInputError.of("--try", f"there are {', '.join(map(str, tries))}")
    return int(options.try_number)


def _read(parts: TryResults) -> tuple[int, list[MessageResult]]:
    total = 0
    found: list[MessageResult] = []
    for line in parts.lines():
        total += 1
        if line.outcome == "unconfirmed":
            found.append(line)
    return total, found
