"""
Send and wait on a real Airflow, then compare what it reports with what really happened.

Ends with 0 only when every run succeeded and all numbers agree.
"""

from __future__ import annotations

import json
import signal
import sys
import time
import traceback
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
_TAIL: Final = 25

# The sandbox's WhatsApp delivers within 10 seconds of its own, which are one second here.
_SANDBOX: Final = ("--speed", "10", "--failures", "0.02")
_RULESET: Final = "4711"
_RECIPIENTS: Final = 1_250
_JOIN_OVER: Final = 80

# The ends of these numbers tell the sandbox what becomes of a message: one is read, one fails.
_CHAINS: Final = (
    {"phone": "+447900199905", "user_id": "customer-1001", "order": "A-1001"},
    {"phone": "+447900199901", "user_id": "customer-1002", "order": "A-1002"},
)


@dataclass(frozen=True, slots=True)
class Deliveries:
    """
    What became of some WhatsApp messages; what arrived, failed and is pending adds up to all.

    :param messages: How many there are.
    :param arrived: How many were delivered, read or not.
    :param failed: How many were not.
    :param pending: How many are neither.
    :param emails: The ids of the emails sent in place of those that failed.
    """

    messages: int
    arrived: int
    failed: int
    pending: int
    emails: frozenset[str]

    @classmethod
    def of(cls, statuses: Sequence[str], emails: Iterable[str]) -> Deliveries:
        """
        Count statuses.

        :param statuses: One in Intercom's words for each message.
        :param emails: The ids of the emails sent in place of those that failed.
        :return: The counts.
        """
        arrived = sum(status in ("delivered", "read") for status in statuses)
        failed = statuses.count("failed")
        return cls(len(statuses), arrived, failed, len(statuses) - arrived - failed, frozenset(emails))


@dataclass(frozen=True, slots=True)
class Chapter:
    """
    One run of an example, by both accounts.

    :param title: What a reader calls it.
    :param airflow: What its tasks reported.
    :param intercom: What really happened.
    """

    title: str
    airflow: Deliveries
    intercom: Deliveries

    def wrong(self) -> list[str]:
        """
        Find what does not agree.

        :return: One sentence for each; nothing when all is well.
        """
        found = []
        for name in ("messages", "arrived", "failed", "pending"):
            reported, really = getattr(self.airflow, name), getattr(self.intercom, name)
            if reported != really:
                found.append(f"{name}: Airflow says {reported:,}, Intercom says {really:,}")
        parts = self.airflow.arrived + self.airflow.failed + self.airflow.pending
        if parts != self.airflow.messages:
            found.append(f"what Airflow reports adds up to {parts:,}, not to {self.airflow.messages:,}")
        if odd := self.airflow.emails ^ self.intercom.emails:
            found.append(f"emails that only one of them knows: {', '.join(sorted(odd))}")
        if len(self.intercom.emails) != self.intercom.failed:
            found.append(f"{self.intercom.failed:,} failed, and {len(self.intercom.emails):,} emails were sent")
        return [f"{self.title}: {sentence}" for sentence in found]


@dataclass(slots=True)
class Progress:
    """
    Shows what the provider logs while a run goes on.

    :param console: Where.
    :param looks: How many looks the trigger took.
    """

    console: Console
    looks: int = 0
    _kind: str = ""
    _hidden: int = 0

    def tell(self, event: str, logger: str) -> None:
        """
        Show a line; of many sends in a row, only the first.

        :param event: What was logged.
        :param logger: By whom.
        """
        deferred = ".triggers." in logger
        self.looks += deferred
        kind = event.partition(":")[0] if event.startswith("Message ") else ""
        if kind and kind == self._kind:
            self._hidden += 1
            return
        self.close()
        self._kind = kind
        # Airflow names the file in full, which says nothing here.
        event = event.replace(f"{PROJECT}/", "")
        self.console.print(f"  {'trigger' if deferred else 'task':8}  {event}", markup=False)

    def close(self) -> None:
        """Say how many lines were not shown."""
        if self._hidden:
            self.console.print(f"  {'':8}  ... and {self._hidden} more")
        self._hidden = 0


def main() -> int:
    """
    Run the demo.

    :return: The exit status.
    """
    # So that whatever ends the demo also ends what it has started.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    console = Console(highlight=False, soft_wrap=True)
    _HOME.mkdir(parents=True, exist_ok=True)
    wrong: list[str]
    with _LOG.open("w", encoding="utf-8") as log:
        try:
            wrong = _tell(console, log)
        except KeyboardInterrupt:
            console.print("\nInterrupted; everything is stopped.")
            return 130
        except DemoError as error:
            wrong = [str(error)]
        except Exception as error:  # noqa: BLE001 - whatever it is, the log says more
            traceback.print_exc(file=log)
            wrong = [f"{type(error).__name__}: {error}"]
    if wrong:
        console.rule("the end of the log", characters="-")
        for line in _LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]:
            console.out(line)
        console.rule(characters="-")
        console.print("[red]Something is wrong:[/red]")
        for sentence in wrong:
            console.out(f"  - {sentence}")
    console.print(f"Everything that Airflow said: {_LOG.relative_to(PROJECT)}")
    return 1 if wrong else 0


