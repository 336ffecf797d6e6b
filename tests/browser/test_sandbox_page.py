"""The sandbox's own page: the messages as they would arrive."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from intercom_provider.hooks.intercom import IntercomHook
from tests.browser.people import NAME

if TYPE_CHECKING:
    import pytest

    from intercom_provider.sandbox import Sandbox
    from tests.browser.chromium import Browser

SCRIPT = "<img src=x onerror=\"document.title = 'run'\">"
MESSAGES: list[dict[str, Any]] = [
    {
        "message_type": "in_app",
        "to": {"type": "user", "user_id": "ada"},
        "body": f"<p>Hello <b>{NAME}</b></p>{SCRIPT}",
    },
    {"message_type": "email", "to": {"type": "user", "email": "bob@example.com"}, "subject": SCRIPT, "body": "Hi"},
    {"message_type": "whatsapp", "to": {"phone": "+447900799903"}, "template": "hello"},
]


def test_the_page_shows_messages_as_text_and_how_they_fare(
    page: Browser, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {**sandbox.connection, "extra": {"admin_id": "814860"}}
    monkeypatch.setenv("AIRFLOW_CONN_INTERCOM_PAGE", json.dumps(connection))
    for message in MESSAGES:
        IntercomHook("intercom_page").send_message(message)
    page.open(sandbox.url)
    text = page.read("Intercom sandbox", f"Hello {NAME}", "to bob@example.com", SCRIPT, "Not accepted by WhatsApp")
    assert "<b>" not in text
    assert page.title == "Intercom sandbox"
    page.picture("sandbox-page")
