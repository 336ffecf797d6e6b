"""What the documentation's own examples run against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercom_provider.sandbox import Sandbox
from tests.airflow.conftest import _airflow, connect, run_dag

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["_airflow", "run_dag"]


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Start a local Intercom in which everything has arrived by the first look, with the ruleset of the pages."""
    with Sandbox(speed=10_000.0, rate_limit=0) as sandbox:
        sandbox.add_ruleset("4711", 250)
        connect(monkeypatch, sandbox.connection)
        yield sandbox
