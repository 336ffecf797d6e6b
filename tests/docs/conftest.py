"""What the documentation's own examples run against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.airflow.conftest import _airflow, connect, run_dag, server
from tests.conftest import as_new

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox

__all__ = ["_airflow", "run_dag", "server"]


@pytest.fixture
def sandbox(running: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Give a local Intercom in which everything has arrived by the first look, with the ruleset of the pages."""
    as_new(running, speed=10_000.0, rate_limit=0)
    running.add_ruleset("4711", 250)
    connect(monkeypatch, running.connection)
    return running
