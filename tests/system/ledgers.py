"""The ledgers that tests here choose from: Airflow's task state store, and a table in each database."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.airflow_instance import AirflowInstance, Task
    from tests.support.postgres import Postgres


@dataclass(frozen=True, slots=True)
class SystemLedger:
    """
    A ledger that tasks use.

    :param conn_id: The Airflow connection of its database; empty for Airflow's task state store.
    :param file: The file of an SQLite database; None for the others.
    :param postgres: The server; None for the others.
    """

    conn_id: str = ""
    file: Path | None = None
    postgres: Postgres | None = None

    def connect(self, airflow: AirflowInstance) -> None:
        """Add the connection to it to Airflow, if it is missing."""
        if airflow.find(f"/connections/{self.conn_id}"):
            return
        body: dict[str, Any] = {"conn_type": "sqlite", "host": str(self.file)}
        if self.postgres is not None:
            body = self.postgres.connection()
            body["extra"] = json.dumps(body["extra"])
        airflow.call("POST", "/connections", {"connection_id": self.conn_id, **body})

    def select(self, query: str) -> list[tuple[Any, ...]]:
        """Query the database of a table."""
        if self.postgres is not None:
            return self.postgres.execute(query)
        with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()

    def has_intent(self, task: Task) -> bool:
        """Check whether a task has written that it is about to send."""
        if not self.conn_id:
            return any(task.ledger)
        try:
            return bool(self.select(f"SELECT 1 FROM intercom_messages WHERE run_id = '{task.run_id}'"))  # noqa: S608 - ours
        except Exception:  # noqa: BLE001 - the first task makes the table
            return False
