"""Rows of a batch that are ambiguous, by the form in which they come."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.settings import Settings
from intercom_provider.sending.batch.input import BatchInput, check_literals
from tests.support.messages import in_app, whatsapp

if TYPE_CHECKING:
    from pathlib import Path

TWO_PHONES = '{"phone": "+447700900123", "phone": "+447700900999"}'
ROW = f'{{"message_type": "whatsapp", "template": "hello", "to": {TWO_PHONES}}}'


def refused(messages: object, defaults: object = None) -> str:
    settings = Settings(token="t", admin_id=1)
    with (
        BatchInput(messages, defaults, duplicates="skip", salt="run", settings=settings) as batch,
        pytest.raises(InvalidInputError) as caught,
    ):
        batch.check()
    return str(caught.value)


def test_a_line_with_a_key_twice_is_refused_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    path.write_text(f"{json.dumps(whatsapp())}\n\n{ROW}\n")
    said = refused(str(path))
    assert said.startswith("messages, line 3: has the key 'phone' twice")
    assert "7700" not in said


@pytest.mark.parametrize(
    ("messages", "defaults", "field"),
    [
        (f"[{ROW}]", None, "messages"),
        (f"[{ROW}]".replace('"', "'"), None, "messages"),
        ([whatsapp(), whatsapp(to=TWO_PHONES)], None, "messages[1].to"),
        ([whatsapp(), whatsapp(to=TWO_PHONES, params={"a": "b"})], None, "messages[1].to"),
        ([whatsapp(components='[{"type": "body", "type": "header"}]')], None, "messages[0].components"),
        ([whatsapp(components=[{1: "a", "1": "b"}])], None, "messages[0].components"),
        ([in_app(params='{"name": "Ada", "name": "Bob"}')], None, "messages[0].params"),
        ([in_app()], '{"subject": "a", "subject": "b"}', "defaults"),
        ([in_app()], {"params": '{"name": "Ada", "name": "Bob"}'}, "defaults.params"),
        ([whatsapp(to=None)], {"to": TWO_PHONES}, "defaults.to"),
        ([whatsapp(to=None, params={"a": "b"})], {"to": TWO_PHONES}, "defaults.to"),
    ],
)
def test_a_key_that_stands_twice_is_refused_by_its_place(messages: Any, defaults: Any, field: str) -> None:
    assert refused(messages, defaults).startswith(f"{field}: has the key ")


def test_a_key_that_stands_twice_is_found_when_the_dag_is_parsed() -> None:
    with pytest.raises(InvalidInputError, match=r"^messages: has the key 'phone' twice"):
        check_literals(f"[{ROW}]", None)
