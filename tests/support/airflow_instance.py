"""A real Airflow for tests: API server, scheduler, DAG processor and triggerer, on loopback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import uuid4

import httpx
import psutil  # type: ignore[import-untyped]  # Airflow brings it, without types

from tests.support.eventually import until
from tests.support.features import FEATURES
from tests.support.project import PROJECT
from tests.support.server_process import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

_COMMANDS: Final = {
    "api-server": ("api-server", "--host", "127.0.0.1"),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
# The API server writes its audit log from its event loop and may so block the write of a task. SQLite then gives up
# after five seconds and nothing was changed, so the request can be repeated.
_MAX_ATTEMPTS: Final = 3
_END_STATES: Final = ("success", "failed", "skipped", "upstream_failed", "removed")


class AirflowInstance:
    """
    A real Airflow that runs for the length of a `with` block.

    :param home: Its folder, which is emptied first.
    :param dags: The folder of its DAGs.
    :param connections: Its connections by id.
    :param settings: More settings, as environment variables.
    :param parts: The commands of additional processes, by name.
    """

    def __init__(
        self,
        home: Path,
        dags: Path,
        connections: Mapping[str, Mapping[str, Any]],
        *,
        settings: Mapping[str, str] = MappingProxyType({}),
        parts: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        self.logs = home / "logs"
        self._home = home
        self._commands = {**_COMMANDS, **parts}
        self.url = url = f"http://127.0.0.1:{free_port()}"
        self._env = {
            **_environment(url, home, dags),
            **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(connection) for name, connection in connections.items()},
            **settings,
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        # Requests to this machine must not go through a proxy.
        self._http = httpx.Client(base_url=f"{url}/api/v2", timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        shutil.rmtree(self._home, ignore_errors=True)
        self.logs.mkdir(parents=True)
        try:
            migrate = self.launch("db-migrate", "airflow", "db", "migrate")
            assert migrate.wait(timeout=300) == 0, "Airflow could not create its database"
            for name in self._commands:
                self.start(name)
            until(self._is_ready, "Airflow", within=300)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + 5
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(0.0, deadline - time.monotonic()))
        for name in list(self._processes):
            self.kill(name)

    def start(self, name: str) -> None:
        """Start one of the processes."""
        self.launch(name, "airflow", *self._commands[name])

    def is_started(self, name: str) -> bool:
        """Check whether one of the processes was started, and not killed since."""
        return name in self._processes

    def kill(self, name: str) -> None:
        """End a process and all that it has started with SIGKILL."""
        process = self._processes.pop(name)
        # By session, because Airflow puts each task into a process group of its own.
        for pid in psutil.pids():
            with suppress(ProcessLookupError, PermissionError):
                if os.getsid(pid) == process.pid:
                    os.kill(pid, signal.SIGKILL)
        process.wait()

    def works_on(self, name: str, task: Task) -> bool:
        """Check whether a task is running in one of the processes."""
        pid = task.info.get("pid")
        with suppress(ProcessLookupError):
            return pid is not None and os.getsid(pid) == self._processes[name].pid
        return False

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send a request to Airflow's REST API, and return the body of the reply."""
        for _ in range(_MAX_ATTEMPTS):
            reply = self._http.request(method, path, json=body)
            if reply.status_code == httpx.codes.UNAUTHORIZED:
                # Everybody is an administrator, but Airflow 3.1 gives everybody a token first.
                token = self._http.get(f"{self.url}/auth/token").raise_for_status().json()["access_token"]
                self._http.headers["Authorization"] = f"Bearer {token}"
                continue
            if reply.status_code != httpx.codes.INTERNAL_SERVER_ERROR or "Database error" not in reply.text:
                break
        assert reply.is_success, f"{method} {path}: {reply.status_code} {reply.text}"
        return reply.json() if reply.content else None

    def find(self, path: str) -> Any:
        """Read a resource of Airflow's REST API; None when it does not exist."""
        return None if self._http.get(path).status_code == httpx.codes.NOT_FOUND else self.call("GET", path)

    def task(self, dag_id: str, task_id: str) -> Task:
        """Return a task of a run that is not started yet."""
        return Task(self, dag_id, f"run-{uuid4()}", task_id)

    def run(self, dag_id: str, task_id: str, **params: Any) -> Task:
        """Start a run of a DAG and return one of its tasks."""
        task = self.task(dag_id, task_id)
        task.start_run(**params)
        return task

    def set_variable(self, key: str, value: str) -> None:
        """Set an Airflow variable."""
        if self.find(f"/variables/{key}"):
            self.call("PATCH", f"/variables/{key}", {"key": key, "value": value})
        else:
            self.call("POST", "/variables", {"key": key, "value": value})

    @property
    def database(self) -> Path:
        """The file of Airflow's SQLite database, which it has unless `settings` name another one."""
        return self._home / "airflow.db"

    def select(self, query: str) -> list[tuple[Any, ...]]:
        """Query Airflow's SQLite database."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()

    def _is_ready(self) -> bool:
        for name in self._commands:
            assert self._processes[name].poll() is None, f"the {name} ended"
        try:
            health = self.call("GET", "/monitor/health")
            dags = self.call("GET", "/dags")["dags"]
        except httpx.TransportError:
            return False
        parts = ("scheduler", "triggerer", "dag_processor")
        return bool(dags) and all(health[part]["status"] == "healthy" for part in parts)

    def launch(
        self, name: str, module: str, *arguments: str, settings: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.Popen[bytes]:
        """Start one more process, which runs a module with Airflow's environment and settings of its own."""
        with self.logs.joinpath(f"{name}.log").open("ab") as log:
            self._processes[name] = process = subprocess.Popen(  # noqa: S603 - our own commands
                [sys.executable, "-m", module, *arguments],
                env={**self._env, **settings},
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return process


def end_on_signals() -> None:
    """Raise KeyboardInterrupt on SIGTERM and SIGHUP, so that fixtures end their processes (SystemExit would not)."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a run."""

    airflow: AirflowInstance
    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    def __getitem__(self, map_index: int) -> Task:
        return Task(self.airflow, self.dag_id, self.run_id, self.task_id, map_index)

    def in_same_run(self, task_id: str) -> Task:
        """Return another task of the same run."""
        return Task(self.airflow, self.dag_id, self.run_id, task_id)

    @property
    def info(self) -> dict[str, Any]:
        """The task instance in Airflow's REST API; empty until the list that it is mapped over is known."""
        mapped = "" if self.map_index < 0 else f"/{self.map_index}"
        return self.airflow.find(f"{self._path}{mapped}") or {}

    @property
    def state(self) -> str | None:
        """Its state in Airflow."""
        return self.info.get("state")

    def reach(self, *states: str, within: float = 60.0) -> str:
        """Wait until it is in one of these states, and return the state."""
        return until(
            lambda: state if (state := self.state) in states else None,
            f"{self.dag_id}.{self.task_id} {' or '.join(states)}",
            within=within,
        )

    def end(self, within: float = 60.0) -> str:
        """Wait until it has ended, and return its state."""
        return self.reach(*_END_STATES, within=within)

    def xcom(self, key: str) -> Any:
        """Read one of its XComs; None when it does not exist."""
        found = self.airflow.find(f"{self._path}/xcomEntries/{key}?map_index={self.map_index}")
        return found and found["value"]

    @property
    def ledger(self) -> list[dict[str, Any]]:
        """The values of its ledger."""
        found = self.airflow.call("GET", f"{self._path}/state-store?map_index={self.map_index}")
        return [item["value"] for item in found["task_state_store"]]

    def start_run(self, **params: Any) -> None:
        """Start its run once Airflow has parsed its DAG."""
        until(lambda: self.airflow.find(f"/dags/{self.dag_id}"), f"the DAG {self.dag_id}", within=120)
        body = {"dag_run_id": self.run_id, "logical_date": None, "conf": params}
        self.airflow.call("POST", f"/dags/{self.dag_id}/dagRuns", body)

    def clear(self, *, downstream: bool = False, keeps_state: bool = True) -> None:
        """
        Clear it, as a person does, and optionally the tasks downstream of it.

        Before Airflow 3.4 a clear always keeps the task state; from then on it does if it is asked to.
        """
        # The executor reports the end of a task with a delay. A clear before that report may fail the run.
        time.sleep(2)
        body = {
            "dry_run": False,
            "only_failed": False,
            "dag_run_id": self.run_id,
            "task_ids": [self.task_id],
            "include_downstream": downstream,
        }
        if FEATURES["clear_empties_state"].is_there():
            body["keep_task_state"] = keeps_state
        self.airflow.call("POST", f"/dags/{self.dag_id}/clearTaskInstances", body)

    def mark_failed(self) -> None:
        """Mark it failed, as a person does."""
        self.airflow.call("PATCH", self._path, {"new_state": "failed"})

    def kill(self) -> None:
        """End its process with SIGKILL, but not the supervisor."""
        os.kill(self.info["pid"], signal.SIGKILL)

    @property
    def _path(self) -> str:
        return f"/dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances/{self.task_id}"


def _environment(url: str, home: Path, dags: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    return kept | {
        "NO_COLOR": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "PYTHONPATH": str(PROJECT),
        "PYTHONUNBUFFERED": "1",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__PORT": str(httpx.URL(url).port),
        "AIRFLOW__API_AUTH__JWT_SECRET": "a secret for tests alone, long enough for its algorithm",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        # The defaults notice a lost process after half a minute, these after seconds.
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "4",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    }
