"""Shorter pauses between the attempts of a request, for tests that are not about their length."""

from __future__ import annotations

import random

import pytest


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the pauses between attempts twenty times as short; their growth and their number stay."""
    uniform = random.uniform
    monkeypatch.setattr("random.uniform", lambda low, high: uniform(low, high) / 20)
