from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.eventually import eventually

from .wire import in_app, whatsapp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercom_provider.sandbox import Sandbox


@pytest.fixture
def outside(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """Return a client of another process, without a token."""
    with httpx.Client(base_url=f"{sandbox.url}/_sandbox") as client:
        yield client


def get(outside: httpx.Client, path: str) -> dict[str, Any]:
    found: dict[str, Any] = outside.get(path).raise_for_status().json()
    return found


def test_messages_lists_the_created_messages(outside: httpx.Client, api: httpx.Client) -> None:
    reply = api.post("/messages", json=whatsapp()).json()
    api.post("/messages", json=in_app())
    found = get(outside, "/messages")
    assert found["total"] == 2
    first = found["messages"][0]
    assert (first["id"], first["recipient"], first["wire"]) == (reply["id"], "+447700900123", whatsapp())
    assert first["whatsapp_message_id"] == reply["whatsapp_message_id"]
    assert first["status"] in ("sent", "delivered", "read")
    assert found["messages"][1]["status"] is None


def test_messages_can_be_filtered(outside: httpx.Client, api: httpx.Client) -> None:
    for name in ("ada", "ben", "cleo"):
        api.post("/messages", json=in_app(to={"type": "user", "id": name}))
    assert [each["recipient"] for each in get(outside, "/messages?last=2")["messages"]] == ["ben", "cleo"]
    assert get(outside, "/messages?recipient=ben")["total"] == 1
    assert outside.get("/messages?last=0").status_code == 400


def test_requests_are_counted_by_endpoint_and_status(outside: httpx.Client, api: httpx.Client) -> None:
    api.post("/messages", json=in_app())
    api.post("/messages", json=in_app(body=""))
    api.get("/contacts/find_by_external_id/7")
    found = get(outside, "/requests?last=1")
    assert found["counts"] == {
        "POST /messages 200": 1,
        "POST /messages 400": 1,
        "GET /contacts/find_by_external_id/ 200": 1,
    }
    assert (found["total"], len(found["requests"])) == (3, 1)
    assert found["requests"][0]["path"] == "/contacts/find_by_external_id/7"


def test_the_token_is_not_shown(sandbox: Sandbox, outside: httpx.Client, api: httpx.Client) -> None:
    api.get("/me")
    assert sandbox.token not in outside.get("/requests").text


def test_inspection_does_not_count_as_an_api_request(
    sandbox: Sandbox, outside: httpx.Client, api: httpx.Client
) -> None:
    sandbox.settings.rate_limit = 1
    for _ in range(5):
        assert outside.get("/report").status_code == 200
    assert sandbox.requests == []
    assert api.get("/me").status_code == 200


def test_rulesets_can_be_added_and_listed(outside: httpx.Client, api: httpx.Client) -> None:
    events = [{"status": "failed"}]
    outside.post("/rulesets", json={"id": 77, "size": 3, "events": events}).raise_for_status()
    outside.post("/rulesets", json={"id": "78", "size": 10, "over": 1e6}).raise_for_status()
    assert get(outside, "/rulesets") == {
        "rulesets": [{"id": "77", "size": 3, "arrived": 3}, {"id": "78", "size": 10, "arrived": 0}]
    }
    assert api.get("/messages/status?ruleset_id=77").json()["events"][0]["status"] == "failed"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"id": None},
        {"id": ""},
        {"id": True},
        {"id": [77]},
        {"id": 1, "size": "3"},
        {"id": 1, "size": -1},
        {"id": 1, "size": True},
        {"id": 1, "size": 1e10},
        {"id": 1, "over": -1},
        {"id": 1, "over": 10**400},
        {"id": 1, "events": [1]},
        {"id": 1, "events": {}},
    ],
)
def test_an_invalid_ruleset_is_refused(outside: httpx.Client, body: dict[str, object]) -> None:
    assert outside.post("/rulesets", json=body).status_code == 400
    assert get(outside, "/rulesets") == {"rulesets": []}


