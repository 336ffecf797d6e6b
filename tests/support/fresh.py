"""
Run functions in a process in the state in which Airflow parses a DAG: Airflow is loaded, this provider is not.

Loading Airflow takes seconds. One process therefore loads it once, and forks for each function call.
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
    """A client of such a process, which runs for the length of a `with` block."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - our own code
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=60)

    def call(self, name: str, argument: str) -> Any:
        """Call one of the functions below in a new fork of the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([name, argument]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "failed" not in answer, answer["failed"]
        return answer["value"]


def added_by(module: str) -> dict[str, list[str]]:
    """Import a module, and return the modules that this loaded and the classes that were generated for it."""
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
    """Load a DAG file, and fail if it opens a socket or reads a connection."""
    from airflow.sdk import BaseHook, Connection

    def forbidden(*_: object, **__: object) -> NoReturn:
        raise SystemExit("a DAG file opened a socket or read a connection while it was parsed")

    socket.socket.connect = forbidden  # type: ignore[method-assign]
    BaseHook.get_connection = forbidden  # type: ignore[method-assign]
    Connection.get = forbidden  # type: ignore[method-assign]
    runpy.run_path(path)
    return True


_FUNCTIONS: Final = {function.__name__: function for function in (added_by, parsed)}


def _serve() -> None:
    # The answers get the original standard output, and what Airflow prints goes to the standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _load_airflow()
    for line in sys.stdin:
        name, argument = json.loads(line)
        pid = os.fork()
        if not pid:
            answer: dict[str, Any]
            try:
                answer = {"value": _FUNCTIONS[name](argument)}
            except BaseException:  # noqa: BLE001 - also a SystemExit of a DAG file
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
    # The SDK loads these at their first use.
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
