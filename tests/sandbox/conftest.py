from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.sandbox import as_new

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from intercom_provider.sandbox import Sandbox

FAST = 1000.0


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    return as_new(running, speed=FAST)


@pytest.fixture
def api(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """Send what Intercom asks for."""
    headers = {
        "Authorization": f"Bearer {sandbox.token}",
        "Accept": "application/json",
        "Intercom-Version": "2.17",
    }
    with httpx.Client(base_url=sandbox.url, headers=headers) as client:
        yield client


def eventually(look: Callable[[], bool], within: float = 3.0) -> bool:
    """Look again and again, until it is so or the time is over."""
    end = time.monotonic() + within
    while not (seen := look()) and time.monotonic() < end:
        time.sleep(0.005)
    return seen
