"""Fill Airflow's database with the past: copies of a run that has ended."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.airflow_instance import Task

_TABLES: Final = ("xcom", "task_instance", "dag_run")
_MARK: Final = "past-"


def add_past_runs(task: Task, *, runs: int, tasks: int, until: datetime) -> None:
    """
    Copy the run of a task, with the task as many mapped instances, as if there had been one run a minute.

    :param task: A task of a run that has ended.
    :param runs: How many copies.
    :param tasks: How many task instances each has.
    :param until: The moment of the last run.
    """
    with closing(sqlite3.connect(task.airflow.database, timeout=60)) as database, database:
        database.row_factory = sqlite3.Row
        where = (task.dag_id, task.run_id)
        (run,) = database.execute("SELECT * FROM dag_run WHERE dag_id = ? AND run_id = ?", where).fetchall()
        one = (*where, task.task_id)
        query = "SELECT * FROM {} WHERE dag_id = ? AND run_id = ? AND task_id = ?"
        (instance,) = database.execute(query.format("task_instance"), one).fetchall()
        values = database.execute(query.format("xcom"), one).fetchall()
        (first,) = database.execute("SELECT max(id) + 1 FROM dag_run").fetchone()
        for number in range(runs):
            moment = str(until - timedelta(minutes=number))
            run_id = f"{_MARK}{number}"
            times = dict.fromkeys(("run_after", "start_date", "queued_at", "end_date", "logical_date"), moment)
            _insert(database, "dag_run", run, {"id": first + number, "run_id": run_id, **times})
            for index in range(tasks):
                place = {"run_id": run_id, "map_index": index}
                own = {"id": uuid4().hex, **place, "start_date": moment, "end_date": moment}
                _insert(database, "task_instance", instance, own)
                for value in values:
                    _insert(database, "xcom", value, {"dag_run_id": first + number, **place})


def remove_past_runs(task: Task) -> None:
    """Remove all copies."""
    with closing(sqlite3.connect(task.airflow.database, timeout=60)) as database, database:
        for table in _TABLES:
            database.execute(f"DELETE FROM {table} WHERE dag_id = ? AND run_id LIKE '{_MARK}%'", (task.dag_id,))  # noqa: S608 - our own names


def _insert(database: sqlite3.Connection, table: str, row: sqlite3.Row, changes: Mapping[str, Any]) -> None:
    new = {**dict(row), **{name: value for name, value in changes.items() if name in row.keys()}}  # noqa: SIM118 - a Row iterates over its values
    marks = ", ".join("?" for _ in new)
    database.execute(f"INSERT INTO {table} ({', '.join(new)}) VALUES ({marks})", tuple(new.values()))  # noqa: S608 - our own names
