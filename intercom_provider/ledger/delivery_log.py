"""
What became known after a send, written into the rows of the ledger: delivery statuses, and when somebody answered.

A wait is worth more than its record. So everything here has a limit of seconds, and an error is a warning in the log.
Statuses are written many at a time: those that are alike share one statement, whose ids are an IN list. A status never
goes back, because two waits may write about the same message in any order.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from intercom_provider.ledger.configuration import open_ledger_database
from intercom_provider.ledger.database_thread import Transactions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercom_provider.ledger.database import Database

log = logging.getLogger(__name__)

MAX_CALL_SECONDS: Final = 5.0
"""How long one transaction is waited for."""

MAX_SECONDS: Final = 30.0
"""After so many seconds no further statuses are written."""

MAX_IN_A_STATEMENT: Final = 500
_MAX_READ_AT_ONCE: Final = 10_000
_MAX_STATUS_CHARS: Final = 50
# More of them are kept on disk, so that a wait for any number of messages needs no more memory.
_MAX_CHARS_IN_MEMORY: Final = 1_000_000
# A message that is listed as failed and as delivered has arrived.
_ORDER: Final = ("sent", "failed", "delivered", "read")


class DeliveryLog:
    """
    Collects the statuses that one poll saw, and writes them into the ledger; bounded in memory. It has to be closed.

    :param conn_id: The connection of the ledger's database.
    """

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._number = 0
        self._seen = SpooledTemporaryFile(max_size=_MAX_CHARS_IN_MEMORY, mode="w+", encoding="utf-8")  # noqa: SIM115 - closed by close()

    def close(self) -> None:
        """Forget what was collected."""
        self._seen.close()

    def add(self, whatsapp_message_id: str, status: str, reason: str | None) -> None:
        """
        Collect the status of a message.

        :param whatsapp_message_id: WhatsApp's id of the message.
        :param status: The status as Intercom spells it.
        :param reason: Why it failed; None when it has not, or the reason is not known.
        """
        self._seen.write(json.dumps([whatsapp_message_id, status[:_MAX_STATUS_CHARS], reason]) + "\n")
        self._number += 1

    def write(self) -> int:
        """
        Write what was collected into the rows of these messages; an error is a warning in the log.

        :return: How many rows were written.
        """
        written = handled = 0
        try:
            database = open_ledger_database(self._conn_id)
            transactions = Transactions(database, limit=MAX_CALL_SECONDS)
            deadline = time.monotonic() + MAX_SECONDS
            for status, reason, ids in self._statements():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"it took longer than {MAX_SECONDS:.0f} s")  # noqa: TRY301 - is a warning below
                write = partial(
                    _write_status, database=database, status=status, reason=reason, whatsapp_message_ids=ids
                )
                written += transactions.run(write)
                handled += len(ids)
        except Exception as error:  # noqa: BLE001 - whatever it is, the wait does not depend on it
            log.warning(
                "%d of %d delivery statuses could not be written into the ledger (connection %s): %s",
                *(self._number - handled, self._number, self._conn_id, error),
            )
        else:
            log.info("%d delivery statuses written into the ledger", written)
        return written

    def _statements(self) -> Iterator[tuple[str, str | None, list[str]]]:
        """Yield messages that are alike, as many as one statement takes."""
        self._seen.seek(0)
        while lines := list(islice(self._seen, _MAX_READ_AT_ONCE)):
            alike: dict[tuple[str, str | None], list[str]] = {}
            for line in lines:
                whatsapp_message_id, status, reason = json.loads(line)
                alike.setdefault((status, reason), []).append(whatsapp_message_id)
            for (status, reason), ids in alike.items():
                # In order, or two waits could each hold a row that the other one waits for.
                ids.sort()
                for start in range(0, len(ids), MAX_IN_A_STATEMENT):
                    yield status, reason, ids[start : start + MAX_IN_A_STATEMENT]


def write_reply(conn_id: str, message_id: str, replied_at: float) -> bool:
    """
    Write into the row of a message when it was answered; an error is a warning in the log.

    :param conn_id: The connection of the ledger's database.
    :param message_id: Intercom's id of the message.
    :param replied_at: When the contact answered, in epoch seconds.
    :return: Whether the ledger has such a row.
    """
    try:
        database = open_ledger_database(conn_id)
        table = database.tables.messages
        statement = (
            sa.update(table)
            .where(table.c.message_id == message_id)
            .values(replied_at=datetime.fromtimestamp(replied_at, UTC))
        )
        transactions = Transactions(database, limit=MAX_CALL_SECONDS)
        return bool(transactions.run(lambda connection: connection.execute(statement).rowcount))
    except Exception as error:  # noqa: BLE001 - whatever it is, the wait does not depend on it
        log.warning("The answer could not be written into the ledger (connection %s): %s", conn_id, error)
        return False


def _write_status(
    connection: sa.Connection,
    *,
    database: Database,
    status: str,
    reason: str | None,
    whatsapp_message_ids: list[str],
) -> int:
    table, columns = database.tables.messages, database.tables.messages.c
    rank = 0
    with suppress(ValueError):  # a status that this version does not know counts as sent
        rank = _ORDER.index(status)
    values: dict[str, Any] = {"delivery_status": status, "delivery_at": database.now(connection)}
    if reason is not None or status != "failed":
        # The reason of a failure that an earlier wait learned is kept.
        values["delivery_reason"] = reason
    statement = (
        sa.update(table)
        .where(
            columns.whatsapp_message_id.in_(whatsapp_message_ids),
            sa.or_(columns.delivery_status.is_(None), columns.delivery_status.not_in(_ORDER[rank + 1 :] or ("",))),
        )
        .values(**values)
    )
    return int(connection.execute(statement).rowcount)
