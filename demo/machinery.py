"""What the demo runs on: a sandbox and an Airflow of its own, neither of which outlives it."""

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

_LONGEST: Final = 300.0
"""Seconds for which one command of Airflow may run."""

_LOG_LINE = re.compile(r"^\S+ \[\w+ *\] (?P<event>.*?) *\[(?P<logger>[\w.]*intercom_provider[\w.]*)\]")


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


@contextmanager
def running(command: Sequence[str], *, env: dict[str, str], stderr: IO[str] | int) -> Iterator[subprocess.Popen[str]]:
    """
    Run a command in a process group of its own, of which nothing is left afterwards.

    :param command: The program and its arguments.
    :param env: Its environment.
    :param stderr: Where its errors go.
    :return: The process, its output to be read.
    """
    with subprocess.Popen(  # noqa: S603 - the commands are this demo's own
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
    A local Intercom, asked over its socket like the real one and without this provider's client.

    :param told: What the sandbox says of itself when it listens.
    """

    def __init__(self, told: str) -> None:
        where = json.loads(told)
        self.url: str = where["url"]
        self.connection: dict[str, Any] = where["connection"]
        self._headers = {
            "Authorization": f"Bearer {where['token']}",
            "Accept": "application/json",
            "Intercom-Version": "2.17",
        }
        # No proxy stands between this machine and itself.
        self._open = build_opener(ProxyHandler({})).open

    def ask(self, path: str, *, body: dict[str, Any] | None = None, **params: str | int) -> dict[str, Any]:
        """
        Ask the sandbox.

        :param path: The path of a request, with its leading slash.
        :param body: What to post; None to get.
        :param params: The query.
        :return: The answer.
        """
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}{path}?{urlencode(params)}", data=data, headers=self._headers)  # noqa: S310 - our own
        with self._open(request, timeout=30) as reply:
            answer: dict[str, Any] = json.load(reply)
        return answer

    def events(self, ruleset_id: str) -> list[dict[str, Any]]:
        """
        Read all that Intercom tells of a ruleset, page by page.

        :param ruleset_id: Which ruleset.
        :return: One event a message.
        """
        events: list[dict[str, Any]] = []
        following: dict[str, Any] = {}
        while True:
            page = self.ask("/messages/status", ruleset_id=ruleset_id, per_page=100, **following)
            events += page["events"]
            after = (page["pages"].get("next") or {}).get("starting_after")
            if not after:
                return events
            following = {"starting_after": after}


@contextmanager
def sandbox(*options: str, log: IO[str]) -> Iterator[Sandbox]:
    """
    Run a sandbox on a free port.

    :param options: Options of its command line.
    :param log: Where its errors go.
    :return: The sandbox, ready.
    :raises DemoError: When it does not start.
    """
    command = [sys.executable, "-m", "intercom_provider.sandbox", "--port", "0", "--print-json", *options]
    with running(command, env=_environment(), stderr=log) as process:
        told = process.stdout.readline() if process.stdout else ""
        if not told:
            raise DemoError("the sandbox did not start")
        yield Sandbox(told)


@dataclass(frozen=True, slots=True)
class Run:
    """
    What Airflow knows of a run that succeeded.

    :param values: What each task returned, mapped ones each on its own.
    """

    values: dict[str, list[Any]]


class Airflow:
    """
    An Airflow with a home of its own, whose database is made once.

    :param home: Its folder, which need not exist.
    :param log: Where all its output goes.
    """

    def __init__(self, home: Path, log: IO[str]) -> None:
        self._home = home
        self._log = log
        self._database = home / "airflow.db"
        # Each path is said here, because airflow.cfg keeps the ones it was made with, wherever the project moves.
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
        Make the database, unless this version of Airflow has already made it.

        :return: Whether it had to be made.
        :raises DemoError: When that fails.
        """
        done = self._home / "migrated"
        installed = version("apache-airflow")
        if done.is_file() and done.read_text(encoding="utf-8") == installed and self._database.is_file():
            return False
        if self._command("db", "migrate"):
            raise DemoError("Airflow could not make its database")
        done.write_text(installed, encoding="utf-8")
        return True

    def test(self, dag_id: str, conf: dict[str, str], tell: Callable[[str, str], None]) -> Run:
        """
        Run a DAG once, from its file to the end.

        :param dag_id: Which DAG.
        :param conf: Its params.
        :param tell: Is told each line that this provider logs, and by which logger.
        :return: The run.
        :raises DemoError: When there was none, or it did not succeed.
        """

        def listen(line: str) -> None:
            if found := _LOG_LINE.match(line):
                tell(found["event"], found["logger"])

        before = self._newest(dag_id)
        self._command("dags", "test", dag_id, "--conf", json.dumps(conf), listen=listen)
        newest = self._newest(dag_id)
        if newest is None or newest == before:
            raise DemoError(f"Airflow did not run {dag_id}")
        run_id, state = newest
        if state != "success":
            raise DemoError(f"{dag_id}: the run's state is {state}")
        return self._read(dag_id, run_id)

    def _command(self, *arguments: str, listen: Callable[[str], None] = lambda _: None) -> int:
        command = [sys.executable, "-m", "airflow", *arguments]
        self._log.write(f"$ airflow {' '.join(arguments)}\n")
        self._log.flush()
        with running(command, env=self.env, stderr=subprocess.STDOUT) as process:
            watchdog = Timer(_LONGEST, _signal_group, (process, signal.SIGKILL))
            watchdog.start()
            try:
                for line in process.stdout or ():
                    self._log.write(line)
                    listen(line)
                return process.wait()
            finally:
                watchdog.cancel()
                self._log.flush()

    # The database is asked directly: importing Airflow for it would take longer than the answer.
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
    """Make an environment in which nothing of another Airflow, or of a proxy, is left."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    # The log is read line by line: no colours.
    kept.pop("FORCE_COLOR", None)
    return kept | {"NO_COLOR": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "PYTHONUNBUFFERED": "1"}
