"""Intercom's client for Node.js against the sandbox."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox

SCRIPT = Path(__file__).with_name("intercom_client.mjs")


def test_a_contact_is_created_messaged_searched_and_its_reply_read(sandbox: Sandbox, node_modules: Path) -> None:
    environment = {"SANDBOX_URL": sandbox.url, "SANDBOX_TOKEN": sandbox.token, "NODE_MODULES": str(node_modules)}
    ended = subprocess.run(  # noqa: S603 - the project's own script
        ["node", str(SCRIPT)],  # noqa: S607 - the machine's Node.js
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    [message] = sandbox.messages
    contact = message.contacts[0].id
    assert found == {
        "created": contact,
        "messaged": "Hello",
        "found": contact,
        "listed": message.conversation_id,
        "read": message.conversation_id,
        "reply": "<p>Yes, please</p>",
        "author": contact,
        "refusal": 404,
    }
