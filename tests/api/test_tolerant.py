"""A detail of an answer never decides whether the answer is read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from intercom_provider.api.models import ConversationList, Me, SentMessage, StatusPage, WhatsAppStatus

HALF = "\ud800"


def event(number: int, status: object = "delivered", **more: object) -> dict[str, object]:
    return {"id": str(number), "whatsapp_message_id": f"wamid.{number}", "status": status, **more}


def page(events: object, **more: object) -> StatusPage:
    return StatusPage.read(json.dumps({"type": "list", "events": events, **more}).encode())


ODD_DETAILS: list[dict[str, Any]] = [
    {"whatsapp_message_id": None},
    {"whatsapp_message_id": ""},
    {"whatsapp_message_id": ["wamid.1"]},
    {"whatsapp_message_id": "w" * 1_000_000},
    {"whatsapp_message_id": None, "id": None, "conversation_id": "215"},
    {"whatsapp_message_id": True, "id": {}, "user_id": 7},
    {"id": {}},
    {"user_id": 7},
    {"user_id": ["7"]},
    {"conversation_id": True},
    {"template_name": {"name": "x"}},
    {"template_name": HALF},
    {"created_at": "yesterday"},
    {"created_at": {}},
    {"updated_at": 10**30},
    {"updated_at": True},
    {"status": "Failed"},
    {"status": " FAILED\n"},
    {"unknown": [[[]]] * 1_000},
]


@pytest.mark.parametrize("odd", ODD_DETAILS, ids=lambda odd: str(odd)[:50])
def test_a_status_is_not_lost_to_a_detail_of_its_event(odd: dict[str, Any]) -> None:
    read = page([{**event(1, "failed"), **odd}, event(2)])
    assert [each.status for each in read.events] == ["failed", "delivered"]
    assert read.unreadable == 0
    assert read.ids == [each.whatsapp_message_id for each in read.events]
    assert read.statuses == [each.status for each in read.events]
    assert read.created_at == [each.created_at for each in read.events]
    assert all(0 < len(each.whatsapp_message_id) <= 1_000 for each in read.events)
    json.dumps([each.model_dump() for each in read.events], ensure_ascii=False).encode()


def test_events_are_read_one_by_one_where_only_some_are_wanted() -> None:
    read = page([event(1, "failed", user_id="u-1"), event(2), None, event(3, updated_at="17")])
    assert [(each.whatsapp_message_id, each.user_id) for each in read.read_events([0])] == [("wamid.1", "u-1")]
    assert [each.updated_at for each in read.read_events([2, 1])] == [17, None]
    assert read.read_events([]) == []


@pytest.mark.parametrize("name", ["ids", "statuses", "entries", "unreadable"])
def test_a_page_with_a_field_of_the_name_of_a_column_is_read_as_any_other(name: str) -> None:
    read = page([event(1, "failed", ids=["wamid.2"])], **{name: 7})
    assert (read.ids, read.statuses, read.unreadable) == (["wamid.1"], ["failed"], 0)


@pytest.mark.parametrize("status", [None, 5, [], {"value": "read"}, "", "s" * 1_000_000])
def test_a_status_that_cannot_be_read_is_an_unknown_one(status: object) -> None:
    read = page([event(1, status), event(2)])
    assert len(read.events) == 2
    assert read.events[0].status not in ("sent", "delivered", "read", "failed")
    assert len(read.events[0].status) <= 50


@pytest.mark.parametrize(
    "entry", [None, 5, "wamid.1", [], {}, {"status": "read"}, {"id": "", "status": "read"}, {"id": [], "status": "x"}]
)
def test_an_entry_that_is_no_event_is_counted_and_left_out(entry: object) -> None:
    read = page([event(1), entry, event(2, "read")])
    assert [each.status for each in read.events] == ["delivered", "read"]
    assert read.unreadable == 1


@pytest.mark.parametrize("events", [[None], [5, {}], [{"id": "1"}, {"id": "2"}], {}, None, "events"])
def test_a_page_of_which_nothing_can_be_read_is_unreadable(events: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        page(events)


@pytest.mark.parametrize(
    ("told", "total"),
    [("12", 12), (12.0, 12), ("many", None), (None, None), (-1, None), ({}, None), (10**40, None), (True, None)],
)
def test_an_odd_total_count_does_not_make_a_page_unreadable(told: object, total: int | None) -> None:
    assert page([event(1)], total_count=told).total_count == total


@pytest.mark.parametrize(
    "pages", [None, [], "", {}, False, {"next": None}, {"next": ""}, {"next": []}, {"next": {"starting_after": ""}}]
)
def test_nothing_in_any_form_is_the_end_of_a_list(pages: object) -> None:
    assert page([event(1)], pages=pages).starting_after is None


@pytest.mark.parametrize("pages", ["cursor", ["cursor"], {"next": "cursor"}, {"next": {"starting_after": ["cursor"]}}])
def test_a_cursor_that_cannot_be_read_is_not_the_end_of_a_list(pages: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        page([event(1)], pages=pages)


def test_a_cursor_may_be_a_number() -> None:
    assert page([event(1)], pages={"next": {"starting_after": 17}}).starting_after == "17"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("Message undeliverable", "Message undeliverable"),
        (["Message undeliverable", {"code": 131026}], "Message undeliverable; 131026"),
        ({"message": "Message undeliverable", "details": None}, "Message undeliverable"),
        ({"message": ["Message", "undeliverable"], "details": 470}, "Message; undeliverable: 470"),
        ({"title": "Message undeliverable", "error_data": {"details": "No phone"}}, "Message undeliverable: No phone"),
        ({"message": f"half {HALF}"}, "half ?"),
        ({}, "no reason given"),
        (None, "None"),
        (False, "None"),
        ([], "None"),
    ],
)
def test_a_failed_status_is_not_lost_to_its_error(error: object, reason: str) -> None:
    read = WhatsAppStatus.read(json.dumps({"status": "failed", "message_id": "wamid.1", "error": error}).encode())
    assert (read.status, str(read.error)) == ("failed", reason)


@pytest.mark.parametrize(
    "odd",
    [{"message_id": None}, {"message_id": []}, {"created_at": "x"}, {"conversation_id": {}}, {"template_name": [HALF]}],
)
def test_a_single_status_is_not_lost_to_a_detail(odd: dict[str, Any]) -> None:
    assert WhatsAppStatus.read(json.dumps({"status": "Delivered", **odd}).encode()).status == "delivered"


@pytest.mark.parametrize(
    "odd", [{"source": []}, {"statistics": "x"}, {"first_contact_reply": 5}, {"source": {"author": 5}}]
)
def test_a_conversation_is_not_lost_to_a_detail_or_to_another(odd: dict[str, Any]) -> None:
    listed = [None, {"id": None}, {"id": 55, **odd}, "x"]
    found = ConversationList.read(json.dumps({"conversations": listed}).encode())
    assert [each.id for each in found.conversations] == ["55"]
    assert found.unreadable == 3


@pytest.mark.parametrize("odd", [{"app": []}, {"app": {"name": {}}}, {"name": 5}, {"has_inbox_seat": "perhaps"}])
def test_the_tokens_admin_is_not_lost_to_a_detail(odd: dict[str, Any]) -> None:
    assert Me.read(json.dumps({"id": 7, **odd}).encode()).id == "7"


@pytest.mark.parametrize("odd", [{"created_at": {}}, {"conversation_id": []}, {"message_type": 5}, {"body": HALF}])
def test_a_message_that_was_sent_is_not_lost_to_a_detail(odd: dict[str, Any]) -> None:
    assert SentMessage.read(json.dumps({"id": 7, "type": "admin_message", **odd}).encode()).id == "7"


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"null", b"[]", b"\xff\xfe", b'"text"', b"9" * 10_000])
@pytest.mark.parametrize("model", [StatusPage, WhatsAppStatus, ConversationList, Me, SentMessage])
def test_what_is_no_object_is_unreadable(model: type[Any], body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        model.read(body)
