"""
For tests of your own DAGs: the pytest fixture ``intercom_sandbox``.

Turn it on with ``pytest_plugins = ["intercom_provider.testing"]`` in the ``conftest.py`` at the top.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest

from intercom_provider.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

SPEED: Final = 1_000.0
"""Sandbox seconds in a second, unless a test asks for others: what takes ten is there in a hundredth."""

_MARKER: Final = (
    'intercom_sandbox(conn_id="intercom_default", speed=1000, **options): '
    "the connection that leads to the fixture's sandbox, and how the sandbox behaves"
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, as pytest asks of plugins."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def intercom_sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """
    Give a local Intercom to which the Airflow connection ``intercom_default`` leads, for one test.

    The marker ``intercom_sandbox`` takes ``conn_id``, for another connection, and the options of
    :class:`~intercom_provider.sandbox.Sandbox`; its ``speed`` is 1000 here.
    """
    marker = request.node.get_closest_marker("intercom_sandbox")
    options = {"conn_id": "intercom_default", "speed": SPEED, **(marker.kwargs if marker else {})}
    conn_id = options.pop("conn_id")
    with Sandbox(**options) as sandbox:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(sandbox.connection))
        _check_that_it_leads_to(sandbox, conn_id)
        yield sandbox


def _check_that_it_leads_to(sandbox: Sandbox, conn_id: str) -> None:
    """Let no test go on that would message people: a secrets backend comes before the environment."""
    from airflow.sdk import BaseHook  # noqa: PLC0415 - with pytest's start, before a conftest.py has set Airflow's home

    if BaseHook.get_connection(conn_id).host != sandbox.url:
        pytest.fail(
            f"the connection {conn_id} does not lead to the sandbox: Airflow reads it from a secrets backend, which "
            "comes before the environment. Configure none in tests ([secrets] backend, [workers] secrets_backend)",
            pytrace=False,
        )
