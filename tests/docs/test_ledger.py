"""The queries that the documentation shows, on each database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from intercom_provider.ledger.tables import ledger_tables
from tests.support.ledger_rows import add_rows, set_up

from .pages import ROOT, blocks, names, section, table

if TYPE_CHECKING:
    from tests.support.databases import LedgerDatabase

PAGE = ROOT / "docs" / "ledger.md"


def test_every_column_stands_in_its_table() -> None:
    written = [name for cell, _ in table(section(PAGE, "Columns"), "column") for name in names(cell)]
    assert sorted(written) == sorted(column.name for column in ledger_tables().messages.columns)


def test_every_query_runs_and_finds_what_it_is_for(database: LedgerDatabase) -> None:
    set_up("ledger")
    add_rows("ledger", 10, unconfirmed=2)
    database.execute("UPDATE intercom_messages SET campaign = 'trial-day-3', dag_id = 'trial_day_3'")
    database.execute("UPDATE intercom_messages SET run_id = 'scheduled__2026-11-27T09:00:00+00:00'")
    database.execute("UPDATE intercom_messages SET key = 'customer-1001' WHERE key = 'key-9'")
    database.execute("UPDATE intercom_messages SET outcome = 'rejected' WHERE key = 'key-8'")
    database.execute("CREATE TABLE customers (customer_id TEXT, trial_day INTEGER)")
    database.execute(
        "INSERT INTO customers VALUES ('customer-1001', 3), ('key-0', 3), ('key-8', 3), ('new', 3), ('later', 2)"
    )
    counts, customer, due, unknown, run, purge = [each.text for each in blocks(PAGE, "sql")]
    assert sorted(row[::2] for row in database.execute(counts)) == [("rejected", 1), ("sent", 7), ("unconfirmed", 2)]
    assert [row[:3] for row in database.execute(customer)] == [("trial-day-3", "whatsapp", "sent")]
    assert database.execute(due) == [("key-8",), ("new",)]
    assert len(database.execute(unknown)) == 2
    assert database.execute(run) == [("send", "rejected", 1), ("send", "sent", 7), ("send", "unconfirmed", 2)]
    database.execute(purge.replace("autumn-2024", "trial-day-3"))
    assert database.execute("SELECT count(*) FROM intercom_messages") == [(0,)]
