"""The command line in this process, against a sandbox."""

from __future__ import annotations

import io
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Ended:
    """The exit status of a command, and its output."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Return a function that runs `python -m intercom_provider ...`."""
    from intercom_provider.__main__ import main

    # A command sets this for its process, which here goes on with the next test.
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "")

    def run(*arguments: str, stdin: str = "") -> Ended:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = main(arguments)
        output = capsys.readouterr()
        return Ended(code, output.out, output.err)

    return run


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT, which a shell ignores in the processes that it starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
