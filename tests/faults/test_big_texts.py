"""A megabyte of anything, wherever a text comes from customers or from the other side, takes linear time."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api.errors import IntercomError, InvalidInputError
from intercom_provider.api.flow import Reply, RetryLimits
from intercom_provider.api.message import parse_message
from intercom_provider.api.settings import Settings
from intercom_provider.sending.batch.input import BatchInput, check_literals
from tests.support.drivers import send, settings_for
from tests.support.hostile import TOKEN
from tests.support.messages import ADA, COMPONENTS, email, in_app, whatsapp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BIG, SMALL = 1_000_000, 10_000
# Quadratic work would take minutes; a busy machine takes several times as long as a quiet one.
MAX_SECONDS = 15.0
MAX_RATIO = 300
# What takes less than this is not compared: the clock is too coarse.
MIN_COMPARED_SECONDS = 0.5
LIMITS = RetryLimits(attempts=1)
SETTINGS = Settings(token=TOKEN, admin_id=1)

PATTERNS = {
    "one word": "x",
    "words": "word ",
    "dollars": "$",
    "open placeholders": "${",
    "placeholders": "${x}",
    "dollars and a brace": "$" * 50 + "{",
    "ats": "@",
    "addresses": "a@b.c ",
    "digits": "7",
    "digits with blanks": "7 ",
    "plus signs": "+4(",
    "backslashes": "\\",
    "escapes": "\\u0040",
    "percents": "%40",
    "combining characters": "e\u0301\u0323",
    "marks alone": "\u0301",
    "zero-width": "\u200b",
    "blanks": " ",
    "line breaks": "\n",
    "NULs": "\0",
    "brackets": "[",
    "braces": "{",
    "quotes": '"',
    "apostrophes": "a'",
    "markup": "<b>&amp;",
    "dots": "a.",
    "ats in words": "(at)",
}


def parse(fields: Mapping[str, object]) -> None:
    with suppress(InvalidInputError):
        message = parse_message(fields)
        message.wire(1)
        message.private_texts()


def batch(messages: object, defaults: object = None) -> None:
    with (
        suppress(InvalidInputError),
        BatchInput(messages, defaults, duplicates="skip", salt="", settings=SETTINGS) as given,
    ):
        given.check()
        list(given)
    with suppress(InvalidInputError):
        check_literals(messages, defaults)


def answered(reply: object, status: int = 400, headers: Mapping[str, str] | None = None, **fields: Any) -> None:
    flow = send(settings_for("http://127.0.0.1"), LIMITS, **fields)
    next(flow)
    data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
    with suppress(IntercomError, StopIteration):
        flow.send(Reply(status, headers or {}, data, 0.0, TOKEN))


def listed(**error: object) -> dict[str, object]:
    return {"type": "error.list", "errors": [{"code": "c", "message": "m", **error}]}


def text_parameter(text: str) -> list[dict[str, Any]]:
    return [{"type": "BODY", "parameters": [{"type": "text", "text": text}]}]


PLACES: dict[str, Callable[[str], None]] = {
    "message_type": lambda text: parse(in_app(message_type=text)),
    "to": lambda text: parse(in_app(to=text)),
    "to.type": lambda text: parse(in_app(to={"type": text, "id": 1})),
    "to.id": lambda text: parse(in_app(to={"type": "user", "id": text})),
    "to.email": lambda text: parse(in_app(to={"type": "user", "email": text})),
    "to.phone": lambda text: parse(whatsapp(to={"phone": text})),
    "to.name": lambda text: parse(whatsapp(to={"phone": "+447700900123", "name": text})),
    "cc": lambda text: parse(email(cc=text)),
    "body": lambda text: parse(in_app(body=text)),
    "body as text": lambda text: parse(in_app(body=text, body_format="text")),
    "subject": lambda text: parse(email(subject=text)),
    "template": lambda text: parse(whatsapp(template=text)),
    "locale": lambda text: parse(whatsapp(locale=text)),
    "components": lambda text: parse(whatsapp(components=text)),
    "a parameter": lambda text: parse(whatsapp(components=text_parameter(text))),
    "created_at": lambda text: parse(in_app(created_at=text)),
    "key": lambda text: parse(in_app(key=text)),
    "from_admin_id": lambda text: parse(in_app(from_admin_id=text)),
    "the name of a field": lambda text: parse(in_app(**{text: 1})),
    "messages as a list in text": lambda text: batch(f"[{text}]"),
    "a text with params": lambda text: batch([in_app(body=text, params={"x": "Ada"})]),
    "a param": lambda text: batch([email(body="${x} and ${x}", subject="${x}", params={"x": text})]),
    "the name of a param": lambda text: batch([in_app(body="${x}", params={text: "Ada"})]),
    "params as text": lambda text: batch([in_app(body="${x}", params=text)]),
    "a text of the defaults": lambda text: batch([{"to": ADA, "params": {"x": 1}}], in_app(to=None, body=text)),
    "the defaults as text": lambda text: batch([{"to": ADA}], "{" + text),
    "a template's parameter with params": lambda text: batch(
        [whatsapp(components=text_parameter(text), params={"x": 1})]
    ),
    "a refusal's words": lambda text: answered(listed(message=text)),
    "a refusal's code": lambda text: answered(listed(code=text)),
    "a refusal's field": lambda text: answered(listed(field=text)),
    "a refusal's fields": lambda text: answered({"type": "error.list", "errors": {text: [text]}}),
    "a request id": lambda text: answered({**listed(), "request_id": text}),
    "many errors": lambda text: answered({"type": "error.list", "errors": [text[:100]] * (len(text) // 100)}),
    "a page": lambda text: answered(text.encode(), 404),
    "headers": lambda text: answered(
        b"", 410, dict.fromkeys(("server", "link", "x-request-id", "retry-after", "date", "x-ratelimit-reset"), text)
    ),
    "headers of a 429": lambda text: answered(
        b"", 429, dict.fromkeys(("retry-after", "date", "x-ratelimit-remaining", "x-ratelimit-reset"), text)
    ),
    "an answer": lambda text: answered({"type": "admin_message", "id": text, "message_type": text}, 200),
    "the ids of an answer": lambda text: answered(
        {"type": "admin_message", "id": "1", "conversation_id": text, "whatsapp_message_id": text, "created_at": text},
        200,
    ),
    "a refused body": lambda text: answered(listed(message=text), body=f"a{text}"),
    "a refused body that is quoted": lambda text: answered(listed(message=text[: len(text) // 2]), body=f"b{text}"),
    "a refused template": lambda text: answered(
        listed(message=text), **whatsapp(body=None, components=[*COMPONENTS, {"type": "x", "y": text}])
    ),
}


def seconds(work: Callable[[str], None], text: str) -> float:
    started = time.process_time()
    work(text)
    return time.process_time() - started


@pytest.mark.parametrize("place", PLACES)
def test_a_megabyte_takes_linear_time_wherever_it_stands(place: str) -> None:
    slow = {}
    for name, pattern in PATTERNS.items():
        if pattern == "\0" and place.startswith("a refused body"):
            # Such a body is not sent.
            continue
        big, small = (pattern * (size // len(pattern)) for size in (BIG, SMALL))
        taken = seconds(PLACES[place], big)
        if taken > MAX_SECONDS or (taken > MIN_COMPARED_SECONDS and taken > MAX_RATIO * seconds(PLACES[place], small)):
            slow[name] = taken
    assert slow == {}
