"""Intercom's answers, read tolerantly."""

from __future__ import annotations

import pytest

from intercom_provider.api.models import Conversation, SentMessage, StatusEvent


@pytest.mark.parametrize("odd", ["soon", "", None, [], "1700000000.5", 1.7e9, float("inf")])
def test_a_time_that_cannot_be_read_costs_neither_the_status_nor_the_message(odd: object) -> None:
    event = StatusEvent.model_validate({"whatsapp_message_id": "wamid.1", "status": "read", "updated_at": odd})
    sent = SentMessage.model_validate({"type": "admin_message", "id": 7, "created_at": odd})
    assert (event.status, sent.id) == ("read", "7")
    assert event.updated_at in (None, 1_700_000_000)


def test_an_event_without_a_whatsapp_id_goes_by_its_own() -> None:
    assert StatusEvent.model_validate({"id": "55", "status": "sent"}).whatsapp_message_id == "55"


@pytest.mark.parametrize(
    ("fields", "replied_at"),
    [
        ({}, None),
        ({"first_contact_reply": None, "statistics": None}, None),
        ({"first_contact_reply": {"created_at": None}, "statistics": {}}, None),
        ({"statistics": {"last_admin_reply_at": 1_700_000_000}}, None),
        ({"first_contact_reply": {"created_at": 1_700_000_000}}, 1_700_000_000),
        ({"first_contact_reply": {"created_at": "2023-11-14T22:13:20Z"}}, 1_700_000_000),
        ({"statistics": {"first_contact_reply_at": "1700000000"}}, 1_700_000_000),
        ({"statistics": {"last_contact_reply_at": 1_700_000_000}}, 1_700_000_000),
    ],
)
def test_an_answer_of_the_contact_is_found_in_every_field_that_may_show_it(
    fields: dict[str, object], replied_at: int | None
) -> None:
    conversation = Conversation.model_validate({"id": 55, **fields})
    assert (conversation.id, conversation.replied_at) == ("55", replied_at)
