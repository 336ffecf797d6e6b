"""
The user's database in which a ledger is a table: which ones can be used, and how its tables are set up.

Claims of messages are rows that several tasks compete for, so it takes a database with transactions and unique
constraints that hold between processes: PostgreSQL, or SQLite for one machine. Airflow's own metadata database is
refused: it belongs to Airflow, which migrates and prunes it, and a task should not depend on it.
"""

from __future__ import annotations

import json
import logging
import secrets
import sqlite3
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as postgresql_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateIndex, CreateTable

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.compat import AirflowNotFoundException
from intercom_provider.ledger.tables import DEFAULT_TABLE, MIGRATIONS, SCHEMA_VERSION, ledger_tables

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from airflow.sdk import Connection

    from intercom_provider.ledger.tables import Tables

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_SECONDS: Final = 5
STATEMENT_TIMEOUT_SECONDS: Final = 8
LOCK_TIMEOUT_SECONDS: Final = 4
_WAL_PAUSE_SECONDS: Final = 0.02

# Processes that create the tables at the same moment take turns. Any number will do, as long as it is always the same.
_SETUP_LOCK: Final = 0x1_7E4C_0117
_AIRFLOW_TABLES: Final = frozenset({"dag_run", "task_instance", "alembic_version"})
_SALT_BYTES: Final = 16
# Where a connection keeps when its transaction began, by the clock of the database.
_BEGUN_AT: Final = "intercom_begun_at"


