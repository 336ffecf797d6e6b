"""The databases in which a ledger can be, each real and empty, as an Airflow connection of the id `ledger`."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.postgres import Postgres


@dataclass(frozen=True, slots=True)
class LedgerDatabase:
    """
    A database for one test.

    :param connection: The Airflow connection, as JSON has it.
    :param file: The file of an SQLite database; None for PostgreSQL.
    :param postgres: The server and its database; None for SQLite.
    """

    connection: dict[str, Any]
    file: Path | None = None
    postgres: Postgres | None = None

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """
        Execute a statement in a transaction of its own, beside what the ledger does.

        :param statement: SQL.
        :return: The rows; none where the statement has none.
        """
        if self.postgres is not None:
            return self.postgres.execute(statement)
        assert self.file is not None
        with closing(sqlite3.connect(self.file, isolation_level=None)) as connection:
            return connection.execute(statement).fetchall()


@pytest.fixture(params=["sqlite", "psycopg", "psycopg2"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LedgerDatabase]:
    """Make an empty database, in SQLite and in PostgreSQL over both of its drivers."""
    if request.param == "sqlite":
        found = LedgerDatabase({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}, tmp_path / "ledger.db")
        connect_ledger(monkeypatch, found)
        yield found
        return
    from airflow.providers.postgres.hooks import postgres as hooks

    if request.param == "psycopg2":
        # What Airflow's own provider chooses where psycopg is not installed.
        monkeypatch.setattr(hooks, "USE_PSYCOPG3", False)
    server: Postgres = request.getfixturevalue("postgres")
    yield from _emptied(server, monkeypatch)


@pytest.fixture
def postgres_database(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[LedgerDatabase]:
    """Make an empty database in PostgreSQL."""
    yield from _emptied(postgres, monkeypatch)


def _emptied(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[LedgerDatabase]:
    found = LedgerDatabase(server.connection(), postgres=server)
    connect_ledger(monkeypatch, found)
    try:
        yield found
    finally:
        server.empty()


def connect_ledger(monkeypatch: pytest.MonkeyPatch, database: LedgerDatabase, **changes: Any) -> None:
    """Make `ledger` the connection to this database."""
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps({**database.connection, **changes}))
