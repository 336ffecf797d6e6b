"""Counting a campaign: each attempt on its day of UTC, and by the index alone, on each database."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from intercom_provider.ledger.configuration import open_ledger_database
from intercom_provider.ledger.overview import read_campaign
from tests.support.ledger_rows import add_rows, set_up

if TYPE_CHECKING:
    from tests.support.databases import LedgerDatabase

CAMPAIGN = "welcome/0"


def test_an_attempt_counts_on_its_day_of_utc_whatever_the_time_zone(database: LedgerDatabase) -> None:
    set_up("ledger")
    add_rows("ledger", 3)
    ledger = open_ledger_database("ledger")
    columns = ledger.tables.messages.c
    moments = [
        datetime(2026, 11, 27, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 11, 27, 23, 30, tzinfo=timezone(timedelta(hours=-5))),
        datetime(2026, 11, 28, 0, 30, tzinfo=timezone(timedelta(hours=14))),
    ]
    if database.postgres is not None:
        database.execute("ALTER ROLE CURRENT_USER SET timezone = 'Pacific/Kiritimati'")
    try:
        with ledger.engine.begin() as connection:
            for number, moment in enumerate(moments):
                connection.execute(
                    sa.update(ledger.tables.messages).where(columns.key == f"key-{number}").values(claimed_at=moment)
                )
        with ledger.engine.begin() as connection:
            days = read_campaign(ledger, connection, CAMPAIGN).days
    finally:
        if database.postgres is not None:
            database.execute("ALTER ROLE CURRENT_USER RESET timezone")
    assert days == {(date(2026, 11, 27), "sent"): 2, (date(2026, 11, 28), "sent"): 1}


def test_counts_come_from_the_index_of_campaigns(database: LedgerDatabase) -> None:
    set_up("ledger")
    add_rows("ledger", 2_000, campaigns=20, runs=10, unconfirmed=100)
    database.execute("ANALYZE")
    ledger = open_ledger_database("ledger")
    asked: list[tuple[str, Any]] = []

    @sa.event.listens_for(ledger.engine, "before_cursor_execute")
    def _ask(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    with ledger.engine.begin() as connection:
        found = read_campaign(ledger, connection, CAMPAIGN)
        ((statement, parameters),) = [each for each in asked if "count(*)" in each[0]]
        explain = "EXPLAIN QUERY PLAN" if database.file else "EXPLAIN"
        plan = "\n".join(
            " ".join(map(str, row)) for row in connection.exec_driver_sql(f"{explain} {statement}", parameters)
        )
    assert found.outcomes == {"sent": 95, "unconfirmed": 5}
    by_outcome: Counter[str] = Counter()
    for (_, outcome), count in found.days.items():
        by_outcome[outcome] += count
    assert by_outcome == found.outcomes
    assert "intercom_messages_campaign" in plan, plan
    # How SQLite says that it sorts all rows.
    assert "TEMP B-TREE" not in plan, plan
