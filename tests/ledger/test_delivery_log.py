"""What waits write into the ledger, on each database."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.ledger.configuration import open_ledger_database
from intercom_provider.ledger.delivery_log import DeliveryLog, write_reply
from tests.support.ledger_rows import add_rows, set_up

if TYPE_CHECKING:
    from tests.support.databases import LedgerDatabase

COLUMNS = "SELECT whatsapp_message_id, delivery_status, delivery_reason FROM intercom_messages ORDER BY key"


def write(*seen: tuple[str, str, str | None]) -> int:
    log = DeliveryLog("ledger")
    for each in seen:
        log.add(*each)
    try:
        return log.write()
    finally:
        log.close()


def test_statuses_and_reasons_are_written_into_the_rows_of_their_messages(database: LedgerDatabase) -> None:
    set_up("ledger")
    add_rows("ledger", 4)
    assert write(
        ("wamid.0", "delivered", None), ("wamid.1", "failed", "Undeliverable"), ("wamid.unknown", "read", None)
    ) == 2  # fmt: skip
    assert database.execute(COLUMNS) == [
        ("wamid.0", "delivered", None),
        ("wamid.1", "failed", "Undeliverable"),
        ("wamid.2", None, None),
        ("wamid.3", None, None),
    ]
    assert database.execute("SELECT count(*) FROM intercom_messages WHERE delivery_at IS NOT NULL") == [(2,)]


def test_a_status_never_goes_back_and_a_known_reason_stays(database: LedgerDatabase) -> None:
    set_up("ledger")
    add_rows("ledger", 4)
    write(("wamid.0", "read", None), ("wamid.1", "failed", "Undeliverable"), ("wamid.2", "failed", "Too soon"))
    write(("wamid.0", "delivered", None), ("wamid.1", "failed", None), ("wamid.2", "delivered", None))
    write(("wamid.0", "sent", None), ("wamid.2", "failed", None), ("wamid.3", "queued", None))
    assert [row[1:] for row in database.execute(COLUMNS)] == [
        ("read", None),
        ("failed", "Undeliverable"),
        ("delivered", None),
        ("queued", None),
    ]


@pytest.mark.usefixtures("database")
def test_ten_thousand_statuses_are_written() -> None:
    set_up("ledger")
    add_rows("ledger", 10_000)
    seen = (
        (f"wamid.{n}", "failed" if n % 10 == 0 else "delivered", "Why" if n % 10 == 0 else None) for n in range(10_000)
    )
    assert write(*seen) == 10_000


def test_the_time_of_an_answer_is_written(database: LedgerDatabase) -> None:
    set_up("ledger")
    add_rows("ledger", 2)
    assert write_reply("ledger", "message-1", 1_795_267_508)
    assert not write_reply("ledger", "message-7", 1_795_267_508)
    [(at,)] = database.execute("SELECT replied_at FROM intercom_messages WHERE replied_at IS NOT NULL")
    assert str(at).startswith("2026-11-21 ")


def test_a_database_that_refuses_is_a_warning(monkeypatch: Any, caplog: pytest.LogCaptureFixture) -> None:
    refusing = {
        "conn_type": "postgres",
        "host": "127.0.0.1",
        "port": 1,
        "login": "someone",
        "password": "a secret",
        "schema": "ledger",
    }
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(refusing))
    with caplog.at_level(logging.WARNING):
        assert write(("wamid.1", "read", None)) == 0
        assert not write_reply("ledger", "1", 1.0)
    first, second = caplog.messages
    assert first.startswith("1 of 1 delivery statuses could not be written into the ledger (connection ledger): ")
    assert second.startswith("The answer could not be written into the ledger (connection ledger): ")
    # A sensor sends nothing in the first place.
    assert not any("sent without" in message for message in (first, second))


def test_a_connection_that_does_not_exist_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    write(("wamid.1", "read", None))
    assert "Airflow has no connection ledger" in caplog.text


def test_a_table_that_is_locked_costs_a_few_seconds(
    postgres_database: LedgerDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    set_up("ledger")
    add_rows("ledger", 2)
    assert postgres_database.postgres
    with postgres_database.postgres.connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE intercom_messages")
        started = time.monotonic()
        assert write(("wamid.0", "read", None), ("wamid.1", "failed", None)) == 0
        assert time.monotonic() - started < 6
    assert "2 of 2 delivery statuses could not be written" in caplog.text
    assert write(("wamid.0", "read", None)) == 1


MANY = 50_000
QUERIES = {
    "key": "SELECT * FROM intercom_messages WHERE key = 'key-777'",
    "run": "SELECT * FROM intercom_messages WHERE dag_id = 'dag' AND run_id = 'run-7' AND task_id = 'send'",
    "open": "SELECT * FROM intercom_messages WHERE outcome IS NULL OR outcome = 'unconfirmed'",
    "campaign": "SELECT outcome, delivery_status, count(*) FROM intercom_messages "
    "WHERE campaign = 'welcome/7' GROUP BY outcome, delivery_status",
    "whatsapp": "SELECT * FROM intercom_messages WHERE whatsapp_message_id IN ('wamid.1', 'wamid.2')",
    "message": "SELECT * FROM intercom_messages WHERE message_id = 'message-1'",
}


def test_what_is_asked_often_is_found_by_an_index(database: LedgerDatabase) -> None:
    set_up("ledger")
    add_rows("ledger", MANY, campaigns=100, runs=100, unconfirmed=20)
    database.execute("ANALYZE")
    explain = "EXPLAIN QUERY PLAN" if database.file else "EXPLAIN"
    for name, query in QUERIES.items():
        plan = "\n".join(" ".join(map(str, row)) for row in database.execute(f"{explain} {query}"))
        assert f"intercom_messages_{name}" in plan, plan


def test_columns_that_a_later_release_has_added_do_not_hurt(database: LedgerDatabase) -> None:
    set_up("ledger")
    database.execute("ALTER TABLE intercom_messages ADD COLUMN from_the_future TEXT")
    set_up("ledger")
    add_rows("ledger", 1)
    assert write(("wamid.0", "read", None)) == 1
    assert open_ledger_database("ledger").set_up()
