"""``unconfirmed``: the messages of a batch that may have been sent or not."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.batch.parts import Parts
from intercom_provider.cli.lines import STDOUT, write_lines

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from typing import TextIO

    from intercom_provider.sources import Row

_ADVICE: Final = """\
Intercom names no message where its answer was lost, so none of these can be looked up by an id: look in Intercom for
the contact that your own list has at that index or under that key. Then clear the task, with on_unconfirmed="resend"
if none of them arrived, with on_unconfirmed="assume_sent" if all did. If some did, send the others as a batch of their
own."""


def run(options: argparse.Namespace, out: TextIO) -> int:
    """
    List what is unconfirmed.

    :param options: ``results_path``, ``try_number`` and ``output``.
    :param out: Where its result goes.
    :return: 0, whether there are any or none.
    """
    try:
        tries = {parts.try_number: parts for parts in Parts.of_tries(options.results_path)}
        chosen = _choose(tries, options)
        total, found = _read(tries[chosen])
        before = max((sum(1 for _ in parts.lines()) for number, parts in tries.items() if number < chosen), default=0)
    except InvalidInputError:
        raise
    except ValueError as error:
        raise InvalidInputError.of("RESULTS_PATH", f"can not be read: {error}") from None
    told = sys.stderr if options.output == STDOUT else out
    told.write(f"{len(found):,} of {total:,} messages are unconfirmed (try {chosen})\n")
    if before > total:
        told.write(f"An earlier try tells of {before:,}: this one was cut short, or got another list (--try)\n")
    if options.output:
        write_lines(iter(found), options.output, out)
    else:
        for row in found:
            name = f"message {row['index']}" + ("" if row["key"] is None else f", key {row['key']}")
            told.write(f"  {name}: {row['reason']}\n")
    if found:
        told.write(f"\n{_ADVICE}\n")
    return 0


def _choose(tries: Mapping[int, Parts], options: argparse.Namespace) -> int:
    if not tries:
        raise InvalidInputError.of(
            "RESULTS_PATH", "has no results of a batch (try-1-part-1.jsonl): it is the folder RUN_ID/TASK_ID/MAP_INDEX"
        )
    if options.try_number is None:
        return max(tries)
    if options.try_number not in tries:
        raise InvalidInputError.of("--try", f"there are {', '.join(map(str, tries))}")
    return int(options.try_number)


def _read(parts: Parts) -> tuple[int, list[Row]]:
    total = 0
    found: list[Row] = []
    for line in parts.lines():
        total += 1
        if line.outcome == "unconfirmed":
            found.append({"index": line.index, "key": line.key, "reason": line.reason})
    return total, found
