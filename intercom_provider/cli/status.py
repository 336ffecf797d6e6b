"""``status``: the delivery statuses of WhatsApp messages, once or until they are settled."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.live import Live

from intercom_provider.api.errors import IntercomError, InvalidInputError
from intercom_provider.cli.connection import open_hook
from intercom_provider.cli.output import STDOUT, write_lines
from intercom_provider.cli.status_bar import StatusBar
from intercom_provider.fields import read_expected_count, read_seconds
from intercom_provider.waiting.criteria import Criteria
from intercom_provider.waiting.delivery_wait import DeliveryWait
from intercom_provider.waiting.poll import FullPoll
from intercom_provider.waiting.report import Report
from intercom_provider.waiting.sent import read_message_ids, read_ruleset_id
from intercom_provider.waiting.target import MessagesTarget, RulesetTarget

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from intercom_provider.api.client import IntercomClient

_MIN_POLL_SECONDS: Final = 1.0


def run(options: argparse.Namespace, out: TextIO) -> int:
    """
    Show the statuses of messages.

    :param options: Which messages, whether and how to ``wait``, ``output``.
    :param out: The standard output.
    :return: 0; with ``wait``, 1 when the messages are not settled in time.
    """
    wait = _wait(options)
    with open_hook(options.conn_id).get_conn() as client, ExitStack() as stack:
        show = stack.enter_context(_progress_bar())
        while True:
            started = time.time()
            with Report(wait_for=options.wait_for, results="all" if options.output else None, keys={}) as report:
                try:
                    found = client.run(wait.poll(started, report, full=not options.wait))
                except IntercomError as error:
                    if not options.wait or wait.poll_failed(error, time.time()) == "deadline":
                        raise
                else:
                    verdict = wait.update(found, time.time())
                    show(wait, wait.progress(found, time.time()))
                    if isinstance(found, FullPoll) and (verdict != "wait" or not options.wait):
                        # Close the bar first, or the result would be printed into it.
                        stack.close()
                        _print_result(wait, found, report, client, options.output, out)
                        return 0 if verdict == "settled" or not options.wait else 1
            now = time.time()
            pause = max(wait.not_before - now, options.poll)
            # The last poll is at the deadline, so do not sleep past it.
            time.sleep(max(0.0, min(pause, wait.deadline - now)))


def _wait(options: argparse.Namespace) -> DeliveryWait:
    ruleset_id = read_ruleset_id(options.ruleset_id)
    ids = read_message_ids(options.whatsapp_message_id)
    if (ruleset_id is None) == (not ids):
        raise InvalidInputError.of("--ruleset-id, --whatsapp-message-id", "exactly one of them has to be given")
    if read_seconds("--poll", options.poll) < _MIN_POLL_SECONDS:
        raise InvalidInputError.of("--poll", "must be 1 second or more")
    read_seconds("--timeout", options.timeout, above=0)
    now = time.time()
    expected_count, settle_for = (
        read_expected_count(options.expected_count),
        read_seconds("settle_for", options.settle_for),
    )
    criteria = Criteria(
        wait_for=options.wait_for,
        expected_count=expected_count if ruleset_id is not None else len(ids),
        settle_for=settle_for if ruleset_id is not None and expected_count is None else 0.0,
    )
    return DeliveryWait(
        target=MessagesTarget(tuple(ids)) if ruleset_id is None else RulesetTarget(ruleset_id),
        criteria=criteria,
        started=now,
        deadline=now + options.timeout,
    )


@contextmanager
def _progress_bar() -> Iterator[Callable[[DeliveryWait, str], None]]:
    """Yield a function that shows progress: as a bar in a terminal, else as lines."""
    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield lambda _, line: print(line, file=sys.stderr, flush=True)  # noqa: T201 - the output of a command
        return
    bar = StatusBar()
    with Live(bar, console=console):
        yield bar.update


def _print_result(
    wait: DeliveryWait, poll: FullPoll, report: Report, client: IntercomClient, output: str | None, out: TextIO
) -> None:
    counts = wait.criteria.counts(poll.summary)
    text = ", ".join(f"{counts[name]:,} {name}" for name in ("delivered", "read", "failed"))
    # With --output - the standard output is for the rows alone.
    stream = sys.stderr if output == STDOUT else out
    stream.write(f"{counts['total']:,} messages: {text}, {counts['pending']:,} still pending\n")
    for failure in report.failure_summary(poll, client)["failures"]:
        stream.write(f"  {failure['whatsapp_message_id']}: {failure['reason']}\n")
    if output:
        write_lines(report.rows(poll), output, out)
