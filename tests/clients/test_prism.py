"""Prism between a client and the sandbox: it holds requests and answers against Intercom's own description."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from tests.sandbox.wire import email, in_app, whatsapp
from tests.support.eventually import eventually

from .conftest import DESCRIPTION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from intercom_provider.sandbox import Sandbox

# By the path: the description lists no wrong token for this one.
KNOWN_GAPS: Final = {"/me": {"response"}}
# It allows a message of a template, but no recipient with a phone, and in the answer neither the type `whatsapp` nor a
# message without a body.
KNOWN_WHATSAPP_GAPS: Final = {"request.body.to", "response.body.body", "response.body.message_type"}

_START_SECONDS: Final = 60
_START_POLL_SECONDS: Final = 0.1


@pytest.fixture
def prism(sandbox: Sandbox, description: dict[str, Any], node_modules: Path) -> Iterator[httpx.Client]:
    """Return a client of Prism, which passes everything on to the sandbox."""
    assert description
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = [str(node_modules / ".bin" / "prism"), "proxy", str(DESCRIPTION), sandbox.url, "--port", str(port)]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # noqa: S603
        try:
            deadline = time.monotonic() + _START_SECONDS
            while time.monotonic() < deadline and process.poll() is None:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(_START_POLL_SECONDS)
            headers = {
                "Authorization": f"Bearer {sandbox.token}",
                "Accept": "application/json",
                "Intercom-Version": "2.16",
            }
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:
                yield client
        finally:
            process.terminate()


def violations(response: httpx.Response) -> set[str]:
    """Return where a request or its answer does not fit the description."""
    found = json.loads(response.headers.get("sl-violations", "[]"))
    return {".".join(map(str, each["location"])) for each in found}


def equal(field: str, value: object) -> dict[str, object]:
    return {"query": {"field": field, "operator": "=", "value": value}}


def test_what_the_description_knows_passes(sandbox: Sandbox, prism: httpx.Client) -> None:
    sandbox.add_ruleset("77", 60)
    message_id = prism.post("/messages", json=email(message_type="email")).json()["id"]
    sandbox.reply(message_id)
    assert eventually(
        lambda: prism.post("/conversations/search", json=equal("source.id", message_id)).json()["total_count"]
    )
    answers = [
        prism.get("/me"),
        prism.get("/admins"),
        prism.post("/messages", json=email()),
        prism.post("/messages", json=in_app(message_type="in_app")),
        prism.post("/contacts/search", json=equal("email", "ada@example.com")),
        prism.post("/conversations/search", json=equal("source.id", message_id)),
        prism.get("/contacts/find_by_external_id/7"),
        prism.get("/contacts/find_by_external_id/merged-7"),
        prism.get("/messages/status", params={"ruleset_id": "77"}),
        prism.post("/messages", json=in_app(message_type="in_app", to={"type": "user", "id": "plan-ada"})),
        prism.post("/export/content/data", json={"created_at_after": 1, "created_at_before": 2}),
        prism.get("/me", headers={"Authorization": "Bearer wrong"}),
    ]
    assert [each.status_code for each in answers] == [200, 200, 200, 200, 200, 200, 200, 410, 200, 403, 200, 401]
    assert {each.request.url.path: found for each in answers if (found := violations(each))} == KNOWN_GAPS


def test_a_whatsapp_message_differs_only_where_the_description_contradicts_itself(prism: httpx.Client) -> None:
    response = prism.post("/messages", json=whatsapp())
    assert response.status_code == 200
    assert violations(response) == KNOWN_WHATSAPP_GAPS
