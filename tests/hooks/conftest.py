"""Connections in the environment, as Airflow reads them, and the log of the hook."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from tests.support.sandbox import as_new

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox

Connect: TypeAlias = Callable[..., None]
Logged: TypeAlias = Callable[[], str]


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    return as_new(running, speed=1000.0)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Set the default connection: a URI as it is, else JSON; keyword arguments change its extra."""

    def set_it(connection: dict[str, Any] | str, **extra: Any) -> None:
        if not isinstance(connection, str):
            connection = json.dumps(connection | ({"extra": connection.get("extra", {}) | extra} if extra else {}))
        monkeypatch.setenv("AIRFLOW_CONN_INTERCOM_DEFAULT", connection)

    return set_it


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Logged:
    """Return a function that reads what was logged since its last call, wherever Airflow's logging sends it."""
    caplog.set_level("INFO")

    def read() -> str:
        out, err = capfd.readouterr()
        text = caplog.text + out + err
        caplog.clear()
        return text

    return read
