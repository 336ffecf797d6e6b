from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.sandbox import Templates, read_templates

from .wire import whatsapp

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from intercom_provider.sandbox import Sandbox

SHIPPED: dict[str, Any] = {
    "name": "order_shipped",
    "language": "en",
    "components": [
        {"type": "HEADER", "format": "TEXT", "text": "Hello {{1}}"},
        {"type": "BODY", "text": "{{1}} is on its way, {{2}}. {{1}} weighs a lot."},
        {"type": "FOOTER", "text": "The shop"},
        {"type": "BUTTONS", "buttons": [{"type": "URL", "url": "https://example.com/{{1}}"}]},
    ],
}
NAMED: dict[str, Any] = {"name": "welcome", "components": [{"type": "BODY", "text": "Hello {{first_name}}"}]}
PICTURE: dict[str, Any] = {"name": "sale", "components": [{"type": "HEADER", "format": "IMAGE"}]}


def text(value: object, **more: object) -> dict[str, object]:
    return {"type": "text", "text": value, **more}


def parts(*body: object, header: object = "Ada", index: str = "0") -> list[dict[str, object]]:
    return [
        {"type": "header", "parameters": [text(header)]},
        {"type": "BODY", "parameters": [text(each) for each in body]},
        {"type": "button", "sub_type": "url", "index": index, "parameters": [text("A-17")]},
    ]


@pytest.fixture
def templates(sandbox: Sandbox) -> None:
    sandbox.settings.templates = Templates([SHIPPED, NAMED, PICTURE])


@pytest.mark.usefixtures("templates")
@pytest.mark.parametrize(
    "wire",
    [
        whatsapp(components=parts("A-17", "Ada")),
        whatsapp(components=parts("A-17", "Ada"), locale="en"),
        whatsapp(template="welcome", components=[{"type": "BODY", "parameters": [text("Ada")]}], locale="de"),
        whatsapp(template="sale", components=[{"type": "HEADER", "parameters": [{"type": "image"}]}]),
    ],
)
def test_a_message_that_fits_its_template_is_accepted(sandbox: Sandbox, api: httpx.Client, wire: object) -> None:
    assert api.post("/messages", json=wire).raise_for_status().json()["whatsapp_message_id"]
    assert sandbox.messages[0].refusal is None


@pytest.mark.usefixtures("templates")
@pytest.mark.parametrize(
    ("wire", "refusal"),
    [
        (whatsapp(template="unheard_of"), "does not exist"),
        (whatsapp(components=parts("A-17", "Ada"), locale="de"), "does not exist"),
        (whatsapp(components=parts("A-17")), "Number of parameters"),
        (whatsapp(components=parts("A-17", "Ada", "Ben")), "Number of parameters"),
        (whatsapp(components=parts("A-17", "Ada", index="1")), "Number of parameters"),
        (whatsapp(components=[]), "Number of parameters"),
        (whatsapp(components=[None, {"type": 1, "parameters": 1}, {"parameters": [1]}]), "Number of parameters"),
        (whatsapp(components=parts("A-17", "Ada\nBen")), "line break"),
        (whatsapp(components=parts("A-17", "Ada     Ben")), "four blanks"),
        (whatsapp(components=parts("A-17", " ")), "empty"),
        (whatsapp(components=parts("A-17", 17)), "empty"),
    ],
)
def test_whatsapp_does_not_accept_what_its_template_does_not_allow(
    sandbox: Sandbox, api: httpx.Client, wire: object, refusal: str
) -> None:
    reply = api.post("/messages", json=wire).raise_for_status().json()
    assert "whatsapp_message_id" not in reply
    assert refusal in str(sandbox.messages[0].refusal)
    [listed] = api.get("/_sandbox/messages").json()["messages"]
    assert listed["refusal"] == sandbox.messages[0].refusal


@pytest.mark.usefixtures("templates")
def test_messages_are_listed_as_they_read(api: httpx.Client) -> None:
    api.post("/messages", json=whatsapp(components=parts("A-17", "Ada")))
    named = [{"type": "BODY", "parameters": [text("Ada", parameter_name="first_name")]}]
    api.post("/messages", json=whatsapp(template="welcome", components=named))
    api.post("/messages", json=whatsapp(template="unheard_of"))
    assert [each["text"] for each in api.get("/_sandbox/messages").json()["messages"]] == [
        ["Hello Ada", "A-17 is on its way, Ada. A-17 weighs a lot.", "The shop"],
        ["Hello Ada"],
        ["BODY: A-17"],
    ]


@pytest.mark.parametrize("content", [[SHIPPED], {"data": [SHIPPED], "paging": {}}])
def test_templates_are_read_from_a_file(tmp_path: Path, content: object) -> None:
    path = tmp_path / "templates.json"
    path.write_text(json.dumps(content))
    assert read_templates(path).find_refusal(whatsapp(components=parts("A-17", "Ada"))) is None


@pytest.mark.parametrize("content", ["", "{", "{}", "[1]", '[{"name": 1}]', '[{"name": "x", "components": [1]}]'])
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "templates.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"."):
        read_templates(path)
