"""Other people's clients of Intercom, and what calls or checks a server by Intercom's own description of its API."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.sandbox import Sandbox
from tests.support.project import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DESCRIPTION = PROJECT / "../shared/intercom-openapi/2.16.json"
NODE_MODULES = PROJECT / ".venv-clients" / "npm" / "node_modules"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speed=10_000, rate_limit=0) as sandbox:
        yield sandbox


@pytest.fixture
def node_modules() -> Path:
    if not (shutil.which("node") and NODE_MODULES.exists()):
        pytest.skip("npm is not on this machine, so that its packages are not installed")
    return NODE_MODULES


@pytest.fixture
def description() -> dict[str, Any]:
    if not DESCRIPTION.exists():
        pytest.skip("Intercom's OpenAPI description is not beside the project")
    found: dict[str, Any] = json.loads(DESCRIPTION.read_text())
    return found
