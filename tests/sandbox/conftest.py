from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.sandbox import as_new

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercom_provider.sandbox import Sandbox

FAST = 1000.0


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    return as_new(running, speed=FAST)


@pytest.fixture
def api(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """Return a client that sends the headers that Intercom requires."""
    headers = {
        "Authorization": f"Bearer {sandbox.token}",
        "Accept": "application/json",
        "Intercom-Version": "2.17",
    }
    with httpx.Client(base_url=sandbox.url, headers=headers) as client:
        yield client
