from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.eventually import eventually

from .wire import email, in_app, sms, whatsapp

if TYPE_CHECKING:
    import httpx

    from intercom_provider.sandbox import Sandbox

UNKNOWN = {"type": "user", "id": "unknown-7"}


def without(wire: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in wire.items() if name != field}


@pytest.mark.parametrize("wire", [in_app(), in_app(message_type="in_app"), email(), sms(), whatsapp()])
def test_each_type_of_message_is_created(sandbox: Sandbox, api: httpx.Client, wire: dict[str, Any]) -> None:
    response = api.post("/messages", json=wire, headers={"Intercom-Version": "Preview"})
    reply = response.json()
    assert response.status_code == 200
    assert reply["type"] == "admin_message"
    assert reply["id"].isdecimal()
    assert abs(reply["created_at"] - time.time()) < 5
    assert reply["message_type"] == wire["message_type"].replace("_", "")
    assert reply["body"] == wire.get("body")
    assert reply.get("subject") == wire.get("subject")
    assert "conversation_id" not in reply
    [message] = sandbox.messages
    assert (message.id, message.wire) == (reply["id"], wire)


@pytest.mark.parametrize(
    ("version", "returned"), [("2.16", False), ("2.17", True), ("Preview", True), ("Unstable", True)]
)
def test_the_whatsapp_id_is_returned_from_version_2_17(
    sandbox: Sandbox, api: httpx.Client, version: str, returned: bool
) -> None:
    reply = api.post("/messages", json=whatsapp(), headers={"Intercom-Version": version}).json()
    assert ("whatsapp_message_id" in reply) == returned
    assert sandbox.messages[0].whatsapp_message_id
    assert "whatsapp_message_id" not in api.post("/messages", json=in_app()).json()


def test_a_message_that_whatsapp_does_not_accept_has_no_whatsapp_id(api: httpx.Client) -> None:
    response = api.post("/messages", json=whatsapp("+447700999903"))
    assert response.status_code == 200
    assert "whatsapp_message_id" not in response.json()


@pytest.mark.parametrize(
    ("wire", "status", "code", "field"),
    [
        (in_app(body=None), 400, "parameter_invalid", "body"),
        (without(in_app(), "body"), 400, "parameter_invalid", "body"),
        (without(in_app(), "to"), 422, "parameter_not_found", "to"),
        (in_app(to=[]), 422, "parameter_not_found", "to"),
        (in_app(to="ada"), 400, "parameter_invalid", "to"),
        (in_app(to={"type": "contact", "id": "ada"}), 400, "parameter_invalid", "to"),
        (in_app(to={"type": "admin", "id": "814860"}), 400, "parameter_invalid", "to"),
        (in_app(to={"type": "user"}), 400, "parameter_invalid", "to"),
        (in_app(cc={"type": "contact", "id": "ada"}), 400, "parameter_invalid", "cc"),
        (without(in_app(), "from"), 422, "parameter_not_found", "from"),
        (in_app(**{"from": {"type": "admin"}}), 422, "parameter_not_found", "from"),
        (in_app(message_type="post"), 400, "parameter_invalid", "message_type"),
        (in_app(message_type=["inapp"]), 400, "parameter_invalid", "message_type"),
        (in_app(created_at="yesterday"), 400, "parameter_invalid", "created_at"),
        (
            in_app(create_conversation_without_contact_reply="yes"),
            400,
            "parameter_invalid",
            "create_conversation_without_contact_reply",
        ),
        (without(email(), "subject"), 422, "parameter_not_found", "subject"),
        (email(body=""), 400, "parameter_invalid", "body"),
        (email(template="fancy"), 400, "parameter_invalid", "template"),
        (without(whatsapp(), "template"), 422, "parameter_not_found", "template"),
        (without(whatsapp(), "components"), 422, "parameter_not_found", "components"),
        (whatsapp(to={"type": "user", "id": "ada"}), 400, "parameter_invalid", "to"),
        (whatsapp(to={"phone": 447700900123}), 400, "parameter_invalid", "to"),
        (whatsapp("447700900123"), 400, "parameter_invalid", "to"),
        (whatsapp(to=[{"phone": "+447700900123"}]), 400, "parameter_invalid", "to"),
        (sms(body=""), 400, "parameter_invalid", "body"),
        (sms(body="https://picsum.photos/200/300"), 400, "parameter_invalid", "body"),
    ],
)
def test_an_invalid_message_is_refused_and_its_field_named(
    sandbox: Sandbox, api: httpx.Client, *, wire: dict[str, Any], status: int, code: str, field: str
) -> None:
    response = api.post("/messages", json=wire, headers={"Intercom-Version": "Preview"})
    [error] = response.json()["errors"]
    assert (response.status_code, error["code"], error["field"]) == (status, code, field)
    assert sandbox.messages == []


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (without(email(), "subject"), "No subject supplied for email message"),
        (email(body=None), "Body is required"),
        (sms(body=None), "Invalid SMS message body"),
    ],
)
def test_documented_errors_have_the_documented_words(api: httpx.Client, wire: dict[str, Any], message: str) -> None:
    response = api.post("/messages", json=wire, headers={"Intercom-Version": "Preview"})
    assert response.json()["errors"][0]["message"] == message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"hello"', b"\xff"])
