"""A real PostgreSQL on loopback: one for all tests of a process, emptied for each of them."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.airflow_instance import free_port
from tests.support.debian import MissingError
from tests.support.eventually import until
from tests.support.server_process import MAX_START_SECONDS, server_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import Popen

    from psycopg import Connection

    from tests.support.server_process import ServerFolder

OWNER: Final = "airflow"


@dataclass(frozen=True, slots=True)
class Postgres:
    """
    A running PostgreSQL.

    :param port: Its port on 127.0.0.1.
    :param password: The password of its owner.
    :param process: The server's main process.
    """

    port: int
    password: str
    process: Popen[bytes]

    def connection(self, *, port: int | None = None, **extra: Any) -> dict[str, Any]:
        """
        Return an Airflow connection to the database.

        :param port: Another port, such as a proxy's; None for the server's own.
        :param extra: The connection's extra.
        :return: The connection, as JSON has it.
        """
        return {
            "conn_type": "postgres",
            "host": "127.0.0.1",
            "port": port or self.port,
            "login": OWNER,
            "password": self.password,
            "schema": "postgres",
            "extra": extra,
        }

    def connect(self) -> Connection[tuple[Any, ...]]:
        """Open a connection of a driver, in which each statement is a transaction of its own."""
        import psycopg

        address = f"host=127.0.0.1 port={self.port} dbname=postgres user={OWNER} password={self.password}"
        return psycopg.connect(address, autocommit=True)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """
        Execute a statement, and return its rows.

        :param statement: SQL.
        :return: The rows; none where the statement has none.
        """
        with self.connect() as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def empty(self) -> None:
        """Disconnect whoever is connected, and drop all tables; a new database for each test would take a second."""
        self.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        self.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Start a server at its first use, for all tests of this process."""
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


@contextmanager
def serve_postgres(files: ServerFolder, *, durable: bool = False) -> Iterator[Postgres]:
    """
    Run a PostgreSQL.

    :param files: The folder for its files.
    :param durable: Whether a commit survives a power cut, as by default; a test's database need not (default False).
    :return: The server.
    :raises MissingError: When it is not on this machine and cannot be fetched.
    """
    initdb, program = (files.packages.find(name, "postgresql") for name in ("initdb", "postgres"))
    home = files.make_home("postgres")
    password, port, data = secrets.token_urlsafe(), free_port(), home.folder / "data"
    making = home.start(
        initdb,
        f"--pgdata={data}",
        f"--username={OWNER}",
        f"--pwfile={home.write('password', password)}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
    )
    assert making.wait(timeout=MAX_START_SECONDS) == 0, "PostgreSQL could not create its database"
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 200,
    }
    if not durable:
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with home.running(program, "-D", str(data), *words) as process:

        def ready() -> bool:
            assert process.poll() is None, "PostgreSQL ended"
            # Its own status file, because it listens before it accepts queries.
            with suppress(FileNotFoundError):
                return data.joinpath("postmaster.pid").read_text(encoding="utf-8").rstrip().endswith("ready")
            return False

        until(ready, "PostgreSQL", within=MAX_START_SECONDS, every=0.05)
        yield Postgres(port, password, process)
