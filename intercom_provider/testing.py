"""
The pytest fixture ``intercom_sandbox``, for tests of your own DAGs.

Enable it with ``pytest_plugins = ["intercom_provider.testing"]`` in the ``conftest.py`` at the top.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest

from intercom_provider.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_SPEED: Final = 1_000.0
"""Sandbox seconds in a second: what takes ten seconds in Intercom takes a hundredth of a second in a test."""

_MARKER: Final = (
    'intercom_sandbox(conn_id="intercom_default", speed=1000, **options): '
    "the connection to the fixture's sandbox, and the sandbox's options"
)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def intercom_sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """
    Start a local Intercom for one test, and connect ``intercom_default`` to it.

    The marker ``intercom_sandbox`` takes ``conn_id``, for another connection, and the options of
    :class:`~intercom_provider.sandbox.Sandbox`; its ``speed`` is 1000 here.
    """
    marker = request.node.get_closest_marker("intercom_sandbox")
    options = {"conn_id": "intercom_default", "speed": DEFAULT_SPEED, **(marker.kwargs if marker else {})}
    conn_id = options.pop("conn_id")
    with Sandbox(**options) as sandbox:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(sandbox.connection))
        _check_connection(sandbox, conn_id)
        yield sandbox


def _check_connection(sandbox: Sandbox, conn_id: str) -> None:
    """Fail a test whose connection does not lead to the sandbox, because it would message people."""
    from airflow.sdk import BaseHook

    if BaseHook.get_connection(conn_id).host != sandbox.url:
        pytest.fail(
            f"the connection {conn_id} does not lead to the sandbox: Airflow reads it from a secrets backend, which "
            "comes before the environment. Configure none in tests ([secrets] backend, [workers] secrets_backend)",
            pytrace=False,
        )
