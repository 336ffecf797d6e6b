"""Text from the other side costs time in proportion to its length, wherever it stands."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api import calls
from intercom_provider.api.client import IntercomClient
from intercom_provider.api.errors import IntercomError
from intercom_provider.api.flow import RetryLimits
from intercom_provider.api.redaction import mask_contact_details
from intercom_provider.api.settings import Settings
from intercom_provider.waiting.target import MessagesTarget, RulesetTarget
from tests.support.hostile import Hostile, answer, event
from tests.waiting.polled_wait import START, PolledWait

if TYPE_CHECKING:
    from collections.abc import Callable

ONCE = RetryLimits(attempts=1)
SHORT, LONG = 10_000, 1_000_000
TEXTS: dict[str, Callable[[int], str]] = {
    "one word": lambda size: "x" * size,
    "many words": lambda size: "word " * (size // 5),
    "digits": lambda size: "1" * size,
    "digits apart": lambda size: "1 " * (size // 2),
    "a digit and dots": lambda size: "1" + "." * size,
    "at signs": lambda size: "a@" * (size // 2),
    "encoded at signs": lambda size: "%40" * (size // 3),
    "addresses": lambda size: "ada@example.com " * (size // 16),
    "dots": lambda size: "a@" + "b." * (size // 2),
    "blanks": lambda size: " " * size,
    "line breaks": lambda size: "a\n" * (size // 2),
    "letters of four bytes": lambda size: "\U0001f600" * (size // 4),
}


def single(**fields: Any) -> dict[str, Any]:
    return {"message_id": "wamid.1", "status": "failed", **fields}


def page(**fields: Any) -> dict[str, Any]:
    return {"type": "list", "events": [{**event("wamid.1", "failed"), **fields}, event("wamid.2", "read")]}


def refusal(**fields: Any) -> dict[str, Any]:
    return {"type": "error.list", "errors": [{"code": "x", **fields}]}


STATUS, LIST, SEARCH = "/messages/whatsapp/status", "/messages/status", "/conversations/search"
PLACES: dict[str, tuple[str, int, Callable[[str], Any]]] = {
    "details": (STATUS, 200, lambda text: single(error={"message": "No", "details": text})),
    "message": (STATUS, 200, lambda text: single(error={"message": text, "details": text})),
    "error as text": (STATUS, 200, lambda text: single(error=text)),
    "error as list": (STATUS, 200, lambda text: single(error=[text, {"message": text}])),
    "status": (STATUS, 200, lambda text: single(status=text)),
    "message id": (STATUS, 200, lambda text: single(message_id=text)),
    "conversation": (STATUS, 200, lambda text: single(conversation_id=text, template_name=text)),
    "time": (STATUS, 200, lambda text: single(updated_at=text, created_at=text)),
    "unknown field": (STATUS, 200, lambda text: single(surprise=text)),
    "listed status": (LIST, 200, lambda text: page(status=text)),
    "listed id": (LIST, 200, lambda text: page(whatsapp_message_id=text, id=text)),
    "listed user": (LIST, 200, lambda text: page(user_id=text)),
    "listed template": (LIST, 200, lambda text: page(template_name=text)),
    "listed time": (LIST, 200, lambda text: page(created_at=text)),
    "ruleset": (LIST, 200, lambda text: page() | {"ruleset_id": text}),
    "total": (LIST, 200, lambda text: page() | {"total_count": text}),
    "cursor": (LIST, 200, lambda text: page() | {"pages": {"next": {"starting_after": text}}}),
    "pages": (LIST, 200, lambda text: page() | {"pages": text}),
    "code": (STATUS, 400, lambda text: refusal(code=text)),
    "words": (STATUS, 400, lambda text: refusal(message=text)),
    "field": (LIST, 400, lambda text: refusal(field=text)),
    "request id": (LIST, 500, lambda text: refusal() | {"request_id": text}),
    "words of an unknown message": (STATUS, 404, lambda text: refusal(message=text)),
    "no JSON": (LIST, 400, lambda text: text.encode()),
    "conversation found": (SEARCH, 200, lambda text: {"conversations": [{"id": text, "source": {"id": text}}]}),
    "answer's time": (
        SEARCH,
        200,
        lambda text: {"conversations": [{"id": 1, "first_contact_reply": {"created_at": text}}]},
    ),
}


def poll(server: Hostile, path: str) -> None:
    settings = Settings(token=server.token, base_url=server.url)
    if path == SEARCH:
        with IntercomClient(settings) as client:
            client.run(calls.find_conversation("403", ONCE))
        return
    wait = PolledWait(server, RulesetTarget("77") if path == LIST else MessagesTarget(("wamid.1",)), expected_count=1)
    wait.now = START + 600
    wait.poll(full=True)
    json.dumps([wait.state, wait.seen, wait.line])


def seconds(server: Hostile, path: str, status: int, given: Any) -> float:
    """Return the CPU time that this thread takes for a poll; the server runs in another."""
    server.always(answer(status, given), path)
    best = 60.0
    for _ in range(3):
        began = time.thread_time()
        with suppress(IntercomError):
            poll(server, path)
        best = min(best, time.thread_time() - began)
    return best


@pytest.mark.parametrize("kind", ["one word", "many words", "at signs", "digits apart"])
@pytest.mark.parametrize("place", PLACES)
def test_a_poll_takes_time_in_proportion_to_the_text_of_a_reply(place: str, kind: str) -> None:
    path, status, build = PLACES[place]
    with Hostile() as server:
        short, long = (seconds(server, path, status, build(TEXTS[kind](size))) for size in (SHORT, LONG))
    assert long < max(1.0, 300 * short)
    assert long < 5.0


@pytest.mark.parametrize("kind", TEXTS)
def test_masking_takes_the_same_time_for_any_text(kind: str) -> None:
    text = TEXTS[kind](LONG)
    began = time.thread_time()
    masked = mask_contact_details(text)
    # Quadratic work would take minutes; a busy machine takes several times as long as a quiet one.
    assert time.thread_time() - began < 2.0
    assert len(masked) <= 500
    assert "ada@example.com" not in masked


def test_nothing_of_an_address_that_was_cut_is_shown() -> None:
    for padding in range(900, 1_100):
        assert "secret" not in mask_contact_details(
            "ada@example.com " * 50 + "x" * (padding - 800) + " secret.person@example.com"
        )
