"""
The rows of one try: the statements that claim messages, record what came of them, and renew what is held.

A batch makes some ten such transactions a second, in one thread among up to a hundred that send. So the statements are
built once, and each transaction makes few round trips: after each one the thread waits for its turn.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from intercom_provider.ledger.ledger import Result
from intercom_provider.ledger.texts import storable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from intercom_provider.ledger.database import Database


class Finished(NamedTuple):
    """
    A claim that came to its end.

    :param digest: The message.
    :param attempt: The number of the attempt.
    :param result: What came of it; None releases the claim.
    """

    digest: str
    attempt: int
    result: Result | None


class Claim(NamedTuple):
    """
    A message that is about to be sent.

    :param digest: The message.
    :param attempt: The number of the attempt.
    :param key: The user's own id for it; None when it has none.
    :param message_type: Its type as Intercom is sent it.
    """

    digest: str
    attempt: int
    key: str | None
    message_type: str


class Claims:
    """
    The claims of one process in the table.

    :param database: The database, with its tables.
    :param owner_id: The process.
    :param constants: The columns that all of its rows have in common, ``scope`` among them.
    """

    def __init__(self, database: Database, owner_id: str, constants: Mapping[str, str | int | None]) -> None:
        table = database.tables.messages
        columns = table.c
        self._database = database
        self._constants = {**constants, "owner": owner_id}
        still_held = sa.and_(columns.owner == owner_id, columns.outcome.is_(None))
        own = sa.and_(
            columns.scope == constants["scope"],
            columns.digest == sa.bindparam("the_digest"),
            columns.attempt == sa.bindparam("the_attempt"),
            columns.owner == owner_id,
        )
        given = (*_columns_of(Result("")), "token", "finished_at")
        self._record = (
            sa.update(table)
            .where(own)
            .values({name: sa.bindparam(f"new_{name}") for name in given} | {"lease_until": None})
        )
        self._release = sa.delete(table).where(own, columns.outcome.is_(None))
        self._renew = sa.update(table).where(still_held).values(lease_until=sa.bindparam("new_lease_until"))
        given_rows = database.given_rows({name: columns[name].type for name in Claim._fields})
        same = {
            name: sa.bindparam(name, type_=columns[name].type)
            for name in (*self._constants, "token", "claimed_at", "lease_until")
        }
        inserted = same | given_rows
        # SQLite takes ON CONFLICT for a part of a join where a SELECT has no condition.
        self._claim = database.insert_new(table).from_select(
            list(inserted), sa.select(*inserted.values()).where(sa.true()), include_defaults=False
        )
        self._held = sa.select(columns.digest, columns.token).where(still_held)
        self._count = sa.select(sa.func.count()).select_from(table).where(still_held)

    def write(
        self,
        connection: sa.Connection,
        token: str,
        finished: Sequence[Finished],
        claimed: Sequence[Claim],
        *,
        lease_seconds: float,
        renews: bool,
    ) -> tuple[set[str], int]:
        """
        Record results, release claims, renew what is held and claim what comes next.

        :param connection: A connection, in a transaction.
        :param token: The name of this transaction, the same when it is made again.
        :param finished: The claims that came to their end.
        :param claimed: The messages to claim.
        :param lease_seconds: How long a claim holds from now on.
        :param renews: Whether those that are held already hold as long again.
        :return: Which messages are claimed now, and how many claims are held in all.
        """
        now = self._database.now(connection)
        lease_until = now + timedelta(seconds=lease_seconds)
        # In the order of their digests, or two transactions could each wait for a row of the other.
        finished, claimed = sorted(finished, key=_digest), sorted(claimed, key=_digest)
        recorded = [
            {
                "the_digest": each.digest,
                "the_attempt": each.attempt,
                **{f"new_{name}": value for name, value in _columns_of(each.result).items()},
                "new_token": token,
                "new_finished_at": now,
            }
            for each in finished
            if each.result is not None
        ]
        if recorded:
            connection.execute(self._record, recorded)
        released = [
            {"the_digest": each.digest, "the_attempt": each.attempt} for each in finished if each.result is None
        ]
        if released:
            connection.execute(self._release, released)
        if renews:
            connection.execute(self._renew, {"new_lease_until": lease_until})
        if claimed:
            constants = {**self._constants, "token": token, "claimed_at": now, "lease_until": lease_until}
            rows = json.dumps([each._asdict() for each in claimed], ensure_ascii=False)
            connection.execute(self._claim, {**constants, "rows": rows})
        # Of the rows that are held, those of this transaction have its token, whoever asks how often.
        held = connection.execute(self._held).all()
        wanted = {each.digest for each in claimed}
        return {digest for digest, written_by in held if written_by == token and digest in wanted}, len(held)

    def count(self, connection: sa.Connection) -> int:
        """
        Count the claims that are held.

        :param connection: A connection.
        :return: How many there are.
        """
        return int(connection.execute(self._count).scalar_one())


def _digest(row: Finished | Claim) -> str:
    return row.digest


def _columns_of(result: Result) -> dict[str, str | None]:
    return {
        "outcome": result.outcome,
        "reason": None if result.reason is None else storable(result.reason),
        "message_id": result.ids.id,
        "conversation_id": result.ids.conversation_id,
        "whatsapp_message_id": result.ids.whatsapp_message_id,
    }