def _tell(console: Console, log: TextIO) -> list[str]:
    started = time.monotonic()
    airflow = Airflow(_HOME, log)
    with sandbox(*_SANDBOX, log=log) as intercom:
        airflow.env["AIRFLOW_CONN_INTERCOM_DEFAULT"] = json.dumps(intercom.connection)
        console.print(f"A local Intercom listens at {intercom.url}.")
        with console.status("Airflow makes its database, once"):
            if airflow.prepare():
                console.print(f"Airflow's database was made, once ({time.monotonic() - started:.0f} s).")
        chapters = [_chain(console, airflow, intercom, conf) for conf in _CHAINS]
        campaign, looks = _campaign(console, airflow, intercom)
        chapters.append(campaign)
        sums = intercom.ask("/_sandbox/report")
    wrong = [sentence for chapter in chapters for sentence in chapter.wrong()]
    emails = sum(len(chapter.airflow.emails) for chapter in chapters)
    if not looks:
        wrong.append("the wait for the campaign was never deferred")
    if sums["messages"] != len(_CHAINS) + emails:
        wrong.append(f"Airflow sent {len(_CHAINS) + emails} messages, and Intercom got {sums['messages']}")
    if twice := sums["recipients_with_several_messages"]:
        wrong.append(f"{twice} recipients got several messages")
    console.print(_table(chapters))
    if not wrong:
        total = sum(chapter.airflow.messages for chapter in chapters)
        console.print(
            f"[green]All numbers agree:[/green] {total:,} WhatsApp messages, and {emails} emails to those\n"
            f"whom they did not reach, nobody twice. The campaign's wait was deferred for {looks} looks.\n"
            f"{sums['requests']} requests to Intercom, {time.monotonic() - started:.0f} s.",
        )
    return wrong


def _chain(console: Console, airflow: Airflow, intercom: Sandbox, conf: dict[str, str]) -> Chapter:
    """Send one message, wait for it, and email where it fails."""
    title = f"Order {conf['order']}"
    console.print(f"\n[bold]{title}[/bold]: a WhatsApp message to {conf['phone']}, email as the fallback")
    progress = Progress(console)
    with console.status("Airflow is at work"):
        run = airflow.test("whatsapp_with_email_fallback", conf, progress.tell)
    progress.close()
    statuses = [each["status"] for each in _messages(intercom, conf["phone"])]
    return Chapter(
        title,
        _reported(run, "wait_for_delivery"),
        Deliveries.of(statuses, [each["id"] for each in _messages(intercom, conf["user_id"])]),
    )


def _campaign(console: Console, airflow: Airflow, intercom: Sandbox) -> tuple[Chapter, int]:
    """Wait for a ruleset that is sent while the wait goes on, and email those whom it failed."""
    title = f"Campaign {_RULESET}"
    console.print(f"\n[bold]{title}[/bold]: a WhatsApp Outbound message of Intercom, email for those it fails")
    progress = Progress(console)
    sent = False

    def tell(event: str, logger: str) -> None:
        nonlocal sent
        progress.tell(event, logger)
        if not sent:
            # However long Airflow takes to start, the wait sees the campaign from its first message on.
            sent = True
            intercom.ask("/_sandbox/rulesets", body={"id": _RULESET, "size": _RECIPIENTS, "over": _JOIN_OVER})
            console.print(f"  {'Intercom':8}  sends it to {_RECIPIENTS:,} recipients now")

    conf = {"ruleset_id": _RULESET, "results_folder": str(_HOME / "results")}
    with console.status("Airflow is at work"):
        run = airflow.test("whatsapp_campaign_retarget", conf, tell)
    progress.close()
    events = intercom.events(_RULESET)
    failed = [event["user_id"] for event in events if event["status"] == "failed"]
    emails = [each["id"] for user_id in failed for each in _messages(intercom, user_id)]
    chapter = Chapter(
        title,
        _reported(run, "wait_for_campaign"),
        Deliveries.of([event["status"] for event in events], emails),
    )
    return chapter, progress.looks


def _messages(intercom: Sandbox, recipient: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = intercom.ask("/_sandbox/messages", recipient=recipient, last=1_000)["messages"]
    return found


def _reported(run: Run, sensor: str) -> Deliveries:
    """Take from XCom what the sensor reported, and which emails were sent."""
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
        for title, who, told in ((chapter.title, "Airflow", chapter.airflow), ("", "Intercom", chapter.intercom)):
            numbers = (told.messages, told.arrived, told.failed, told.pending, len(told.emails))
            table.add_row(title, who, *(f"{number:,}" for number in numbers), end_section=who == "Intercom")
    return table


if __name__ == "__main__":
    sys.exit(main())
