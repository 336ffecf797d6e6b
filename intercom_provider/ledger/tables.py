"""The definition of a ledger's two tables, its version, and the steps from the version before."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from intercom_provider.api.errors import InvalidInputError

if TYPE_CHECKING:
    _TypeDecorator = sa.types.TypeDecorator[datetime]
else:
    # SQLAlchemy 1.4, which Airflow 3.1 allows, has no type of values here.
    _TypeDecorator = sa.types.TypeDecorator

DEFAULT_TABLE: Final = "intercom_messages"
SCHEMA_VERSION: Final = 1
"""The layout that this release writes. A ledger of a later one is read as far as its columns are known."""

MIGRATIONS: Final[dict[int, tuple[str, ...]]] = {}
"""By the version that they lead to, the statements that change the tables of the version before it ({table})."""

# Each kind of database keeps moments in its own way, and only SQLite's is a text that begins with the day.
_UTC_DAY: Final = {"postgresql": "(claimed_at AT TIME ZONE 'UTC')::date", "sqlite": "substr(claimed_at, 1, 10)"}
# PostgreSQL cuts names at 63 bytes, and the names of indexes are longer than that of their table.
_TABLE_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,39}")


class UtcDateTime(_TypeDecorator):
    """A moment with its time zone; SQLite, which has no type for it, keeps UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Convert a moment to UTC on its way into the database."""
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Convert a moment to UTC on its way out of the database."""
        del dialect
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Tables:
    """
    The two tables of a ledger.

    :param messages: One row an attempt to send a message.
    :param meta: What the ledger knows of itself: its version and its salt.
    """

    messages: sa.Table
    meta: sa.Table


def ledger_tables(name: str = DEFAULT_TABLE, dialect: str = "sqlite") -> Tables:
    """
    Build the definition of a ledger's tables.

    :param name: The name of the table of messages (default ``intercom_messages``); the other one ends with ``_meta``.
    :param dialect: The kind of database, as SQLAlchemy calls it: ``sqlite`` (default) or ``postgresql``.
    :return: The tables.
    :raises InvalidInputError: When it cannot be a table's name.
    """
    if not _TABLE_NAME.fullmatch(name):
        raise InvalidInputError.of(
            "ledger_table", "must be a table's name: small letters, digits and underscores, at most 40 of them"
        )
    metadata = sa.MetaData()
    messages = sa.Table(
        name,
        metadata,
        # What is unique: an attempt to send one message within a scope. None of the three is ever null.
        sa.Column("scope", sa.Text, primary_key=True),
        # 24 digits, and which one it is of several equal messages that a batch sends (#2).
        sa.Column("digest", sa.String(40), primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("campaign", sa.Text),
        sa.Column("key", sa.Text),
        sa.Column("message_type", sa.Text),
        # Null while the message is claimed.
        sa.Column("outcome", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("message_id", sa.Text),
        sa.Column("conversation_id", sa.Text),
        sa.Column("whatsapp_message_id", sa.Text),
        sa.Column("delivery_status", sa.Text),
        sa.Column("delivery_reason", sa.Text),
        sa.Column("delivery_at", UtcDateTime),
        sa.Column("replied_at", UtcDateTime),
        sa.Column("dag_id", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("task_id", sa.Text, nullable=False),
        sa.Column("map_index", sa.Integer, nullable=False),
        sa.Column("try_number", sa.Integer, nullable=False),
        # Airflow's own, by which a task instance that was cleared is told from one that is retried.
        sa.Column("max_tries", sa.Integer, nullable=False),
        # The process that made the attempt, and its transaction that wrote the row last.
        sa.Column("owner", sa.String(32), nullable=False),
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("claimed_at", UtcDateTime, nullable=False),
        # For counts by day: computed with the row, because grouping a million rows by an expression sorts all of them.
        sa.Column("claimed_on", sa.Date, sa.Computed(_UTC_DAY[dialect], persisted=True)),
        sa.Column("lease_until", UtcDateTime),
        sa.Column("finished_at", UtcDateTime),
    )
    columns = messages.c
    sa.Index(f"{name}_key", columns.key)
    sa.Index(f"{name}_run", columns.dag_id, columns.run_id, columns.task_id, columns.map_index)
    # All that a campaign is counted by, so that counting reads neither the rows nor sorts them. Few of these values are
    # different ones, and PostgreSQL keeps equal ones once.
    counted = (columns.outcome, columns.delivery_status, columns.claimed_on, columns.dag_id, columns.run_id)
    sa.Index(f"{name}_campaign", columns.campaign, *counted)
    sa.Index(f"{name}_whatsapp", columns.whatsapp_message_id)
    sa.Index(f"{name}_message", columns.message_id)
    unsettled = sa.or_(columns.outcome.is_(None), columns.outcome == sa.text("'unconfirmed'"))
    sa.Index(f"{name}_open", columns.owner, postgresql_where=unsettled, sqlite_where=unsettled)
    meta = sa.Table(
        f"{name}_meta", metadata, sa.Column("name", sa.String(40), primary_key=True), sa.Column("value", sa.Text)
    )
    return Tables(messages, meta)
