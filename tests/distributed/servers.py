"""A PostgreSQL and a Redis on loopback that run for the length of a `with` block."""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from tests.support.eventually import until
from tests.support.postgres import OWNER, serve_postgres
from tests.support.server_process import MAX_START_SECONDS, free_port, server_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.server_process import ServerFolder

_LEDGER: Final = "marketing"


@dataclass(frozen=True, slots=True)
class Servers:
    """
    The addresses of the servers.

    :param postgres: The address of Airflow's database, without its scheme.
    :param redis: The address of Redis.
    :param ledger: The Airflow connection of the ledger's database, on the same server.
    """

    postgres: str
    redis: str
    ledger: dict[str, Any]

    def ask_ledger(self, query: str) -> list[tuple[Any, ...]]:
        """Query the ledger's database."""
        import psycopg

        place = {name: self.ledger[name] for name in ("host", "port", "password")}
        with psycopg.connect(**place, user=self.ledger["login"], dbname=_LEDGER) as connection:
            return connection.execute(query.encode()).fetchall()


@contextmanager
def serving(folder: Path, log: IO[bytes]) -> Iterator[Servers]:
    """
    Run both servers.

    :param folder: The folder for their files, which is emptied first and removed afterwards.
    :param log: The file for their output.
    :return: Their addresses.
    :raises MissingError: When one is not on this machine and cannot be fetched.
    """
    with ExitStack() as stack:
        files = stack.enter_context(server_folder(folder, log))
        postgres = stack.enter_context(serve_postgres(files))
        postgres.execute(f"CREATE DATABASE {_LEDGER}")
        yield Servers(
            postgres=f"{OWNER}:{postgres.password}@127.0.0.1:{postgres.port}/postgres",
            redis=stack.enter_context(_redis(files)),
            ledger={**postgres.connection(), "schema": _LEDGER},
        )


@contextmanager
def _redis(files: ServerFolder) -> Iterator[str]:
    program, home = files.packages.find("redis-server", "redis-server"), files.make_home("redis")
    password, port = secrets.token_urlsafe(), free_port()
    settings = home.write(
        "redis.conf", "bind 127.0.0.1", f"port {port}", f"requirepass {password}", 'save ""', "appendonly no"
    )
    with home.running(program, settings) as process:

        def ready() -> bool:
            assert process.poll() is None, "Redis ended"
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
            return False

        until(ready, "Redis", within=MAX_START_SECONDS)
        yield f"redis://:{password}@127.0.0.1:{port}/0"
