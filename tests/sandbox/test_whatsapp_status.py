from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.eventually import eventually

from .wire import whatsapp

if TYPE_CHECKING:
    import httpx

    from intercom_provider.sandbox import Sandbox


def send(api: httpx.Client, phone: str = "+447700900123") -> str:
    whatsapp_id: str = api.post("/messages", json=whatsapp(phone)).json()["whatsapp_message_id"]
    return whatsapp_id


def read_status(api: httpx.Client, whatsapp_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = api.get("/messages/whatsapp/status", params={"message_id": whatsapp_id}).json()
    return answer


def status(api: httpx.Client, whatsapp_id: str) -> str | None:
    answer: str | None = read_status(api, whatsapp_id).get("status")
    return answer


def test_a_message_is_sent_then_delivered_then_read(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.settings.speed = 10
    whatsapp_id = send(api, "+447700999905")
    seen: list[str] = []

    def is_read() -> bool:
        if found := status(api, whatsapp_id):
            seen.append(found)
            sandbox.settings.speed = 100
        return seen[-1:] == ["read"]

    assert eventually(is_read)
    assert list(dict.fromkeys(seen)) == ["sent", "delivered", "read"]


def test_a_status_has_the_message_and_the_time_of_its_change(api: httpx.Client) -> None:
    whatsapp_id = send(api, "+447700999905")
    assert eventually(lambda: status(api, whatsapp_id) == "read")
    found = read_status(api, whatsapp_id)
    assert found["message_id"] == whatsapp_id
    assert found["template_name"] == "order_shipped"
    assert found["created_at"] <= found["updated_at"]
    assert "error" not in found


@pytest.mark.parametrize(("ending", "last"), [("99901", "failed"), ("99902", "sent"), ("99904", "delivered")])
def test_a_magic_phone_decides_where_a_message_ends(api: httpx.Client, ending: str, last: str) -> None:
    whatsapp_id = send(api, f"+447700{ending}")
    marker = send(api, "+447700999905")
    assert eventually(lambda: status(api, whatsapp_id) == last)
    assert eventually(lambda: status(api, marker) == "read")
    assert status(api, whatsapp_id) == last


def test_a_failed_message_has_an_error(api: httpx.Client) -> None:
    whatsapp_id = send(api, "+447700999901")
    assert eventually(lambda: status(api, whatsapp_id) == "failed")
    assert set(read_status(api, whatsapp_id)["error"]) == {"message", "details"}


def test_the_shares_of_failed_and_read_messages_can_be_chosen(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.settings.failures = 1
    failed = send(api)
    assert eventually(lambda: status(api, failed) == "failed")
    sandbox.settings.failures = 0
    sandbox.settings.read_share = 1
    read = send(api)
    assert eventually(lambda: status(api, read) == "read")


@pytest.mark.parametrize("whatsapp_id", ["wamid.HBgNotThere==", "403900001", "wamid.ä", "wamid."])
def test_an_unknown_id_is_not_found(api: httpx.Client, whatsapp_id: str) -> None:
    response = api.get("/messages/whatsapp/status", params={"message_id": whatsapp_id})
    assert response.status_code == 404
    assert response.json()["errors"][0]["code"] == "whatsapp_message_not_found"


def test_a_message_sent_a_moment_ago_is_not_found_yet(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.settings.speed = 1
    assert read_status(api, send(api))["errors"][0]["code"] == "whatsapp_message_not_found"


def test_without_an_id_the_error_has_the_old_shape(api: httpx.Client) -> None:
    response = api.get("/messages/whatsapp/status")
    assert response.status_code == 400
    assert response.json()["type"] == "error"
    assert response.json()["message"] == "message_id is required"


def test_ids_have_characters_that_must_be_encoded_in_a_url(api: httpx.Client) -> None:
    ids = [send(api) for _ in range(20)]
    assert all(each.startswith("wamid.") and each.endswith("=") for each in ids)
    assert any("+" in each for each in ids)
    assert any("/" in each for each in ids)
    assert len(set(ids)) == len(ids)


def test_a_status_can_be_forced(sandbox: Sandbox, api: httpx.Client) -> None:
    whatsapp_id = send(api)
    sandbox.set_status(whatsapp_id, "failed", error={"message": "Blocked", "details": "By the recipient"})
    assert read_status(api, whatsapp_id)["status"] == "failed"
    assert read_status(api, whatsapp_id)["error"] == {"message": "Blocked", "details": "By the recipient"}
    sandbox.set_status(whatsapp_id, "paused")
    assert sandbox.status(whatsapp_id)["status"] == "paused"


def test_the_same_seed_gives_the_same_deliveries_in_any_order(sandbox: Sandbox, api: httpx.Client) -> None:
    phones = [f"+4477009001{number:02d}" for number in range(12)]

    def send_all(order: list[str]) -> dict[str, str]:
        sandbox.reset()
        return {phone: send(api, phone) for phone in order}

    first = send_all(phones)
    assert send_all(phones[::-1]) == first
    sandbox.settings.seed = 7
    assert not set(send_all(phones).values()) & set(first.values())
