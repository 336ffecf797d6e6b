"""The databases in which a ledger can be, each empty, as Airflow connections."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.support.postgres import serve_postgres
from tests.support.server_process import server_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

POSTGRES: Final = "postgres_ledger"
SQLITE: Final = "sqlite_ledger"
DATABASES: Final = {POSTGRES: "PostgreSQL", SQLITE: "SQLite"}
"""The id of each connection, and what its database is called."""


@contextmanager
def serve_databases() -> Iterator[None]:
    """Run a PostgreSQL whose commits survive a power cut, as SQLite's do, and make both connections."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with (
            folder.joinpath("log").open("wb") as log,
            server_folder(folder / "servers", log) as files,
            serve_postgres(files, durable=True) as server,
        ):
            _connect(POSTGRES, server.connection())
            _connect(SQLITE, {"conn_type": "sqlite", "host": str(folder / "ledger.db")})
            yield


def _connect(conn_id: str, connection: dict[str, object]) -> None:
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(connection)
