"""A real PostgreSQL on loopback, without pytest: benchmarks use it as well."""

from __future__ import annotations

import secrets
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.support.eventually import until
from tests.support.server_process import MAX_START_SECONDS, free_port

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
