from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.sandbox.workspace import NotThereError
from tests.support.eventually import eventually

from .wire import in_app, whatsapp

if TYPE_CHECKING:
    import httpx

    from intercom_provider.sandbox import Sandbox


def about(api: httpx.Client, message_id: str) -> list[dict[str, Any]]:
    query = {"query": {"field": "source.id", "operator": "=", "value": message_id}}
    found = api.post("/conversations/search", json=query).raise_for_status().json()
    assert found["type"] == "conversation.list"
    assert found["total_count"] == len(found["conversations"])
    conversations: list[dict[str, Any]] = found["conversations"]
    return conversations


def test_a_message_has_no_conversation_until_the_contact_replies(sandbox: Sandbox, api: httpx.Client) -> None:
    message_id = api.post("/messages", json=whatsapp()).json()["id"]
    assert about(api, message_id) == []
    conversation_id = sandbox.reply(message_id)
    assert eventually(lambda: bool(about(api, message_id)))
    [conversation] = about(api, message_id)
    assert conversation["id"] == conversation_id
    assert conversation["source"]["id"] == message_id
    assert conversation["first_contact_reply"]["created_at"]


def test_a_search_finds_a_conversation_after_some_seconds(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.settings.speed = 1
    message_id = api.post("/messages", json=in_app()).json()["id"]
    sandbox.reply(message_id)
    assert about(api, message_id) == []
    sandbox.settings.speed = 10_000
    assert eventually(lambda: bool(about(api, message_id)))


def test_a_conversation_opened_with_the_message_shows_whether_the_contact_replied(
    sandbox: Sandbox, api: httpx.Client
) -> None:
    wire = in_app(create_conversation_without_contact_reply=True)
    reply = api.post("/messages", json=wire).json()
    assert eventually(lambda: bool(about(api, reply["id"])))
    [unanswered] = about(api, reply["id"])
    assert unanswered["id"] == reply["conversation_id"] == sandbox.reply(reply["id"])
    assert "first_contact_reply" not in unanswered
    assert "first_contact_reply_at" not in unanswered["statistics"]
    assert eventually(lambda: "first_contact_reply" in about(api, reply["id"])[0])


def test_a_conversation_lists_its_contacts(sandbox: Sandbox, api: httpx.Client) -> None:
    to = [{"type": "user", "id": "ada"}, {"type": "user", "user_id": "7"}]
    message_id = api.post("/messages", json=in_app(to=to)).json()["id"]
    sandbox.reply(message_id)
    assert eventually(lambda: bool(about(api, message_id)))
    first, second = about(api, message_id)[0]["contacts"]["contacts"]
    assert (first["id"], second["external_id"]) == ("ada", "7")
    assert second["id"] == api.get("/contacts/find_by_external_id/7").json()["id"]


def test_a_filter_may_be_in_a_group(sandbox: Sandbox, api: httpx.Client) -> None:
    message_id = api.post("/messages", json=in_app()).json()["id"]
    sandbox.reply(message_id)
    query = {"operator": "AND", "value": [{"field": "source.id", "operator": "=", "value": message_id}]}
    assert eventually(lambda: api.post("/conversations/search", json={"query": query}).json()["total_count"] == 1)


def test_the_conversations_of_a_contact_are_found_by_their_time(sandbox: Sandbox, api: httpx.Client) -> None:
    phone = "+447700900123"
    ids = {sandbox.reply(api.post("/messages", json=whatsapp(phone)).json()["id"]) for _ in range(2)}
    sandbox.reply(api.post("/messages", json=whatsapp("+447700900124")).json()["id"])
    by_phone = {"query": {"field": "phone", "operator": "=", "value": phone}}
    [contact] = api.post("/contacts/search", json=by_phone).json()["data"]

    def began_after(moment: float) -> set[str]:
        filters = [
            {"field": "contact_ids", "operator": "=", "value": contact["id"]},
            {"field": "created_at", "operator": ">", "value": str(int(moment))},
        ]
        found = api.post("/conversations/search", json={"query": {"operator": "AND", "value": filters}})
        return {each["id"] for each in found.raise_for_status().json()["conversations"]}

    assert eventually(lambda: began_after(time.time() - 60) == ids)
    assert began_after(time.time() + 60) == set()


def test_a_conversation_is_read_with_its_replies_at_once(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.settings.speed = 1
    message_id = api.post("/messages", json=in_app(to={"type": "user", "user_id": "7"})).json()["id"]
    conversation_id = sandbox.reply(message_id, "2 < 3?")
    assert sandbox.reply(message_id) == conversation_id
    conversation = api.get(f"/conversations/{conversation_id}").raise_for_status().json()
    parts = conversation["conversation_parts"]["conversation_parts"]
    assert [each["body"] for each in parts] == ["<p>2 &lt; 3?</p>", "<p>Thank you</p>"]
    [contact] = conversation["contacts"]["contacts"]
    assert contact["external_id"] == "7"
    assert {each["author"]["id"] for each in parts} == {contact["id"]}
    assert {each["author"]["type"] for each in parts} == {"user"}
    assert conversation["statistics"]["count_conversation_parts"] == 3
    assert about(api, message_id) == []


def test_an_unknown_conversation_is_not_found(api: httpx.Client) -> None:
    response = api.get("/conversations/1")
    assert (response.status_code, response.json()["errors"][0]["code"]) == (404, "not_found")


def test_a_reply_to_an_unknown_message_is_an_error(sandbox: Sandbox) -> None:
    with pytest.raises(NotThereError):
        sandbox.reply("1")
