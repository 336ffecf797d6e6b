"""Rows of a ledger, as senders leave them, many at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from intercom_provider.ledger.configuration import open_ledger_database
from intercom_provider.ledger.ledger import message_digest

_FIRST = datetime(2026, 11, 1, 9, tzinfo=UTC)
_DAYS = 30


def set_up(conn_id: str) -> str:
    """Create a ledger; return its salt."""
    return open_ledger_database(conn_id).set_up()


def add_rows(conn_id: str, number: int, *, campaigns: int = 1, runs: int = 1, unconfirmed: int = 0) -> None:
    """
    Add rows of WhatsApp messages, each with a key.

    :param conn_id: The connection of the ledger.
    :param number: How many.
    :param campaigns: Over how many campaigns they spread (default 1).
    :param runs: Over how many DAG runs (default 1).
    :param unconfirmed: How many of them are unconfirmed; the others were sent (default 0).
    """
    database = open_ledger_database(conn_id)
    salt = database.set_up()
    for start in range(0, number, 10_000):
        rows = []
        for each in range(start, min(start + 10_000, number)):
            scope = f"c:welcome/{each % campaigns}"
            at = _FIRST + timedelta(days=each % _DAYS, seconds=each % 3_600)
            digest = message_digest(key=f"key-{each}", message_type="whatsapp", recipients=[], salt=f"{salt}/{scope}")
            is_sent = each >= unconfirmed
            rows.append(
                {
                    "scope": scope,
                    "digest": digest,
                    "attempt": 1,
                    "campaign": scope.removeprefix("c:"),
                    "key": f"key-{each}",
                    "message_type": "whatsapp",
                    "outcome": "sent" if is_sent else "unconfirmed",
                    "reason": None if is_sent else "the answer was lost",
                    "message_id": f"message-{each}" if is_sent else None,
                    "whatsapp_message_id": f"wamid.{each}" if is_sent else None,
                    "dag_id": "dag",
                    "run_id": f"run-{each % runs}",
                    "task_id": "send",
                    "map_index": -1,
                    "try_number": 1,
                    "max_tries": 0,
                    "owner": "owner",
                    "token": "token",
                    "claimed_at": at,
                    "finished_at": at,
                }
            )
        with database.engine.begin() as connection:
            connection.execute(database.tables.messages.insert(), rows)
