"""A sandbox and an Airflow for the demo. Both end with it."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Timer
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PROJECT: Final = Path(__file__).resolve().parent.parent

_MAX_COMMAND_SECONDS: Final = 300.0
"""The time that one command of Airflow may take."""

_LOG_LINE: Final = re.compile(r"^\S+ \[\w+ *\] (?P<event>.*?) *\[(?P<logger>[\w.]*intercom_provider[\w.]*)\]")


class DemoError(Exception):
    """The demo cannot go on; the text gives the reason."""


@contextmanager
def running(command: Sequence[str], *, env: dict[str, str], stderr: IO[str] | int) -> Iterator[subprocess.Popen[str]]:
    """
    Run a command in a process group of its own, and end the whole group afterwards.

    :param command: The program and its arguments.
    :param env: Its environment.
    :param stderr: The file for its standard error.
    :return: The process, with its standard output as a pipe.
    """
    with subprocess.Popen(  # noqa: S603 - our own commands
        command, env=env, cwd=PROJECT, stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            _signal_group(process, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=2)
            _signal_group(process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


class Sandbox:
    """
    A client of a sandbox in another process, which shares no code with this provider's client.

    :param address: The line that the sandbox prints with ``--print-json``.
    """

    def __init__(self, address: str) -> None:
        printed = json.loads(address)
        self.url: str = printed["url"]
        self.connection: dict[str, Any] = printed["connection"]
        self._headers = {
            "Authorization": f"Bearer {printed['token']}",
            "Accept": "application/json",
            "Intercom-Version": "2.17",
        }
        # Requests to this machine must not go through a proxy.
        self._open = build_opener(ProxyHandler({})).open

    def ask(self, path: str, *, body: dict[str, Any] | None = None, **params: str | int) -> dict[str, Any]:
        """
        Send a request to the sandbox.

        :param path: The path, with its leading slash.
        :param body: The body of a POST; None for a GET.
        :param params: The query.
        :return: The body of the reply.
        """
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}{path}?{urlencode(params)}", data=data, headers=self._headers)  # noqa: S310 - our own
        with self._open(request, timeout=30) as reply:
            content: dict[str, Any] = json.load(reply)
        return content

    def events(self, ruleset_id: str) -> list[dict[str, Any]]:
        """
        Read the status events of a ruleset, page by page.

        :param ruleset_id: The ruleset's id.
        :return: One event per message.
        """
        events: list[dict[str, Any]] = []
        cursor: dict[str, Any] = {}
        while True:
            page = self.ask("/messages/status", ruleset_id=ruleset_id, per_page=100, **cursor)
            events += page["events"]
            after = (page["pages"].get("next") or {}).get("starting_after")
            if not after:
                return events
            cursor = {"starting_after": after}


@contextmanager
def sandbox(*options: str, log: IO[str]) -> Iterator[Sandbox]:
    """
    Run a sandbox on a free port.

    :param options: Options of its command line.
    :param log: The file for its standard error.
    :return: A client of the sandbox, which is ready.
    :raises DemoError: When it does not start.
    """
    command = [sys.executable, "-m", "intercom_provider.sandbox", "--port", "0", "--print-json", *options]
    with running(command, env=_environment(), stderr=log) as process:
        address = process.stdout.readline() if process.stdout else ""
        if not address:
            raise DemoError("the sandbox did not start")
        yield Sandbox(address)


@dataclass(frozen=True, slots=True)
class Run:
    """
    A run that succeeded.

    :param values: The return values of each task; of a mapped task one for each instance.
    """

    values: dict[str, list[Any]]


class Airflow:
    """
    An Airflow with a home of its own, whose database is created once.

    :param home: Its folder, which need not exist.
    :param log: The file for all its output.
    """

    def __init__(self, home: Path, log: IO[str]) -> None:
        self._home = home
        self._log = log
        self._database = home / "airflow.db"
        # Every path is set, because airflow.cfg keeps the paths it was made with even after the project has moved.
        self.env = _environment() | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self._database}",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "example_dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(home / "bundles"),
            "PYTHONPATH": str(PROJECT / "demo" / "config"),
        }

    def prepare(self) -> bool:
        """
        Create the database, unless this version of Airflow has already created it.

        :return: Whether it had to be created.
        :raises DemoError: When that fails.
        """
        done = self._home / "migrated"
        installed = version("apache-airflow")
        if done.is_file() and done.read_text(encoding="utf-8") == installed and self._database.is_file():
            return False
        if self._command("db", "migrate"):
            raise DemoError("Airflow could not create its database")
        done.write_text(installed, encoding="utf-8")
        return True

    def test(
        self, dag_id: str, conf: dict[str, str], show: Callable[[str, str], None], logical_date: str | None = None
    ) -> Run:
        """
        Run a DAG once with ``airflow dags test``.

        :param dag_id: The DAG's id.
        :param conf: Its params.
        :param show: Called with each log line of this provider and the name of its logger.
        :param logical_date: The day that the run is about; None (default) for now.
        :return: The run.
        :raises DemoError: When there was no run, or it did not succeed.
        """

        def listen(line: str) -> None:
            if found := _LOG_LINE.match(line):
                show(found["event"], found["logger"])

        before = self._newest(dag_id)
        day = [] if logical_date is None else [logical_date]
        self._command("dags", "test", dag_id, *day, "--conf", json.dumps(conf), listen=listen)
        newest = self._newest(dag_id)
        if newest is None or newest == before:
            raise DemoError(f"Airflow did not run {dag_id}")
        run_id, state = newest
        if state != "success":
            raise DemoError(f"{dag_id}: the run's state is {state}")
        return self._read(dag_id, run_id)

    def read_ledger(self, conn_id: str, *arguments: str) -> str:
        """
        Run ``ledger show`` of this provider's command line.

        :param conn_id: The connection of the ledger.
        :param arguments: The campaign, and options.
        :return: What it prints.
        :raises DemoError: When it fails.
        """
        command = [sys.executable, "-m", "intercom_provider", "ledger", "show", *arguments, "--conn-id", conn_id]
        # Without the demo's own settings of Airflow, which import this provider while it is being imported.
        env = {name: value for name, value in self.env.items() if name != "PYTHONPATH"}
        with running(command, env=env, stderr=self._log.fileno()) as process:
            text, _ = process.communicate(timeout=_MAX_COMMAND_SECONDS)
            if process.returncode:
                raise DemoError("the ledger could not be shown")
            return text

    def _command(self, *arguments: str, listen: Callable[[str], None] = lambda _: None) -> int:
        command = [sys.executable, "-m", "airflow", *arguments]
        self._log.write(f"$ airflow {' '.join(arguments)}\n")
        self._log.flush()
        with running(command, env=self.env, stderr=subprocess.STDOUT) as process:
            watchdog = Timer(_MAX_COMMAND_SECONDS, _signal_group, (process, signal.SIGKILL))
            watchdog.start()
            try:
                for line in process.stdout or ():
                    self._log.write(line)
                    listen(line)
                return process.wait()
            finally:
                watchdog.cancel()
                self._log.flush()

    # Plain sqlite3, because importing Airflow takes seconds and this query milliseconds.
    def _select(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._database)) as database:
            return database.execute(query, values).fetchall()

    def _newest(self, dag_id: str) -> tuple[str, str] | None:
        found = self._select("SELECT run_id, state FROM dag_run WHERE dag_id = ? ORDER BY id DESC LIMIT 1", dag_id)
        return (found[0][0], found[0][1]) if found else None

    def _read(self, dag_id: str, run_id: str) -> Run:
        values: dict[str, list[Any]] = {}
        returned = "SELECT task_id, value FROM xcom WHERE dag_id = ? AND run_id = ? AND key = 'return_value'"
        for task_id, value in self._select(returned, dag_id, run_id):
            values.setdefault(task_id, []).append(json.loads(value))
        return Run(values)


def _environment() -> dict[str, str]:
    """Return this process's environment without the settings of another Airflow, of Python or of a proxy."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    # The log is parsed line by line, so it must not have colours.
    kept.pop("FORCE_COLOR", None)
    return kept | {"NO_COLOR": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "PYTHONUNBUFFERED": "1"}