def test_a_ruleset_cannot_grow_above_its_limit(outside: httpx.Client) -> None:
    for status in (200, 400):
        response = outside.post("/rulesets", json={"id": 1, "size": 1_000_000_000, "over": 1_000_000_000})
        assert response.status_code == status
    assert response.json()["errors"][0]["field"] == "size"
    assert [each["size"] for each in get(outside, "/rulesets")["rulesets"]] == [1_000_000_000]


def test_an_event_without_a_whatsapp_id_can_be_added(outside: httpx.Client, api: httpx.Client) -> None:
    events = [{"whatsapp_message_id": odd, "status": "read"} for odd in (None, ["x"], {"a": 1}, 7)]
    outside.post("/rulesets", json={"id": 77, "events": events}).raise_for_status()
    shown = api.get("/messages/status?ruleset_id=77").json()["events"]
    assert [each["whatsapp_message_id"] for each in shown] == [None, ["x"], {"a": 1}, 7]


def test_a_status_can_be_forced(outside: httpx.Client, api: httpx.Client) -> None:
    whatsapp_id = api.post("/messages", json=whatsapp()).json()["whatsapp_message_id"]
    forced = outside.post("/status", json={"whatsapp_message_id": whatsapp_id, "status": "failed"})
    assert forced.json()["status"] == "failed"
    for wrong in (
        {"status": "failed"},
        {"whatsapp_message_id": whatsapp_id},
        {"whatsapp_message_id": 1, "status": "x"},
    ):
        assert outside.post("/status", json=wrong).status_code == 400
    assert outside.post("/status", json={"whatsapp_message_id": "x", "status": "read"}).status_code == 404


def test_a_contact_can_reply(outside: httpx.Client, api: httpx.Client) -> None:
    message_id = api.post("/messages", json=in_app()).json()["id"]
    reply = outside.post("/reply", json={"message_id": message_id}).json()
    query = {"query": {"field": "source.id", "operator": "=", "value": message_id}}

    def found() -> list[dict[str, Any]]:
        conversations: list[dict[str, Any]] = api.post("/conversations/search", json=query).json()["conversations"]
        return conversations

    assert eventually(lambda: bool(found()))
    assert found()[0]["id"] == reply["conversation_id"]
    assert outside.post("/reply", json={"message_id": "1"}).status_code == 404
    assert outside.post("/reply", json={}).status_code == 400


def test_the_report_counts_messages_and_requests(outside: httpx.Client, api: httpx.Client) -> None:
    for wire in (in_app(), in_app(), whatsapp("+447700999902"), whatsapp("+447700999903")):
        api.post("/messages", json=wire)
    api.post("/messages", json={})
    report = get(outside, "/report")
    busiest = report.pop("busiest_second")
    assert 1 <= busiest <= 5
    assert report == {
        "messages": 4,
        "by_type": {"inapp": 2, "whatsapp": 2},
        "by_whatsapp_status": {"sent": 1},
        "not_accepted_by_whatsapp": 1,
        "recipients": 3,
        "recipients_with_several_messages": 1,
        "replies": 0,
        "requests": 5,
        "requests_by_status": {"200": 4, "400": 1},
    }


def test_reset_removes_everything(sandbox: Sandbox, outside: httpx.Client, api: httpx.Client) -> None:
    sandbox.add_ruleset(77, 3)
    first = api.post("/messages", json=whatsapp()).json()
    outside.post("/reset").raise_for_status()
    assert (sandbox.messages, sandbox.requests) == ([], [])
    assert get(outside, "/rulesets") == {"rulesets": []}
    assert api.post("/messages", json=whatsapp()).json()["id"] == first["id"]


def test_an_unknown_path_is_not_found(outside: httpx.Client) -> None:
    assert outside.get("/nothing").status_code == 404
