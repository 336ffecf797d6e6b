"""
A process as Airflow has it when it parses a DAG: its own modules are loaded, and none of this provider's.

Loading Airflow takes seconds, so one process does it once, and forks for every question.
"""

from __future__ import annotations

import json
import os
import runpy
import socket
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

if TYPE_CHECKING:
    from types import TracebackType

_OWN: Final = "intercom_provider."


class Fresh:
    """Asks such a process. A context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - our own code
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=60)

    def ask(self, question: str, argument: str) -> Any:
        """Have one of the functions below answer, in a process that nothing else was done in."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([question, argument]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "failed" not in answer, answer["failed"]
        return answer["value"]


def added_by(module: str) -> dict[str, list[str]]:
    """Import a module: what it loads of this provider and of others, and which classes were generated for it."""
    import importlib

    before = set(sys.modules)
    importlib.import_module(module)
    added = set(sys.modules) - before
    own = {name for name in added if name.startswith(_OWN)}
    classes = {found for name in own for found in vars(sys.modules[name]).values() if isinstance(found, type)}
    return {
        "own": sorted(name.removeprefix(_OWN) for name in own),
        "others": sorted(
            {name.partition(".")[0] for name in added - own} - {"intercom_provider"} - sys.stdlib_module_names
        ),
        "generated": sorted(
            found.__name__
            for found in classes
            if found.__module__ in own
            and ("__dataclass_fields__" in vars(found) or vars(found).get("__pydantic_complete__"))
        ),
    }


def parsed(path: str) -> bool:
    """Load a DAG file, which may open no socket and read no connection."""
    from airflow.sdk import BaseHook, Connection

    def forbidden(*_: object, **__: object) -> NoReturn:
        raise SystemExit("something was asked for while a DAG was parsed")

    socket.socket.connect = forbidden  # type: ignore[method-assign]
    BaseHook.get_connection = forbidden  # type: ignore[method-assign]
    Connection.get = forbidden  # type: ignore[method-assign]
    runpy.run_path(path)
    return True


_QUESTIONS: Final = {function.__name__: function for function in (added_by, parsed)}


def _serve() -> None:
    # What Airflow prints is no answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _load_airflow()
    for line in sys.stdin:
        question, argument = json.loads(line)
        pid = os.fork()
        if not pid:
            answer: dict[str, Any]
            try:
                answer = {"value": _QUESTIONS[question](argument)}
            except BaseException:  # noqa: BLE001 - also that a DAG file wants to end this process
                answer = {"failed": traceback.format_exc()}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
            os._exit(0)
        os.waitpid(pid, 0)


def _load_airflow() -> None:
    import airflow.sdk
    import airflow.triggers.base
    import httpx
    import jinja2
    import pendulum
    import pydantic
    import structlog
    import tenacity

    try:
        import airflow.sdk.configuration
    except ImportError:  # before 3.2
        import airflow.configuration

    del httpx, jinja2, pendulum, pydantic, structlog, tenacity
    # The SDK loads these when they are asked for.
    for name in (
        "DAG",
        "BaseHook",
        "BaseNotifier",
        "BaseOperator",
        "BaseOperatorLink",
        "BaseSensorOperator",
        "Connection",
    ):
        getattr(airflow.sdk, name)


if __name__ == "__main__":
    _serve()
