"""The ledger in a table of a local PostgreSQL, against none: at Intercom's pace, unpaced, with a long past."""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import engine
from benchmarks.measure import Sample, in_turns
from benchmarks.table import Row, allowed
from demo.machinery import sandbox
from intercom_provider.ledger.database import open_database
from intercom_provider.ledger.ledger import Attempt, message_digest
from intercom_provider.ledger.sql import Owner, SqlLedger
from intercom_provider.ledger.stateless import StatelessLedger
from tests.support.postgres import serve_postgres
from tests.support.server_process import server_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from demo.machinery import Sandbox
    from intercom_provider.ledger.ledger import Ledger
    from tests.support.postgres import Postgres

_LIMIT: Final = 1_667
_PACED_LATENCY_SECONDS: Final = 0.3
_PACED_MESSAGES: Final = 10_000
_LATENCY_SECONDS: Final = 0.05
_AT_ONCE: Final = 50
_MESSAGES: Final = 5_000
_PAST_ROWS: Final = 1_000_000
_ASKED: Final = 20_000
_NEW: Final = 10_000
_MAX_FINDING_SECONDS: Final = 5.0
_CAMPAIGN: Final = "welcome/1"
_TABLE: Final = "with ledger"
_NONE: Final = "without"


def run() -> list[Row]:
    """
    Send with the table and without a ledger, and find those who are new to a long campaign.

    :return: The rows.
    """
    with _serving() as server:
        os.environ["AIRFLOW_CONN_LEDGER"] = json.dumps(server.connection())
        paced = _rates(_PACED_MESSAGES, 1, _PACED_LATENCY_SECONDS, "--rate-limit", str(_LIMIT))
        unpaced = _rates(_MESSAGES, 3, _LATENCY_SECONDS, "--rate-limit", "0", concurrency=_AT_ONCE)
        finding = _find_new(server)
    return [
        _row(f"{_PACED_MESSAGES:,} messages at Intercom's pace, a second", paced, 0.95),
        _row("messages a second, 50 ms a reply, 50 in flight", unpaced, 0.85),
        allowed(
            f"finding {_NEW:,} new of {_ASKED:,} messages in a campaign of {_PAST_ROWS:,} rows",
            Sample((finding,)),
            _MAX_FINDING_SECONDS,
            "{:.2f} s",
        ),
    ]


def _row(what: str, rates: dict[str, Sample], at_least: float) -> Row:
    return Row(
        what=f"{what}: the table against no ledger",
        ours=rates[_TABLE].told("{:.0f}"),
        other=rates[_NONE].told("{:.0f}"),
        ratio=rates[_TABLE].median / rates[_NONE].median,
        at_least=at_least,
    )


@contextmanager
def _serving() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with (
            folder.joinpath("log").open("wb") as log,
            server_folder(folder / "servers", log) as files,
            serve_postgres(files, durable=True) as server,
        ):
            yield server


def _rates(
    number: int, rounds: int, latency: float, *options: str, concurrency: int | None = None
) -> dict[str, Sample]:
    with sandbox(*options, "--latency", str(latency), log=sys.stderr) as intercom:
        return in_turns(
            {
                name: functools.partial(_rate, intercom, name, number, concurrency=concurrency)
                for name in (_TABLE, _NONE)
            },
            rounds,
        )


def _rate(intercom: Sandbox, name: str, number: int, *, concurrency: int | None) -> float:
    """Send, and return messages a second."""
    intercom.ask("/_sandbox/reset", body={})
    ledger: Ledger = _ledger(f"bench/{uuid.uuid4()}") if name == _TABLE else StatelessLedger(salt="bench")
    contacts = [f"contact-{index}" for index in range(number)]
    began = time.perf_counter()
    engine.send(intercom.url, intercom.connection["password"], contacts, ledger=ledger, concurrency=concurrency)
    took = time.perf_counter() - began
    report = intercom.ask("/_sandbox/report")
    if not report["messages"] == report["recipients"] == number:
        raise AssertionError(f"{number} messages: {report}")
    return number / took


def _ledger(campaign: str) -> SqlLedger:
    owner = Owner("bench", uuid.uuid4().hex, "send", -1, 1, 0)
    return SqlLedger(open_database("ledger"), owner, Attempt(), campaign=campaign)


def _find_new(server: Postgres) -> float:
    """Fill a campaign, and return how long it takes to find those who are not in it."""
    ledger = _ledger(_CAMPAIGN)
    ledger.begin_try()
    digests = [_digest(ledger.salt, index) for index in range(_ASKED)]
    _fill(server, ledger.scope, digests[_NEW:])
    began = time.perf_counter()
    for start in range(0, _ASKED, 500):
        ledger.look_up(digests[start : start + 500])
    found = sum(ledger.find(digest) is None for digest in digests)
    took = time.perf_counter() - began
    if found != _NEW:
        raise AssertionError(f"{found} are new")
    return took


def _digest(salt: str, index: int) -> str:
    return message_digest(key=None, message_type="inapp", recipients=[{"id": str(index)}], salt=salt)


def _fill(server: Postgres, scope: str, known: Sequence[str]) -> None:
    columns = (
        "INSERT INTO intercom_messages (scope, digest, attempt, campaign, message_type, outcome, dag_id, run_id, "
        "task_id, map_index, try_number, max_tries, owner, token, claimed_at, finished_at) "
    )
    rest = f", 1, '{_CAMPAIGN}', 'inapp', 'sent', 'bench', 'before', 'send', -1, 1, 0, 'owner', 'token', now(), now()"
    words = ", ".join(f"('{digest}')" for digest in known)
    server.execute(f"{columns} SELECT '{scope}', digest{rest} FROM (VALUES {words}) AS known (digest)")  # noqa: S608 - our own
    server.execute(
        f"{columns} SELECT '{scope}', substr(md5(n::text), 1, 24){rest} "  # noqa: S608 - our own
        f"FROM generate_series(1, {_PAST_ROWS - len(known)}) AS n"
    )
    server.execute("ANALYZE intercom_messages")