@dataclass(frozen=True, slots=True)
class Database:
    """
    A database with a ledger.

    :param engine: Connects anew for each transaction.
    :param tables: The ledger's tables.
    :param conn_id: The Airflow connection, for errors.
    """

    engine: sa.Engine
    tables: Tables
    conn_id: str

    def insert_new(self, table: sa.Table) -> Any:
        """
        Build an INSERT that leaves rows alone that are there already.

        :param table: The table.
        :return: The statement.
        """
        dialect: Any = postgresql_dialect if self.engine.dialect.name == "postgresql" else sqlite_dialect
        return dialect.insert(table).on_conflict_do_nothing()

    def given_rows(self, columns: Mapping[str, Any]) -> dict[str, sa.ColumnElement[Any]]:
        """
        Build the columns of rows that a statement is given as one value, a JSON list of objects.

        A driver takes a round trip, or at least a message, for each of many rows; this takes one for all of them.

        :param columns: The type of each column by its name.
        :return: The columns; the statement's parameter is called ``rows``.
        """
        rows = sa.bindparam("rows", type_=sa.Text)
        if self.engine.dialect.name == "postgresql":
            typed = [sa.column(name, kind) for name, kind in columns.items()]
            function = sa.func.json_to_recordset(sa.cast(rows, postgresql_dialect.JSON))
            given = function.table_valued(*typed).render_derived("given", with_types=True)
            return {name: given.c[name] for name in columns}
        value = sa.func.json_each(rows).table_valued("value", name="given").c.value
        return {name: sa.func.json_extract(value, f"$.{name}", type_=kind) for name, kind in columns.items()}

    def select_newest(self, scope: str, digests: Collection[str]) -> sa.Select[Any]:
        """
        Build a query for the newest attempt of each message.

        Each message costs one step down the primary key, whatever the database believes of a table that has just grown
        by a hundred thousand rows: a join with the highest numbers read the whole campaign for each of them.

        :param scope: The scope.
        :param digests: The messages.
        :return: The query, for whole rows.
        """
        table, columns = self.tables.messages, self.tables.messages.c
        if self.engine.dialect.name == "postgresql":
            texts = postgresql_dialect.ARRAY(sa.Text)
            wanted = sa.func.unnest(sa.cast(list(digests), texts)).table_valued("digest").render_derived("wanted")
            newest = (
                sa.select(table)
                .where(columns.scope == scope, columns.digest == wanted.c.digest)
                .order_by(columns.attempt.desc())
                .limit(1)
                .lateral("newest")
            )
            return sa.select(newest).select_from(wanted.join(newest, sa.true()))
        same = table.alias("same")
        highest = sa.select(sa.func.max(same.c.attempt)).where(
            same.c.scope == columns.scope, same.c.digest == columns.digest
        )
        return sa.select(table).where(
            columns.scope == scope, columns.digest.in_(digests), columns.attempt == highest.scalar_subquery()
        )

    def now(self, connection: sa.Connection) -> datetime:
        """
        Return when a transaction began by the database's clock, which all tasks that share a ledger go by.

        :param connection: A connection to it, in the transaction.
        :return: The moment.
        """
        if self.engine.dialect.name == "postgresql":
            moment: datetime = connection.info[_BEGUN_AT]
            return moment.astimezone(UTC)
        # SQLite runs in this process, and has no clock of its own.
        return datetime.now(UTC)

    def set_up(self) -> str:
        """
        Create what is missing of the ledger, and read its salt; several processes may do it at once.

        :return: The salt of the digests.
        :raises InvalidInputError: When it is Airflow's own database, or the salt of an existing ledger is lost.
        """
        messages, meta = self.tables.messages, self.tables.meta
        with self.engine.begin() as connection:
            if self.engine.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SETUP_LOCK)))
            names = set(sa.inspect(connection).get_table_names())
            if names >= _AIRFLOW_TABLES:
                raise InvalidInputError.of(
                    "ledger_conn_id",
                    f"the connection {self.conn_id} leads to Airflow's own metadata database, which Airflow migrates "
                    "and prunes: use a database of your own",
                )
            # Only what is missing: where a ledger exists, a user who may not create tables can use it.
            for statement in self._statements(names):
                connection.execute(statement)
            known = {row.name: row.value for row in connection.execute(sa.select(meta.c.name, meta.c.value))}
            if "salt" in known:
                self._check_version(known.get("version"))
                return str(known["salt"])
            if connection.execute(sa.select(messages.c.attempt).limit(1)).first() is not None:
                raise InvalidInputError.of(
                    "ledger_conn_id",
                    f"the table {meta.name} has lost its salt, without which nobody in {messages.name} is recognised "
                    "and everybody would be messaged again: restore it from a backup, or begin a new table "
                    "([intercom] ledger_table)",
                )
            made = secrets.token_hex(_SALT_BYTES)
            rows = [{"name": "salt", "value": made}, {"name": "version", "value": str(SCHEMA_VERSION)}]
            connection.execute(self.insert_new(meta), rows)
            return made

    def migrate(self) -> int:
        """
        Bring the tables to the layout of this release, step by step.

        :return: The version they had before.
        :raises InvalidInputError: As :meth:`set_up`.
        """
        self.set_up()
        meta = self.tables.meta
        with self.engine.begin() as connection:
            if self.engine.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SETUP_LOCK)))
            found = read_version(connection.execute(sa.select(meta.c.value).where(meta.c.name == "version")).scalar())
            for version, statements in sorted(MIGRATIONS.items()):
                if version > found:
                    for statement in statements:
                        connection.execute(sa.text(statement.format(table=self.tables.messages.name)))
            if found < SCHEMA_VERSION:
                connection.execute(sa.update(meta).where(meta.c.name == "version").values(value=str(SCHEMA_VERSION)))
            return found

    def _check_version(self, value: str | None) -> None:
        version = read_version(value)
        if version > SCHEMA_VERSION:
            log.warning(
                "The ledger in %s has version %d, that of a later release than this one, which knows version %d: it "
                "is used as far as its columns are known. Install the same release everywhere",
                *(self.conn_id, version, SCHEMA_VERSION),
            )
        elif version < SCHEMA_VERSION:
            log.warning(
                "The ledger in %s has version %d, and this release writes version %d: run `airflow intercom ledger "
                "init`, as a user who may change tables",
                *(self.conn_id, version, SCHEMA_VERSION),
            )

    def ddl(self) -> str:
        """
        Write the statements that create the tables, for those who create tables by hand.

        :return: SQL. The salt is made with the first use.
        """
        return "\n".join(f"{str(each.compile(dialect=self.engine.dialect)).strip()};" for each in self._statements(()))

    def _statements(self, existing: Collection[str]) -> Iterator[sa.schema.DDLElement]:
        for table in (self.tables.messages, self.tables.meta):
            if table.name in existing:
                continue
            yield CreateTable(table, if_not_exists=True)
            for index in sorted(table.indexes, key=lambda each: str(each.name)):
                yield CreateIndex(index, if_not_exists=True)


def read_version(value: object) -> int:
    """
    Read the version of a ledger's tables.

    :param value: What stands in its meta table; None where nothing does.
    :return: The version; 1 where it cannot be read.
    """
    text = str(value)
    return int(text) if text.isdecimal() else 1


