from __future__ import annotations

import time
import tracemalloc
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from intercom_provider.sandbox import Sandbox


def page(api: httpx.Client, **params: str | int) -> dict[str, Any]:
    response = api.get("/messages/status", params={"ruleset_id": "77", **params})
    found: dict[str, Any] = response.raise_for_status().json()
    return found


def walk(api: httpx.Client, per_page: int = 100) -> Iterator[dict[str, Any]]:
    params: dict[str, str | int] = {"per_page": per_page}
    while True:
        found = page(api, **params)
        yield from found["events"]
        if found["pages"]["next"] is None:
            return
        params["starting_after"] = found["pages"]["next"]["starting_after"]


def test_a_page_has_fifty_events_by_default(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.add_ruleset(77, 120)
    first = page(api)
    assert (first["type"], first["ruleset_id"], first["total_count"]) == ("list", "77", 120)
    assert len(first["events"]) == first["pages"]["per_page"] == 50
    assert first["pages"]["total_pages"] == 3
    assert len(page(api, per_page=100)["events"]) == 100


def test_the_pages_hold_each_event_once_and_the_last_has_no_next(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.add_ruleset(77, 200)
    events = list(walk(api))
    for field in ("id", "whatsapp_message_id", "user_id", "conversation_id"):
        assert len({each[field] for each in events}) == 200


@pytest.mark.parametrize("over", [0, 50])
def test_recipients_wait_for_those_who_are_still_joining(sandbox: Sandbox, api: httpx.Client, over: float) -> None:
    sandbox.add_ruleset(77, 10, over=1e6)
    sandbox.add_ruleset(77, 5, over=over)
    assert page(api)["total_count"] == 0


@pytest.mark.parametrize("per_page", ["0", "101", "-1", "many", "9" * 5000])
def test_a_page_size_out_of_bounds_is_refused(api: httpx.Client, per_page: str) -> None:
    response = api.get("/messages/status", params={"ruleset_id": "77", "per_page": per_page})
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "per_page")


@pytest.mark.parametrize("cursor", ["abc123", "YWZ0ZXI6LTE=", "ä", "YWZ0ZXI="])
def test_a_foreign_cursor_is_refused(sandbox: Sandbox, api: httpx.Client, cursor: str) -> None:
    sandbox.add_ruleset(77, 120)
    response = api.get("/messages/status", params={"ruleset_id": "77", "starting_after": cursor})
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "starting_after")


def test_without_a_ruleset_id_the_error_has_the_old_shape(api: httpx.Client) -> None:
    response = api.get("/messages/status")
    assert response.status_code == 400
    assert {**response.json(), "request_id": None} == {
        "type": "error",
        "request_id": None,
        "message": "ruleset_id is required",
    }


def test_an_unknown_ruleset_is_empty(api: httpx.Client) -> None:
    found = page(api)
    assert (found["total_count"], found["events"], found["pages"]["next"]) == (0, [], None)


def test_its_messages_are_sent_first_and_then_delivered_read_or_failed(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.settings.failures = 0.2
    sandbox.settings.speed = 1
    sandbox.add_ruleset(77, 100)
    assert {each["status"] for each in walk(api)} == {"sent"}
    sandbox.settings.speed = 10_000

    def counts() -> Counter[str]:
        return Counter(each["status"] for each in walk(api))

    assert eventually(lambda: counts()["read"] > counts()["delivered"])
    assert set(counts()) == {"delivered", "read", "failed"}
    assert 5 < counts()["failed"] < 40


def test_recipients_may_join_while_the_list_is_read(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.add_ruleset(77, 300, over=400)
    seen: list[str] = []
    totals: list[int] = []
    cursor: dict[str, str | int] = {}
    # The walk never starts over, and each recipient must appear once, whenever they joined.
    while len(seen) < 300:
        found = page(api, per_page=7, **cursor)
        totals.append(found["total_count"])
        seen += [each["id"] for each in found["events"]]
        if found["pages"]["next"]:
            cursor = {"starting_after": found["pages"]["next"]["starting_after"]}
        elif found["total_count"] == 300:
            break
        else:
            seen = seen[: len(seen) - len(found["events"])]
    assert len(seen) == len(set(seen)) == 300
    assert totals[0] < 300
    assert totals == sorted(totals)


def test_a_ruleset_can_be_sent_to_more_recipients(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.add_ruleset(77, 3)
    before = [each["id"] for each in walk(api)]
    sandbox.add_ruleset("77", 2)
    assert [each["id"] for each in walk(api)][:3] == before
    assert page(api)["total_count"] == 5


def test_the_status_of_an_event_is_the_same_by_its_whatsapp_id(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.settings.failures = 0.5
    sandbox.add_ruleset(76, 5)
    sandbox.add_ruleset(77, 20)
    assert eventually(lambda: "sent" not in {each["status"] for each in walk(api)})
    for event in walk(api):
        found = api.get("/messages/whatsapp/status", params={"message_id": event["whatsapp_message_id"]})
        same = ("conversation_id", "created_at", "template_name")
        assert {name: found.json()[name] for name in same} == {name: event[name] for name in same}
        assert (found.json()["status"] == "failed") == (event["status"] == "failed")
        assert ("error" in found.json()) == (event["status"] == "failed")
        assert "error" not in event


def test_events_can_be_set_one_by_one(sandbox: Sandbox, api: httpx.Client) -> None:
    error = {"message": "Blocked", "details": "By the recipient"}
    sandbox.add_ruleset(
        77,
        events=[
            {"status": "delivered", "user_id": "ada", "created_at": 1_700_000_000},
            {"status": "failed", "whatsapp_message_id": "wamid.mine", "error": error},
            {"status": "paused"},
        ],
    )
    ada, failed, paused = walk(api)
    assert (ada["status"], ada["user_id"], ada["created_at"]) == ("delivered", "ada", 1_700_000_000)
    assert "error" not in failed
    assert paused["status"] == "paused"
    assert sandbox.status("wamid.mine")["error"] == error


def test_the_status_of_an_event_can_be_forced(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.add_ruleset(77, 3)
    whatsapp_id = page(api)["events"][1]["whatsapp_message_id"]
    sandbox.set_status(whatsapp_id, "failed")
    assert page(api)["events"][1]["status"] == "failed"
    assert sandbox.status(whatsapp_id)["error"]["message"]


def test_a_hundred_thousand_recipients_cost_neither_memory_nor_time(sandbox: Sandbox, api: httpx.Client) -> None:
    tracemalloc.start()
    sandbox.add_ruleset(77, 100_000)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 100_000
    begun = time.process_time()
    assert page(api, per_page=100)["total_count"] == 100_000
    assert time.process_time() - begun < 5.0