def test_a_body_other_than_a_json_object_is_invalid(api: httpx.Client, body: bytes) -> None:
    response = api.post("/messages", content=body)
    assert (response.status_code, response.json()["errors"][0]["code"]) == (400, "parameter_invalid")


@pytest.mark.parametrize(
    "wire",
    [
        in_app(**{"from": {"type": "admin", "id": 1}}),
        in_app(**{"from": {"type": "admin", "id": "ada"}}),
        in_app(**{"from": {"type": "user", "id": "ada"}}),
        in_app(to=UNKNOWN),
        in_app(to={"type": "user", "user_id": "unknown-7"}),
        in_app(to={"type": "lead", "email": "unknown@example.com"}),
        in_app(to=[{"type": "user", "id": "ada"}, UNKNOWN]),
        in_app(cc=UNKNOWN),
        in_app(to={"type": "user", "id": "lead-7"}),
        in_app(to={"type": "lead", "id": "ada"}),
    ],
)
def test_a_missing_sender_or_recipient_is_not_found(sandbox: Sandbox, api: httpx.Client, wire: dict[str, Any]) -> None:
    response = api.post("/messages", json=wire)
    assert (response.status_code, response.json()["errors"][0]["code"]) == (404, "not_found")
    assert sandbox.messages == []


def test_a_lead_is_found_when_addressed_as_a_lead(api: httpx.Client) -> None:
    assert api.post("/messages", json=in_app(to={"type": "lead", "id": "lead-7"})).status_code == 200


def test_a_new_contact_is_not_found_until_some_seconds_after_the_first_try(sandbox: Sandbox, api: httpx.Client) -> None:
    wire = in_app(to={"type": "user", "user_id": "soon-100-ada"})
    assert api.post("/messages", json=wire).status_code == 404
    assert eventually(lambda: api.post("/messages", json=wire).status_code == 200)
    asked = [each.time for each in sandbox.requests]
    assert asked[-1] - asked[0] >= 0.1


def test_the_admin_id_may_be_text_or_a_number(sandbox: Sandbox, api: httpx.Client) -> None:
    for admin_id in (814860, "814860"):
        wire = in_app(**{"from": {"type": "admin", "id": admin_id}})
        assert api.post("/messages", json=wire).json()["owner"]["id"] == "814860"
    assert len(sandbox.messages) == 2


def test_a_list_makes_one_message(sandbox: Sandbox, api: httpx.Client) -> None:
    wire = in_app(to=[{"type": "user", "id": "ada"}, {"type": "lead", "id": "lead-ben"}])
    assert api.post("/messages", json=wire).status_code == 200
    assert [each.recipient for each in sandbox.messages] == ["ada"]


@pytest.mark.parametrize("wire", [in_app(), email(), whatsapp(), sms()])
def test_no_malformed_message_is_a_server_error(api: httpx.Client, wire: dict[str, Any]) -> None:
    api.headers["Intercom-Version"] = "Preview"
    junk: list[object] = [
        None,
        0,
        -1,
        1.5,
        True,
        "",
        "x",
        "\ud800",
        [],
        [1],
        [{}],
        {},
        {"a": 1},
        {"type": "user", "id": []},
    ]
    optional = ("cc", "bcc", "created_at", "create_conversation_without_contact_reply")
    for value in junk:
        spoiled = [{**wire, field: value} for field in (*wire, *optional)]
        spoiled += [{**wire, "to": {**wire["to"], key: value}} for key in ("type", "id", "user_id", "phone")]
        spoiled += [{**wire, "from": {**wire["from"], key: value}} for key in ("type", "id")]
        for each in spoiled:
            assert api.post("/messages", content=json.dumps(each)).status_code < 500, each


def test_created_at_backdates(api: httpx.Client) -> None:
    assert api.post("/messages", json=in_app(created_at=1_590_000_000)).json()["created_at"] == 1_590_000_000


def test_a_message_can_open_its_conversation_at_once(sandbox: Sandbox, api: httpx.Client) -> None:
    wire = in_app(create_conversation_without_contact_reply=True)
    reply = api.post("/messages", json=wire).json()
    assert reply["conversation_id"] == sandbox.messages[0].conversation_id != reply["id"]


def test_the_log_of_requests_holds_what_was_sent(sandbox: Sandbox, api: httpx.Client) -> None:
    api.post("/messages?x=1", json=email(body=""))
    [request] = sandbox.requests
    assert (request.method, request.path, request.params) == ("POST", "/messages", {"x": "1"})
    assert request.headers["Intercom-Version"] == "2.17"
    assert request.headers["Authorization"] == f"Bearer {sandbox.token}"
    assert request.json == email(body="")
    assert request.status == 400
    assert abs(request.time - time.time()) < 5
