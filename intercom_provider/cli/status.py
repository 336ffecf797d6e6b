"""``status``: how far WhatsApp messages have come, now or until they have arrived."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from intercom_provider.api.errors import IntercomError, InvalidInputError
from intercom_provider.cli.connection import open_hook
from intercom_provider.cli.output import STDOUT, write_lines
from intercom_provider.fields import read_expected_count, read_settle_for
from intercom_provider.waiting.delivery_wait import DeliveryWait
from intercom_provider.waiting.poll import FullPoll, Watch
from intercom_provider.waiting.report import Report
from intercom_provider.waiting.sent import read_message_ids, read_ruleset_id
from intercom_provider.waiting.statuses import Criteria

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from intercom_provider.api.client import IntercomClient

_MIN_POLL_SECONDS: Final = 1.0
_MAX_POLL_SECONDS: Final = 86_400.0
_MAX_TIMEOUT_SECONDS: Final = 31_536_000.0


def run(options: argparse.Namespace, out: TextIO) -> int:
    """
    Tell how far messages have come.

    :param options: What to watch, ``wait`` and how, ``output``.
    :param out: Where its result goes.
    :return: 0 when what was to be told was told; with ``wait``, when all have arrived or failed.
    """
    wait = _wait(options)
    with open_hook(options.conn_id).get_conn() as client, ExitStack() as shown:
        show = shown.enter_context(_shown())
        while True:
            started = time.time()
            with Report(wait_for=options.wait_for, results="all" if options.output else None, keys={}) as report:
                try:
                    found = client.run(
                        wait.poll(started, report.add, needs_details=report.includes, full=not options.wait)
                    )
                except IntercomError as error:
                    if not options.wait or wait.poll_failed(error, time.time()) == "deadline":
                        raise
                else:
                    verdict = wait.update(found, time.time())
                    show(wait, wait.progress(found, time.time()))
                    if isinstance(found, FullPoll) and (verdict != "wait" or not options.wait):
                        # The result stands below the bar, not in it.
                        shown.close()
                        _tell(found, report, client, options.output, out)
                        return 0 if verdict == "settled" or not options.wait else 1
            now = time.time()
            pause = max(wait.not_before - now, options.poll)
            # The last look is due at the deadline, which is no reason to sleep past it.
            time.sleep(max(0.0, min(pause, wait.deadline - now)))


def _wait(options: argparse.Namespace) -> DeliveryWait:
    ruleset_id = read_ruleset_id(options.ruleset_id)
    ids = read_message_ids(options.whatsapp_message_id)
    if (ruleset_id is None) == (not ids):
        raise InvalidInputError.of("--ruleset-id, --whatsapp-message-id", "exactly one of them says what to look at")
    if not _MIN_POLL_SECONDS <= options.poll <= _MAX_POLL_SECONDS:
        raise InvalidInputError.of("--poll", "must be 1 second or more, and at most a day (86400)")
    if not 0 < options.timeout <= _MAX_TIMEOUT_SECONDS:
        raise InvalidInputError.of("--timeout", "must be seconds, above 0, and at most a year (31536000)")
    now = time.time()
    expected_count, settle_for = read_expected_count(options.expected_count), read_settle_for(options.settle_for)
    criteria = Criteria(
        wait_for=options.wait_for,
        expected_count=expected_count if ruleset_id is not None else len(ids),
        settle_for=settle_for if ruleset_id is not None and expected_count is None else 0.0,
    )
    return DeliveryWait(
        target=Watch(ruleset_id=ruleset_id, whatsapp_message_ids=tuple(ids)),
        criteria=criteria,
        started=now,
        deadline=now + options.timeout,
    )


@contextmanager
def _shown() -> Iterator[Callable[[DeliveryWait, str], None]]:
    """Show progress: a bar for people, lines for whoever reads them from a file."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _, line: print(line, file=sys.stderr, flush=True)  # noqa: T201 - a command's own words
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("looking", total=None, counts="")

        def show(wait: DeliveryWait, line: str) -> None:
            if wait.last is not None:
                settled = wait.criteria.settled(wait.last)
                total = max(wait.last.total, wait.criteria.expected_count or 0)
                counts = line.partition(": ")[2]
                bar.update(task, description=str(wait.target), completed=settled, total=total, counts=counts)

        yield show


def _tell(poll: FullPoll, report: Report, client: IntercomClient, output: str | None, out: TextIO) -> None:
    summary = poll.summary
    told = sys.stderr if output == STDOUT else out
    counts = {"delivered": summary.delivered, "read": summary.read, "failed": summary.failed, "sent": summary.sent}
    said = ", ".join(f"{count:,} {'still sent' if name == 'sent' else name}" for name, count in counts.items())
    told.write(f"{summary.total:,} messages: {said}\n")
    for failure in report.failure_summary(poll, client)["failures"]:
        told.write(f"  {failure['whatsapp_message_id']}: {failure['reason']}\n")
    if output:
        write_lines(report.rows(poll), output, out)
