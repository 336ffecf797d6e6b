"""One sandbox for all tests of a process."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Unpack

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercom_provider.sandbox import Sandbox
    from intercom_provider.sandbox.settings import SandboxOptions


@pytest.fixture(scope="session")
def running() -> Iterator[Sandbox]:
    """Start one server for all tests, because starting and stopping a server costs more than most of them."""
    from intercom_provider.sandbox import Sandbox

    with Sandbox() as sandbox:
        yield sandbox


def as_new(sandbox: Sandbox, **options: Unpack[SandboxOptions]) -> Sandbox:
    """Set the settings of a sandbox and reset it."""
    from intercom_provider.sandbox.settings import SandboxSettings

    settings = SandboxSettings(**options)
    for each in fields(SandboxSettings):
        setattr(sandbox.settings, each.name, getattr(settings, each.name))
    sandbox.reset()
    return sandbox


def create_contact(sandbox: Sandbox, **fields: object) -> None:
    """Create a user in the workspace, whom searches find at once."""
    import httpx

    headers = {"Authorization": f"Bearer {sandbox.token}", "Intercom-Version": "2.17"}
    httpx.post(f"{sandbox.url}/contacts", json={"role": "user", **fields}, headers=headers).raise_for_status()
    # New contacts are found a minute later, in the time of the sandbox.
    sandbox.settings.speed = 1e6
