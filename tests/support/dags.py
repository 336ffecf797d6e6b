"""Run DAGs for real, in this process: `dag.test()`, against a sandbox on a socket."""

from __future__ import annotations

import functools
import json
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.hostile import Hostile
from tests.support.sandbox import as_new

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from airflow.sdk import DAG, Context

    from intercom_provider.sandbox import Sandbox

_SLEEP = time.sleep


@dataclass
class Run:
    """The result of a DAG run."""

    dag_id: str
    run_id: str
    states: dict[str, str | None]
    dag: DAG

    def clear(self, task_id: str, *, empties_store: bool = False, map_index: int = -1) -> None:
        """Clear a task that has ended and run it once more, as Airflow does; from 3.4 on that empties its store."""
        from airflow.models.taskinstance import TaskInstance, clear_task_instances
        from airflow.sdk.definitions.dag import _run_task
        from airflow.utils.session import create_session
        from airflow.utils.state import TaskInstanceState

        with create_session() as session:
            find = functools.partial(
                TaskInstance.get_task_instance, self.dag_id, self.run_id, task_id, map_index=map_index
            )
            ended = find(session=session)
            assert ended
            try_number = ended.try_number
            clear_task_instances([ended], session)
        if empties_store:
            empty_store(self.dag_id, self.run_id, task_id)
        task = self.dag.task_dict[task_id]
        with create_session() as session:
            instance = find(session=session)
            assert instance
            instance.try_number = try_number + 1
            instance.state = TaskInstanceState.SCHEDULED
        _run_task(ti=instance, task=task)
        self.states[task_id if map_index < 0 else f"{task_id}[{map_index}]"] = instance.state and instance.state.value

    def xcom(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Read one XCom; None when it does not exist."""
        return self.xcoms(task_id, map_index).get(key)

    def link(self, task_id: str, map_index: int = -1) -> str | None:
        """Read the address of a task's button from the stored DAG, as Airflow's UI does."""
        from airflow.models.serialized_dag import SerializedDagModel
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session

        with create_session() as session:
            stored = SerializedDagModel.get_dag(self.dag_id, session=session)
            instance = TaskInstance.get_task_instance(
                self.dag_id, self.run_id, task_id, map_index=map_index, session=session
            )
            assert stored
            assert instance
            return stored.get_task(task_id).get_extra_links(instance, "Open in Intercom")

    def xcoms(self, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """Read all XComs of a task, without those of Airflow's buttons."""
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            rows = session.scalars(
                select(XComModel).where(
                    XComModel.dag_id == self.dag_id,
                    XComModel.run_id == self.run_id,
                    XComModel.task_id == task_id,
                    XComModel.map_index == map_index,
                )
            ).all()
            return {row.key: XComModel.deserialize_value(row) for row in rows if not row.key.startswith("_link_")}


def empty_store(dag_id: str, run_id: str, task_id: str) -> None:
    """Delete all that a task has in the task state store, as a person or a clear of Airflow 3.4 does."""
    from airflow.models.task_state_store import TaskStateStoreModel
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        session.execute(
            delete(TaskStateStoreModel).where(
                TaskStateStoreModel.dag_id == dag_id,
                TaskStateStoreModel.run_id == run_id,
                TaskStateStoreModel.task_id == task_id,
            )
        )


@pytest.fixture(scope="session")
def _airflow() -> None:
    from airflow.sdk import DAG, BaseOperator
    from airflow.sdk.execution_time import supervisor, task_runner
    from airflow.utils.db import initdb

    class Nothing(BaseOperator):
        """Does nothing."""

        def execute(self, context: Context) -> None:
            pass

    _sync_nothing()
    initdb()
    if not hasattr(supervisor.in_process_api_server, "cache_info"):
        # Before 3.3 an API server is made for each try of a task, which takes a second or more.
        supervisor.in_process_api_server = functools.cache(supervisor.in_process_api_server)
        # `dag.test()` does not pass the exception to callbacks, as a worker does.
        task_runner.finalize = functools.partial(_with_exception, task_runner.finalize)
    # Airflow loads modules for seconds in its first run, which must not happen within a test that measures time.
    with DAG("first") as dag:
        Nothing(task_id="nothing")
    _store(dag)
    dag.test()


def _sync_nothing() -> None:
    """Let SQLite write without waiting for the disk: this database need not outlive a crash of the machine."""
    from airflow import settings
    from sqlalchemy import event

    engines: list[Any] = [settings.engine, settings.async_engine and settings.async_engine.sync_engine]
    for engine in filter(None, engines):
        event.listen(engine, "connect", lambda connection, _: connection.cursor().execute("PRAGMA synchronous=OFF"))
        engine.dispose()


def _with_exception(finalize: Any, instance: Any, state: Any, context: Any, log: Any, error: Any = None) -> None:
    context["exception"] = error
    finalize(instance, state, context, log, error)


@pytest.fixture
def run_dag(_airflow: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs a DAG to its end and returns the result."""
    monkeypatch.setattr("time.sleep", _sleep)

    def run(dag: DAG, conf: dict[str, Any] | None = None, logical_date: datetime | None = None) -> Run:
        _store(dag)
        more: dict[str, Any] = {} if logical_date is None else {"logical_date": logical_date}
        result = dag.test(run_conf=conf, **more)
        states = {}
        for instance in result.get_task_instances():
            mapped = f"[{instance.map_index}]" if instance.map_index >= 0 else ""
            states[f"{instance.task_id}{mapped}"] = str(instance.state) if instance.state else None
        return Run(dag.dag_id, result.run_id, states, dag)

    return run


def _sleep(seconds: float) -> None:
    """Let `dag.test()` check for due tasks twenty times a second, not once."""
    caller = sys._getframe(1).f_globals["__name__"]  # noqa: SLF001 - other callers sleep as long as they ask for
    _SLEEP(0.05 if caller == "airflow.sdk.definitions.dag" else seconds)


def _store(dag: DAG) -> None:
    """Store a DAG in the database, where Airflow reads it before a run."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session

    try:
        from airflow.serialization.definitions.dag import SerializedDAG
    except ImportError:  # before 3.2
        from airflow.serialization.serialized_objects import SerializedDAG  # type: ignore[attr-defined]

    with create_session() as session:
        DagBundlesManager().sync_bundles_to_db(session=session)  # type: ignore[no-untyped-call]  # Airflow's
        session.commit()
    lazy = LazyDeserializedDAG.from_dag(dag)
    with create_session() as session:
        SerializedDAG.bulk_write_to_db("dags-folder", None, [lazy], session=session)
        session.commit()
        SerializedDagModel.write_dag(lazy, bundle_name="dags-folder", bundle_version=None, session=session)


@pytest.fixture
def sandbox(running: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Return a sandbox at twenty times its speed, connected as `intercom_default`."""
    as_new(running, speed=20.0, rate_limit=0)
    connect(monkeypatch, running.connection)
    return running


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    """Start an Intercom that misbehaves as scripted, connected as `intercom_default`."""
    with Hostile() as server:
        # Long enough for a busy machine; what is to come too late comes later than this.
        connect(monkeypatch, server.connection, timeout=3.0)
        yield server


def connect(monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any], **extra: Any) -> None:
    """Make `intercom_default` this connection."""
    merged = {**connection, "extra": {**connection.get("extra", {}), **extra}}
    monkeypatch.setenv("AIRFLOW_CONN_INTERCOM_DEFAULT", json.dumps(merged))


@pytest.fixture
def at_opening(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Return a function that lets a deferred task go on at once, after what happens while it waits."""

    def let(happen: Callable[[], object]) -> None:
        def run_trigger(*_: object) -> None:
            happen()

        monkeypatch.setattr("airflow.sdk.definitions.dag._run_inline_trigger", run_trigger)

    return let
