"""The sandbox that the documentation's examples run against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.dags import connect
from tests.support.sandbox import as_new

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox


@pytest.fixture
def sandbox(running: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Return a local Intercom with the ruleset of the pages, in which all messages arrive by the first poll."""
    as_new(running, speed=10_000.0, rate_limit=0)
    running.add_ruleset("4711", 250)
    connect(monkeypatch, running.connection)
    return running
