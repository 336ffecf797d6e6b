"""Connections given as Airflow reads them from the environment, and what the hook says in its log."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from intercom_provider.sandbox import Sandbox
from intercom_provider.sandbox.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

Connect: TypeAlias = Callable[..., None]
Logged: TypeAlias = Callable[[], str]


@pytest.fixture(scope="session")
def running() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    usual = Settings(speed=1000)
    for each in fields(Settings):
        setattr(running.settings, each.name, getattr(usual, each.name))
    running.reset()
    return running


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
    """Give what was logged since it was last asked, wherever Airflow's logging sends it."""
    caplog.set_level("INFO")

    def read() -> str:
        out, err = capfd.readouterr()
        text = caplog.text + out + err
        caplog.clear()
        return text

    return read
