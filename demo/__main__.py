"""
Send and wait on a real Airflow, and compare the numbers of its tasks with those of the sandbox.

The exit status is 0 only when every run succeeded and all numbers agree.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import sys
import time
import traceback
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from demo.machinery import PROJECT, Airflow, DemoError, Run, Sandbox, sandbox

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_HOME: Final = PROJECT / ".airflow" / "demo"
_LOG: Final = _HOME / "demo.log"
_LOG_TAIL_LINES: Final = 25

# At this speed the 10 sandbox seconds within which WhatsApp delivers are one real second.
_SANDBOX_OPTIONS: Final = ("--speed", "10", "--failures", "0.02")
_RULESET: Final = "4711"
_RECIPIENTS: Final = 1_250
_LIFECYCLE: Final = "trial-day-3"
_JOIN_OVER_SANDBOX_SECONDS: Final = 80

# Magic numbers of the sandbox: the first message is read, the second fails.
_ORDERS: Final = (
    {"phone": "+447900199905", "user_id": "customer-1001", "order": "A-1001"},
    {"phone": "+447900199901", "user_id": "customer-1002", "order": "A-1002"},
)


@dataclass(frozen=True, slots=True)
class Deliveries:
    """
    The counts of some WhatsApp messages; `arrived`, `failed` and `pending` add up to `messages`.

    :param messages: The number of messages.
    :param arrived: The number that was delivered, read or not.
    :param failed: The number that failed.
    :param pending: The number that has neither arrived nor failed.
    :param emails: The ids of the emails sent in place of failed messages.
    """

    messages: int
    arrived: int
    failed: int
    pending: int
    emails: frozenset[str]

    @classmethod
    def of(cls, statuses: Sequence[str], emails: Iterable[str]) -> Deliveries:
        """
        Count messages by status.

        :param statuses: Intercom's status of each message.
        :param emails: The ids of the emails sent in place of failed messages.
        :return: The counts.
        """
        arrived = sum(status in ("delivered", "read") for status in statuses)
        failed = statuses.count("failed")
        return cls(len(statuses), arrived, failed, len(statuses) - arrived - failed, frozenset(emails))


@dataclass(frozen=True, slots=True)
class Chapter:
    """
    One run of an example, counted by Airflow and by the sandbox.

    :param title: Its title in the table.
    :param airflow: The counts from its tasks' XComs.
    :param intercom: The counts from the sandbox.
    """

    title: str
    airflow: Deliveries
    intercom: Deliveries

    def mismatches(self) -> list[str]:
        """
        Compare both counts.

        :return: One sentence for each difference; empty when they agree.
        """
        found = []
        for name in ("messages", "arrived", "failed", "pending"):
            reported, actual = getattr(self.airflow, name), getattr(self.intercom, name)
            if reported != actual:
                found.append(f"{name}: Airflow says {reported:,}, Intercom says {actual:,}")
        parts = self.airflow.arrived + self.airflow.failed + self.airflow.pending
        if parts != self.airflow.messages:
            found.append(f"Airflow's counts add up to {parts:,}, not to {self.airflow.messages:,}")
        if differing := self.airflow.emails ^ self.intercom.emails:
            found.append(f"emails that only one of them has: {', '.join(sorted(differing))}")
        if len(self.intercom.emails) != self.intercom.failed:
            found.append(f"{self.intercom.failed:,} failed, and {len(self.intercom.emails):,} emails were sent")
        return [f"{self.title}: {sentence}" for sentence in found]


@dataclass(slots=True)
class Progress:
    """
    Prints the provider's log lines during a run.

    :param console: The console to print on.
    :param polls: The number of polls that the trigger made.
    """

    console: Console
    polls: int = 0
    _kind: str = ""
    _hidden: int = 0

    def show(self, event: str, logger: str) -> None:
        """
        Print a log line; of several sends in a row only the first.

        :param event: The text of the line.
        :param logger: The name of its logger.
        """
        deferred = ".triggers." in logger
        self.polls += deferred
        kind = event.partition(":")[0] if event.startswith("Message ") else ""
        if kind and kind == self._kind:
            self._hidden += 1
            return
        self.close()
        self._kind = kind
        # Airflow logs full paths, which are noise here.
        event = event.replace(f"{PROJECT}/", "")
        self.console.print(f"  {'trigger' if deferred else 'task':8}  {event}", markup=False)

    def close(self) -> None:
        """Print the number of lines that were left out."""
        if self._hidden:
            self.console.print(f"  {'':8}  ... and {self._hidden} more")
        self._hidden = 0


def main() -> int:
    """
    Run the demo.

    :return: The exit status.
    """
    # A signal that ends the demo raises SystemExit, so that the processes it has started end as well.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    console = Console(highlight=False, soft_wrap=True)
    _HOME.mkdir(parents=True, exist_ok=True)
    problems: list[str]
    with _LOG.open("w", encoding="utf-8") as log:
        try:
            problems = _play(console, log)
        except KeyboardInterrupt:
            console.print("\nInterrupted; everything is stopped.")
            return 130
        except DemoError as error:
            problems = [str(error)]
        except Exception as error:  # noqa: BLE001 - any error, whose traceback is in the log
            traceback.print_exc(file=log)
            problems = [f"{type(error).__name__}: {error}"]
    if problems:
        console.rule("the end of the log", characters="-")
        for line in _LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:]:
            console.out(line)
        console.rule(characters="-")
        console.print("[red]Something is wrong:[/red]")
        for sentence in problems:
            console.out(f"  - {sentence}")
    console.print(f"Airflow's full log: {_LOG.relative_to(PROJECT)}")
    return 1 if problems else 0


def _play(console: Console, log: TextIO) -> list[str]:
    started = time.monotonic()
    airflow = Airflow(_HOME, log)
    with sandbox(*_SANDBOX_OPTIONS, log=log) as intercom:
        airflow.env["AIRFLOW_CONN_INTERCOM_DEFAULT"] = json.dumps(intercom.connection)
        console.print(f"A local Intercom listens at {intercom.url}.")
        with console.status("Airflow creates its database, once"):
            if airflow.prepare():
                console.print(f"Airflow's database was created, once ({time.monotonic() - started:.0f} s).")
        chapters = [_chain(console, airflow, intercom, conf) for conf in _ORDERS]
        campaign, polls = _campaign(console, airflow, intercom)
        chapters.append(campaign)
        report = intercom.ask("/_sandbox/report")
        problems, lifecycle, shown = _lifecycle(console, airflow, intercom)
        requests = intercom.ask("/_sandbox/report")["requests"]
    problems += [sentence for chapter in chapters for sentence in chapter.mismatches()]
    emails = sum(len(chapter.airflow.emails) for chapter in chapters)
    if not polls:
        problems.append("the wait for the campaign was never deferred")
    if report["messages"] != len(_ORDERS) + emails:
        problems.append(f"Airflow sent {len(_ORDERS) + emails} messages, and Intercom got {report['messages']}")
    if twice := report["recipients_with_several_messages"]:
        problems.append(f"{twice} recipients got several messages")
    console.print(_table(chapters))
    console.print(f"The ledger, by [bold]ledger show {_LIFECYCLE}[/bold]:\n")
    console.out(shown, highlight=False)
    if not problems:
        total = sum(chapter.airflow.messages for chapter in chapters)
        console.print(
            f"[green]All numbers agree:[/green] {total:,} WhatsApp messages, {emails} emails for the failed ones,\n"
            f"no recipient with two messages. The campaign's wait was deferred for {polls} polls.\n"
            f"The lifecycle campaign reached {lifecycle} customers, each once, over six runs of two DAGs.\n"
            f"{requests} requests to Intercom, {time.monotonic() - started:.0f} s.",
        )
    return problems


def _chain(console: Console, airflow: Airflow, intercom: Sandbox, conf: dict[str, str]) -> Chapter:
    """Run the example that sends a message, waits for it, and sends an email if it fails."""
    title = f"Order {conf['order']}"
    console.print(f"\n[bold]{title}[/bold]: a WhatsApp message to {conf['phone']}, email as the fallback")
    progress = Progress(console)
    with console.status("Airflow is running the DAG"):
        run = airflow.test("whatsapp_with_email_fallback", conf, progress.show)
    progress.close()
    statuses = [each["status"] for each in _messages(intercom, conf["phone"])]
    return Chapter(
        title,
        _reported(run, "wait_for_delivery"),
        Deliveries.of(statuses, [each["id"] for each in _messages(intercom, conf["user_id"])]),
    )


def _campaign(console: Console, airflow: Airflow, intercom: Sandbox) -> tuple[Chapter, int]:
    """Run the example that waits for a ruleset and emails its failed recipients; send the ruleset during the wait."""
    title = f"Campaign {_RULESET}"
    console.print(f"\n[bold]{title}[/bold]: a WhatsApp Outbound message of Intercom, emails for its failed recipients")
    progress = Progress(console)
    sent = False

    def listen(event: str, logger: str) -> None:
        nonlocal sent
        progress.show(event, logger)
        if not sent:
            # Sent once the wait has begun, so that the wait sees the ruleset grow from its first message.
            sent = True
            intercom.ask(
                "/_sandbox/rulesets", body={"id": _RULESET, "size": _RECIPIENTS, "over": _JOIN_OVER_SANDBOX_SECONDS}
            )
            console.print(f"  {'Intercom':8}  sends it to {_RECIPIENTS:,} recipients now")

    conf = {"ruleset_id": _RULESET, "results_folder": str(_HOME / "results")}
    with console.status("Airflow is running the DAG"):
        run = airflow.test("whatsapp_campaign_retarget", conf, listen)
    progress.close()
    events = intercom.events(_RULESET)
    failed = [event["user_id"] for event in events if event["status"] == "failed"]
    emails = [each["id"] for user_id in failed for each in _messages(intercom, user_id)]
    chapter = Chapter(
        title,
        _reported(run, "wait_for_campaign"),
        Deliveries.of([event["status"] for event in events], emails),
    )
    return chapter, progress.polls


def _lifecycle(console: Console, airflow: Airflow, intercom: Sandbox) -> tuple[list[str], int, str]:
    """Run the lifecycle example on five days and by another DAG; return problems, the number reached, the ledger."""
    console.print(
        f"\n[bold]Campaign {_LIFECYCLE}[/bold]: a daily DAG whose window overlaps, and another DAG, one ledger"
    )
    ledger, customers = _HOME / "ledger.db", _HOME / "customers.db"
    for path in (ledger, customers):
        for each in _HOME.glob(f"{path.name}*"):
            each.unlink()
    airflow.env["AIRFLOW_CONN_INTERCOM_LEDGER"] = json.dumps({"conn_type": "sqlite", "host": str(ledger)})
    with closing(sqlite3.connect(customers)) as database, database:
        database.execute("CREATE TABLE customers (customer_id TEXT, first_name TEXT, plan TEXT, trial_began TEXT)")
        rows = [(f"trial-{n}", "Ada", "team" if n % 2 else "solo", f"2026-11-{1 + n % 14:02}") for n in range(140)]
        database.executemany("INSERT INTO customers VALUES (?, ?, ?, ?)", rows)
    conf = {"customers": str(customers)}
    days = [*(f"2026-11-{day:02}T09:00:00" for day in range(6, 11)), None]
    sent = already_sent = 0
    for day in days:
        progress = Progress(console)
        dag_id = "lifecycle_campaign_by_hand" if day is None else "daily_lifecycle_campaign"
        with console.status("Airflow is running the DAG"):
            [counts] = airflow.test(dag_id, conf, progress.show, day).values["send"]
        progress.close()
        sent, already_sent = sent + counts["sent"], already_sent + counts["already_sent"]
        console.print(f"  {(day or 'by hand')[:10]:10}  {counts['sent']} sent, {counts['already_sent']} had it already")
    shown = airflow.read_ledger("intercom_ledger", _LIFECYCLE)
    [campaign] = json.loads(airflow.read_ledger("intercom_ledger", "--output", "json"))
    got = {id_: len(_messages(intercom, id_)) for id_, *_ in rows}
    reached = sum(got.values())
    problems = [f"{_LIFECYCLE}: {id_} got {number} messages" for id_, number in got.items() if number > 1]
    if not sent == reached == campaign["outcomes"].get("sent"):
        problems.append(
            f"{_LIFECYCLE}: Airflow says {sent} were sent, Intercom {reached}, the ledger {campaign['outcomes']}"
        )
    if not already_sent:
        problems.append(f"{_LIFECYCLE}: no run found anybody who had the message")
    return problems, reached, shown


def _messages(intercom: Sandbox, recipient: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = intercom.ask("/_sandbox/messages", recipient=recipient, last=1_000)["messages"]
    return found


def _reported(run: Run, sensor: str) -> Deliveries:
    """Read the sensor's counts and the sent emails from XCom."""
    (report,) = run.values[sensor]
    emails = [email["id"] for email in run.values.get("send_email", ()) if email["outcome"] == "sent"]
    return Deliveries(report["total"], report["reached"], report["failed"], report["pending"], frozenset(emails))


def _table(chapters: Sequence[Chapter]) -> Table:
    table = Table(title="\nDeliveries", title_style="bold", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("", "says"):
        table.add_column(name, no_wrap=True)
    for name in ("messages", "arrived", "failed", "pending", "emails"):
        table.add_column(name, justify="right", no_wrap=True)
    for chapter in chapters:
        for title, source, counts in ((chapter.title, "Airflow", chapter.airflow), ("", "Intercom", chapter.intercom)):
            numbers = (counts.messages, counts.arrived, counts.failed, counts.pending, len(counts.emails))
            table.add_row(title, source, *(f"{number:,}" for number in numbers), end_section=source == "Intercom")
    return table


if __name__ == "__main__":
    sys.exit(main())
