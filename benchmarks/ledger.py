"""Sending with the ledger in a table, on a local PostgreSQL and SQLite, and without one: paced and unpaced."""

from __future__ import annotations

import functools
import sys
import time
import uuid
from typing import TYPE_CHECKING, Final

from benchmarks import engine
from benchmarks.ledger_databases import DATABASES, POSTGRES, serve_databases
from benchmarks.measure import Cpu, in_turns
from benchmarks.table import Row
from demo.machinery import sandbox
from intercom_provider.ledger.database import open_database
from intercom_provider.ledger.ledger import Attempt
from intercom_provider.ledger.sql import Owner, SqlLedger
from intercom_provider.ledger.stateless import StatelessLedger

if TYPE_CHECKING:
    from benchmarks.measure import Sample
    from demo.machinery import Sandbox
    from intercom_provider.ledger.ledger import Ledger

_LIMIT: Final = 1_667
_PACED_LATENCY_SECONDS: Final = 0.3
# At Intercom's pace a list takes as long as its length says. 10,000 messages would take 75 s, and show the same.
_PACED_MESSAGES: Final = 3_000
_PACED_ROUNDS: Final = 1
_LATENCY_SECONDS: Final = 0.05
_AT_ONCE: Final = 50
_MESSAGES: Final = 5_000
_ROUNDS: Final = 3
_NONE: Final = "none"


def run() -> list[Row]:
    """
    Send with the table and without a ledger.

    :return: The rows.
    """
    with serve_databases():
        for conn_id in DATABASES:
            # The first use creates the tables and imports a driver, which a short list would show and a long one not.
            _table(conn_id).begin_try()
        paced = _rates(_PACED_MESSAGES, _PACED_ROUNDS, _PACED_LATENCY_SECONDS, "--rate-limit", str(_LIMIT))
        unpaced = _rates(_MESSAGES, _ROUNDS, _LATENCY_SECONDS, "--rate-limit", "0", concurrency=_AT_ONCE)
    return [
        *_rows(f"messages a second, 0.8 of {_LIMIT:,} in 10 s, {_PACED_MESSAGES:,} messages", paced, 0.95),
        *_rows(f"messages a second, 50 ms a reply, {_AT_ONCE} in flight, {_MESSAGES:,} messages", unpaced, 0.85),
    ]


def _rows(what: str, measured: tuple[dict[str, Sample], Cpu], at_least: float) -> list[Row]:
    rates, cpu = measured
    return [
        Row(
            what=f"{what}: a table in {name} against none",
            ours=rates[conn_id].told("{:.0f}"),
            other=rates[_NONE].told("{:.0f}"),
            ratio=rates[conn_id].median / rates[_NONE].median,
            # The target is PostgreSQL's. SQLite waits for the disk with each commit, and a disk may be slow.
            at_least=at_least if conn_id == POSTGRES else None,
            cpu=cpu.told(conn_id, _NONE),
        )
        for conn_id, name in DATABASES.items()
    ]


def _rates(
    number: int, rounds: int, latency: float, *options: str, concurrency: int | None = None
) -> tuple[dict[str, Sample], Cpu]:
    cpu = Cpu()
    with sandbox(*options, "--latency", str(latency), log=sys.stderr) as intercom:
        rates = in_turns(
            {
                name: functools.partial(_rate, intercom, name, number, cpu, concurrency=concurrency)
                for name in (*DATABASES, _NONE)
            },
            rounds,
        )
    return rates, cpu


def _rate(intercom: Sandbox, conn_id: str, number: int, cpu: Cpu, *, concurrency: int | None) -> float:
    """Send, and return messages a second."""
    intercom.ask("/_sandbox/reset", body={})
    contacts = [f"contact-{index}" for index in range(number)]
    ledger: Ledger = StatelessLedger(salt="bench") if conn_id == _NONE else _table(conn_id)
    began = time.perf_counter()
    with cpu.spent(conn_id, number):
        engine.send(intercom.url, intercom.connection["password"], contacts, ledger=ledger, concurrency=concurrency)
    took = time.perf_counter() - began
    report = intercom.ask("/_sandbox/report")
    if not report["messages"] == report["recipients"] == number:
        raise AssertionError(f"{number} messages: {report}")
    return number / took


def _table(conn_id: str) -> SqlLedger:
    owner = Owner("bench", uuid.uuid4().hex, "send", -1, 1, 0)
    return SqlLedger(open_database(conn_id), owner, Attempt(), campaign=f"bench/{uuid.uuid4()}")
