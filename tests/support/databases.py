"""The databases in which a ledger can be, each real and empty, as an Airflow connection of the id `ledger`."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.debian import MissingError
from tests.support.postgres import serve_postgres
from tests.support.server_process import server_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres import Postgres
    from tests.support.server_process import ServerFolder


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


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Start a PostgreSQL at its first use, for all tests of this process; it is emptied for each of them."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        folder.chmod(0o755)
        with (
            folder.joinpath("log").open("wb") as log,
            server_folder(folder / "servers", log) as files,
            _serve_or_skip(files) as server,
        ):
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _serve_or_skip(files: ServerFolder) -> Iterator[Postgres]:
    # A machine with Python and make alone, and without Debian's packages, still runs the tests on SQLite.
    with ExitStack() as stack:
        try:
            server = stack.enter_context(serve_postgres(files))
        except MissingError as missing:
            pytest.skip(f"PostgreSQL is not here: {missing}")
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LedgerDatabase]:
    """Make an empty database, in SQLite and in PostgreSQL."""
    if request.param == "sqlite":
        found = LedgerDatabase({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}, tmp_path / "ledger.db")
        connect_ledger(monkeypatch, found)
        yield found
        return
    yield from _emptied(request.getfixturevalue("postgres"), monkeypatch)


@pytest.fixture
def postgres_database(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[LedgerDatabase]:
    """Make an empty database in PostgreSQL."""
    yield from _emptied(postgres, monkeypatch)


@pytest.fixture(params=["psycopg", "psycopg2"])
def driver(
    request: pytest.FixtureRequest, postgres_database: LedgerDatabase, monkeypatch: pytest.MonkeyPatch
) -> LedgerDatabase:
    """Make an empty database in PostgreSQL, for each driver that Airflow's provider may choose."""
    from airflow.providers.postgres.hooks import postgres as hooks

    if request.param == "psycopg2":
        # What that provider does by itself where psycopg or SQLAlchemy 2 is missing.
        monkeypatch.setattr(hooks, "USE_PSYCOPG3", False)
    return postgres_database


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
