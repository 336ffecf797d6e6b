"""One sandbox for all tests of a process."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Unpack

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercom_provider.sandbox import Sandbox
    from intercom_provider.sandbox.settings import Options


@pytest.fixture(scope="session")
def running() -> Iterator[Sandbox]:
    """Start one server for all tests: starting and stopping one costs more than most of them."""
    from intercom_provider.sandbox import Sandbox

    with Sandbox() as sandbox:
        yield sandbox


def as_new(sandbox: Sandbox, **options: Unpack[Options]) -> Sandbox:
    """Replace a sandbox's settings, and reset it."""
    from intercom_provider.sandbox.settings import Settings

    settings = Settings(**options)
    for each in fields(Settings):
        setattr(sandbox.settings, each.name, getattr(settings, each.name))
    sandbox.reset()
    return sandbox
