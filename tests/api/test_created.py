"""Which answers are the message that was sent; all others leave it unconfirmed."""

from __future__ import annotations

from typing import Any

import pytest

from intercom_provider.api.flow import RetryLimits
from tests.support.drivers import DRIVERS, ending_of, in_both_drivers, send, settings_for
from tests.support.hostile import Hostile, answer
from tests.support.messages import whatsapp

ONCE = RetryLimits(attempts=1)
SENT: dict[str, Any] = {"type": "admin_message", "id": "403900001", "created_at": 1, "message_type": "inapp"}
WHATSAPP: dict[str, Any] = {**SENT, "message_type": "whatsapp", "whatsapp_message_id": "wamid.1"}


def end_of(reply: object, status: int = 200, **fields: Any) -> tuple[str, Any]:
    def meet(driver: str) -> tuple[str, Any]:
        with Hostile() as server:
            server.always(answer(status, reply, created=True))
            settings = settings_for(server.url)
            end, _, receipt = ending_of(DRIVERS[driver], settings, send(settings, ONCE, **fields))
            assert len(server.requests) == len(server.created) == 1
            return end, receipt

    return in_both_drivers(meet)


def without(*names: str, **more: object) -> dict[str, Any]:
    return {name: value for name, value in SENT.items() if name not in names} | more


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"id": "job_1", "status": "queued"}, 202),
        ({"id": "job_1", "status": "queued"}, 200),
        ({"id": "403900001"}, 200),
        ({"id": "403900001", "message": "ok"}, 201),
        ({"type": "job", "id": "403900001", "message_type": "inapp"}, 200),
        (without(type="message"), 200),
        (without(type="conversation"), 200),
        (without(type="admin"), 200),
        (without(type="error"), 200),
        (without(type="conversation.list"), 200),
        (without(type=["admin_message"]), 200),
        (without("type", "message_type"), 200),
        (without("type", message_type="email"), 200),
        (without(message_type="email"), 200),
        (without(message_type="sms"), 200),
        (without(message_type=""), 200),
        (without(status="queued"), 200),
        (without(status="FAILED"), 202),
        *((without(id=given), 200) for given in (
            0, "0", "00", "0000-0000", "inf", "Infinity", "nan", "NaN", "None", "null", "undefined", "true", True,
            False, -5, "-5", 1.5, 1e300, "", " ", "a b", "id", "4039\u0000", "403\n", [], {}, ["403"], {"id": 403},
            "../../me", "bob@example.com", "+447900123456", "\u0664\u0660\u0663", "9" * 101,
        )),
        (without(owner={"type": "admin", "id": "1"}), 200),
        (without(to={"type": "user", "id": "bob"}), 200),
        (without(recipient={"id": "bob"}), 200),
        ([SENT], 200),
        ({"data": SENT}, 200),
        (b'{"type": "admin_message", "id": "403900001", "message_type": "inapp"', 200),
        (b"", 202),
        (b"", 204),
    ],
)  # fmt: skip
def test_what_only_looks_like_an_answer_leaves_the_message_unconfirmed(body: object, status: int) -> None:
    assert end_of(body, status)[0] == "UnconfirmedError"


@pytest.mark.parametrize(
    "body",
    [
        SENT,
        without("type"),
        without("message_type"),
        without("created_at"),
        without(type="user_message"),
        without(message_type="in_app"),
        without(message_type=None),
        without(id=403900001),
        without(id="6762f2341bb69f9f2193bc17"),
        without(id="550e8400-e29b-41d4-a716-446655440000"),
        without(owner=None),
        without(owner={"type": "admin", "id": 814860, "name": "Ada"}),
        without(owner={"type": "team", "id": "1"}),
        without(to={"type": "user", "id": "ada"}),
        without(to={"type": "user", "user_id": "another-name-of-hers"}),
        without(status=None, state="x", new_in_2031=[1]),
        without(status="sent"),
    ],
)
def test_a_message_is_recognized_whatever_else_the_answer_has_or_lacks(body: dict[str, Any]) -> None:
    end, receipt = end_of(body)
    assert (end, receipt.outcome, receipt.id) == ("ok", "sent", str(body["id"]))


@pytest.mark.parametrize("message_type", ["whatsapp", "inapp", "conversation", None, "broadcast_outbound"])
def test_a_whatsapp_message_may_be_answered_with_another_type(message_type: str | None) -> None:
    end, receipt = end_of({**WHATSAPP, "message_type": message_type}, **whatsapp(body=None))
    assert (end, receipt.outcome) == ("ok", "sent")


@pytest.mark.parametrize("given", ["wamid.\u0000", "wamid 1", "\u202ewamid.1", "x" * 1_001])
def test_no_id_of_the_answer_that_cannot_be_stored_reaches_a_receipt(given: str) -> None:
    assert end_of({**WHATSAPP, "whatsapp_message_id": given}, **whatsapp(body=None))[0] == "UnconfirmedError"
    end, receipt = end_of({**SENT, "conversation_id": given})
    assert (end, receipt.conversation_id) == ("ok", None)
