"""
Correcting a ledger by hand: entering who had a message from elsewhere, and taking one person's rows out.

A row that is entered is an attempt like any other, with the number after the newest one. So it holds the message back
for every run, also for one that is about to claim it.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from intercom_provider.ledger.ledger import message_digest

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from intercom_provider.ledger.database import Database

MARKED_DAG_ID: Final = "(marked)"
"""The ``dag_id`` of a row that was entered by hand."""

_MARKED_TASK_ID: Final = "ledger mark"
_MARKED_REASON: Final = "entered by airflow intercom ledger mark"
_NO_MAP_INDEX: Final = -1
_DIGEST_CHARS: Final = 24
_MAX_IN_A_STATEMENT: Final = 500
# The types as Intercom is sent them: the names of messages without a key are made of type and recipient.
_WIRE_TYPES: Final = ("inapp", "email", "whatsapp", "sms")


class MarkedMessage(NamedTuple):
    """
    A message that somebody had from elsewhere.

    :param digest: Its digest in the campaign's scope.
    :param key: The user's own id for it; None when it has none.
    :param message_type: Its type as Intercom is sent it.
    """

    digest: str
    key: str | None
    message_type: str


def mark_sent(
    database: Database, connection: sa.Connection, campaign: str, messages: Sequence[MarkedMessage], token: str
) -> int:
    """
    Enter messages as sent, unless the campaign has sent them already.

    :param database: The ledger's database.
    :param connection: A connection to it, in a transaction.
    :param campaign: The campaign.
    :param messages: The messages, at most a few thousand at a time.
    :param token: The name of this transaction, the same when it is made again.
    :return: How many were entered.
    """
    table, columns = database.tables.messages, database.tables.messages.c
    scope = f"c:{campaign}"
    newest: dict[str, tuple[int, str | None]] = {}
    ordered = sorted(messages)
    for start in range(0, len(ordered), _MAX_IN_A_STATEMENT):
        part = [each.digest for each in ordered[start : start + _MAX_IN_A_STATEMENT]]
        query = sa.select(columns.digest, columns.attempt, columns.outcome).where(
            columns.scope == scope, columns.digest.in_(part)
        )
        for digest, attempt, outcome in connection.execute(query):
            newest[digest] = max(newest.get(digest, (0, None)), (attempt, outcome), key=lambda each: each[0])
    now = database.now(connection)
    rows = [
        {
            "scope": scope,
            "digest": each.digest,
            "attempt": newest.get(each.digest, (0, None))[0] + 1,
            "campaign": campaign,
            "key": each.key,
            "message_type": each.message_type,
            "outcome": "sent",
            "reason": _MARKED_REASON,
            "dag_id": MARKED_DAG_ID,
            "run_id": f"marked__{datetime.now(UTC):%Y-%m-%d}",
            "task_id": _MARKED_TASK_ID,
            "map_index": _NO_MAP_INDEX,
            "try_number": 1,
            "max_tries": 0,
            "owner": uuid.uuid4().hex,
            "token": token,
            "claimed_at": now,
            "finished_at": now,
        }
        for each in ordered
        if newest.get(each.digest, (0, None))[1] != "sent"
    ]
    if rows:
        connection.execute(database.insert_new(table), rows)
    # Counted by the token, so that a transaction whose answer was lost counts the same when it is made again.
    entered = 0
    for start in range(0, len(ordered), _MAX_IN_A_STATEMENT):
        count = sa.select(sa.func.count()).where(
            columns.scope == scope,
            columns.digest.in_([each.digest for each in ordered[start : start + _MAX_IN_A_STATEMENT]]),
            columns.token == token,
        )
        entered += int(connection.execute(count).scalar_one())
    return entered


class PersonRows(NamedTuple):
    """
    The rows of one person.

    :param where: The condition that chooses them; those under way are not among them.
    :param number: How many there are.
    :param under_way: How many more belong to messages that are being sent, and have to stay.
    """

    where: sa.ColumnElement[bool]
    number: int
    under_way: int


def find_person(
    database: Database,
    connection: sa.Connection,
    *,
    salt: str,
    campaign: str | None,
    key: str | None,
    recipients: Collection[tuple[str, str]],
) -> PersonRows:
    """
    Find the rows of one person, by the key or by the recipient.

    :param database: The ledger's database.
    :param connection: A connection to it.
    :param salt: The ledger's salt.
    :param campaign: The campaign; None for all rows of the ledger.
    :param key: The user's own id for the message; None to go by recipient.
    :param recipients: What the person may be addressed by, as field and value; messages with a key are not found by it.
    :return: The rows.
    """
    columns = database.tables.messages.c
    chosen: sa.ColumnElement[bool]
    if key is not None:
        chosen = columns.key == key
    else:
        chosen = sa.or_(sa.false(), *_by_recipient(database, connection, salt, campaign, recipients))
    if campaign is not None:
        chosen = sa.and_(columns.campaign == campaign, chosen)
    # Without its row a message that is being sent could be claimed, and sent, once more.
    is_under_way = sa.and_(columns.outcome.is_(None), columns.lease_until > database.now(connection))
    where = sa.and_(chosen, sa.not_(sa.func.coalesce(is_under_way, sa.false())))
    number, all_rows = (
        int(
            connection.execute(
                sa.select(sa.func.count()).select_from(database.tables.messages).where(each)
            ).scalar_one()
        )
        for each in (where, chosen)
    )
    return PersonRows(where, number, all_rows - number)


def forget_person(database: Database, connection: sa.Connection, rows: PersonRows) -> int:
    """
    Delete the rows of one person.

    :param database: The ledger's database.
    :param connection: A connection to it, in a transaction.
    :param rows: What :func:`find_person` found.
    :return: How many were deleted.
    """
    return int(connection.execute(sa.delete(database.tables.messages).where(rows.where)).rowcount)


def _by_recipient(
    database: Database,
    connection: sa.Connection,
    salt: str,
    campaign: str | None,
    recipients: Collection[tuple[str, str]],
) -> list[sa.ColumnElement[bool]]:
    """Return a condition for each few scopes; a digest is that of one scope, so each scope has its own."""
    table, columns = database.tables.messages, database.tables.messages.c
    scopes = (
        [f"c:{campaign}"] if campaign is not None else connection.execute(sa.select(columns.scope).distinct()).scalars()
    )
    digests = {
        message_digest(key=None, message_type=message_type, recipients=[[field, value]], salt=f"{salt}/{scope}"): scope
        for scope in scopes
        for message_type in _WIRE_TYPES
        for field, value in recipients
    }
    # Only those that exist, so that the condition stays short however many scopes there are.
    found: list[sa.ColumnElement[bool]] = []
    wanted = list(digests.items())
    for start in range(0, len(wanted), _MAX_IN_A_STATEMENT):
        part = dict(wanted[start : start + _MAX_IN_A_STATEMENT])
        query = (
            sa.select(columns.scope, columns.digest)
            .select_from(table)
            # Behind the digest stands which of several equal messages it is, where a batch sent them all (#2).
            .where(columns.scope.in_(set(part.values())), sa.func.substr(columns.digest, 1, _DIGEST_CHARS).in_(part))
            .distinct()
        )
        found += [
            sa.and_(columns.scope == scope, columns.digest == digest) for scope, digest in connection.execute(query)
        ]
    return found
