"""Asking a ledger of a million rows: who is new, what became of a campaign, of one person and of a run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from benchmarks.ledger_databases import DATABASES, serve_databases
from benchmarks.measure import Sample, say
from benchmarks.table import Row, allowed
from intercom_provider.ledger.database import open_database
from intercom_provider.ledger.ledger import Attempt, message_digest
from intercom_provider.ledger.overview import read_campaign
from intercom_provider.ledger.sql import Owner, SqlLedger

if TYPE_CHECKING:
    from collections.abc import Callable

    from intercom_provider.ledger.database import Database

_ROWS: Final = 1_000_000
_ASKED: Final = 20_000
_NEW: Final = 10_000
_LOOKED_UP_AT_ONCE: Final = 500
_CAMPAIGN: Final = "welcome/1"
_ROUNDS: Final = 3
_MAX_FINDING_SECONDS: Final = 5.0
_MAX_SHOWING_SECONDS: Final = 2.0
# Reading all rows takes longer, and a run has 33,334 of them.
_MAX_ASKING_MS: Final = 250.0

# A month of daily runs. Of a hundred messages one is rejected, and of a thousand one is unconfirmed.
_FILL: Final = (
    "INSERT INTO intercom_messages "
    "(scope, digest, attempt, campaign, key, message_type, outcome, message_id, whatsapp_message_id, delivery_status, "
    "dag_id, run_id, task_id, map_index, try_number, max_tries, owner, token, claimed_at, finished_at) "
    "WITH {numbers} SELECT 'c:welcome/1', {digest}, 1, 'welcome/1', 'customer-' || n, 'whatsapp', "
    "CASE WHEN n % 100 = 0 THEN 'rejected' WHEN n % 1000 = 1 THEN 'unconfirmed' ELSE 'sent' END, "
    "'message-' || n, 'wamid.' || n, CASE WHEN n % 10 = 3 THEN 'failed' ELSE 'delivered' END, "
    "'lifecycle', 'scheduled__' || {day} || 'T09:00:00+00:00', 'send', -1, 1, 0, 'owner', 'token', {at}, {at} "
    "FROM numbers"
)
_WORDS: Final = {
    "postgresql": {
        "numbers": "numbers AS (SELECT n FROM generate_series(1, :number) AS n)",
        "digest": "substr(md5(n::text), 1, 24)",
        "day": "(date '2026-10-01' + n / 33334)",
        "at": "timestamptz '2026-10-01 09:00+00' + n / 33334 * interval '1 day' + n % 3600 * interval '1 second'",
    },
    "sqlite": {
        "numbers": "RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :number)",
        "digest": "lower(hex(randomblob(12)))",
        "day": "date('2026-10-01', (n / 33334) || ' days')",
        "at": "datetime('2026-10-01 09:00', (n / 33334) || ' days', (n % 3600) || ' seconds') || '.000000'",
    },
}
"""What is said in another way in each database."""

_QUERIES: Final = {
    "one person's key": ("key", "SELECT campaign, outcome FROM intercom_messages WHERE key = 'customer-777'"),
    "what a run did": (
        "run",
        "SELECT outcome, count(*) FROM intercom_messages WHERE dag_id = 'lifecycle' AND run_id = :run_id GROUP BY 1",
    ),
    "what is unconfirmed": (
        "open",
        "SELECT campaign, key FROM intercom_messages WHERE outcome IS NULL OR outcome = 'unconfirmed'",
    ),
}
"""By what is asked, the index that has to serve it and the query."""


def run() -> list[Row]:
    """
    Fill a ledger in each database, and ask it.

    :return: The rows.
    """
    with serve_databases():
        return [row for conn_id, name in DATABASES.items() for row in _ask(conn_id, name)]


def _ask(conn_id: str, name: str) -> list[Row]:
    database = open_database(conn_id)
    owner = Owner("bench", "after", "send", -1, 1, 0)
    ledger = SqlLedger(database, owner, Attempt(), campaign=_CAMPAIGN)
    ledger.begin_try()
    digests = [
        message_digest(key=f"customer-{index}", message_type="whatsapp", recipients=[], salt=ledger.salt)
        for index in range(_ASKED)
    ]
    began = time.perf_counter()
    _fill(database, digests[_NEW:])
    say(f"  {name}: {_ROWS:,} rows in {time.perf_counter() - began:.0f} s")
    return [
        allowed(
            f"{name}: finding {_NEW:,} new ones among {_ASKED:,} messages",
            _timed(lambda: _find_new(conn_id, digests)),
            _MAX_FINDING_SECONDS,
            "{:.2f} s",
        ),
        allowed(
            f"{name}: counting the campaign by outcome, status, day and run (ledger show)",
            _timed(lambda: _show(database)),
            _MAX_SHOWING_SECONDS,
            "{:.2f} s",
        ),
        *(_by_index(database, name, what) for what in _QUERIES),
    ]


def _timed(function: Callable[[], object]) -> Sample:
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return Sample(tuple(times))


def _find_new(conn_id: str, digests: list[str]) -> None:
    """Look up a list as a sender does that begins anew."""
    ledger = SqlLedger(open_database(conn_id), Owner("bench", "after", "send", -1, 1, 0), Attempt(), campaign=_CAMPAIGN)
    ledger.begin_try()
    for start in range(0, _ASKED, _LOOKED_UP_AT_ONCE):
        ledger.look_up(digests[start : start + _LOOKED_UP_AT_ONCE])
    found = sum(ledger.find(digest) is None for digest in digests)
    if found != _NEW:
        raise AssertionError(f"{found} are new")


def _show(database: Database) -> None:
    with database.engine.begin() as connection:
        overview = read_campaign(database, connection, _CAMPAIGN)
    counts = (overview.outcomes, overview.days, overview.runs)
    if [sum(each.values()) for each in counts] != [_ROWS] * len(counts):
        raise AssertionError(f"not all rows are counted: {overview}")


def _by_index(database: Database, name: str, what: str) -> Row:
    index, query = _QUERIES[what]
    given = {"run_id": "scheduled__2026-10-07T09:00:00+00:00"} if ":run_id" in query else {}
    explain = "EXPLAIN" if database.engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    with database.engine.begin() as connection:
        rows = connection.execute(sa.text(f"{explain} {query}"), given)
        plan = "\n".join(" ".join(map(str, row)) for row in rows)
        if f"intercom_messages_{index}" not in plan:
            raise AssertionError(f"{what}: no index in {plan}")
        took = _timed(lambda: connection.execute(sa.text(query), given).all())
    in_ms = Sample(tuple(1000 * value for value in took.values))
    return allowed(f"{name}: {what}, by its index", in_ms, _MAX_ASKING_MS, "{:.1f} ms")


def _fill(database: Database, known: list[str]) -> None:
    table = database.tables.messages
    # Beside the ledger's own limits: no task fills a table so.
    with database.engine.begin() as connection:
        dialect = database.engine.dialect.name
        if dialect == "postgresql":
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(sa.text(_FILL.format(**_WORDS[dialect])), {"number": _ROWS})
        of_key = sa.update(table).where(table.c.key == sa.bindparam("the_key"))
        connection.execute(
            of_key.values(digest=sa.bindparam("new"), outcome="sent"),
            [{"new": digest, "the_key": f"customer-{number}"} for number, digest in enumerate(known, 1)],
        )
        connection.execute(sa.text("ANALYZE"))