def open_database(conn_id: str, table: str = DEFAULT_TABLE) -> Database:
    """
    Read a connection, and prepare for connecting to its database.

    :param conn_id: The Airflow connection of the ledger.
    :param table: The name of the ledger's table (default ``intercom_messages``).
    :return: The database; nothing has been connected yet.
    :raises InvalidInputError: When there is no such connection, or a ledger cannot be in its database.
    """
    from airflow.sdk import BaseHook

    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise InvalidInputError.of("ledger_conn_id", f"Airflow has no connection {conn_id}: define it") from None
    kind = str(connection.conn_type or "").lower()
    if kind == "sqlite":
        engine = _sqlite_engine(connection, conn_id)
    elif kind in ("postgres", "postgresql"):
        engine = _postgres_engine(connection, conn_id)
    else:
        raise InvalidInputError.of(
            "ledger_conn_id",
            f"the connection {conn_id} is of type {kind or 'none'}: a ledger is a table in PostgreSQL (type postgres) "
            "or SQLite (type sqlite)",
        )
    return Database(engine, ledger_tables(table, engine.dialect.name), conn_id)


def _sqlite_engine(connection: Connection, conn_id: str) -> sa.Engine:
    # A URI puts an absolute path behind the host's place (sqlite:////data/ledger.db), the form puts it into the host.
    path = str(connection.host or connection.schema or "").strip()
    if not path.startswith("/"):
        raise InvalidInputError.of(
            "ledger_conn_id",
            f"the connection {conn_id} needs the absolute path of an SQLite file in its host: tasks do not share a "
            "working directory",
        )

    def connect() -> sqlite3.Connection:
        # Transactions are begun below. Any thread may use the connection, one at a time.
        made = sqlite3.connect(
            path, timeout=LOCK_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        _use_write_ahead_log(made)
        made.execute("PRAGMA synchronous=FULL")
        return made

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=NullPool, future=True)

    @sa.event.listens_for(engine, "begin")
    def _begin(begun: sa.Connection) -> None:
        # A transaction that reads first and writes later would fail where another one wrote in between.
        begun.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Let readers and the writer not wait for each other; the first connections to a new file compete for this."""
    give_up = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            # SQLite's own time-out does not hold for a change of the mode.
            if time.monotonic() >= give_up:
                connection.close()
                raise
            time.sleep(_WAL_PAUSE_SECONDS)
        else:
            return


def _postgres_engine(connection: Connection, conn_id: str) -> sa.Engine:
    try:
        from airflow.providers.postgres.hooks import postgres
    except ImportError:
        raise InvalidInputError.of(
            "ledger_conn_id",
            f"the connection {conn_id} leads to PostgreSQL, for which the package apache-airflow-providers-postgres is "
            "needed: pip install 'airflow-provider-intercom[postgres]'",
        ) from None
    extra = dict(connection.extra_dejson)
    # A cursor that returns dictionaries is nothing that SQLAlchemy can read.
    extra.pop("cursor", None)
    extra.setdefault("connect_timeout", CONNECT_TIMEOUT_SECONDS)
    own = type(connection)(
        conn_id=conn_id,
        conn_type="postgres",
        host=connection.host,
        login=connection.login,
        password=connection.password,
        schema=connection.schema,
        port=connection.port,
        extra=json.dumps(extra),
    )
    hook = postgres.PostgresHook(postgres_conn_id=conn_id, connection=own)
    driver = "psycopg" if getattr(postgres, "USE_PSYCOPG3", False) else "psycopg2"
    # psycopg2 would make a round trip for each row of an UPDATE.
    batched = {"executemany_mode": "values_plus_batch"} if driver == "psycopg2" else {}
    # The hook connects: its URL drops what stands in extra, sslmode among it.
    engine = sa.create_engine(
        f"postgresql+{driver}://", creator=hook.get_conn, poolclass=NullPool, future=True, **batched
    )

    @sa.event.listens_for(engine, "begin")
    def _begin(begun: sa.Connection) -> None:
        # One round trip, with the clock that all of them ask for: after each the database's thread waits for its turn
        # among the threads that send.
        *_, now = begun.exec_driver_sql(
            f"SELECT set_config('statement_timeout', '{STATEMENT_TIMEOUT_SECONDS * 1000}', true), "
            f"set_config('lock_timeout', '{LOCK_TIMEOUT_SECONDS * 1000}', true), clock_timestamp()"
        ).one()
        begun.info[_BEGUN_AT] = now

    return engine
