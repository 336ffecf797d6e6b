"""
Reading the body of a reply that reports a failure: every error in it, and whether the body is Intercom's own.

Whether Intercom itself has refused a message decides whether it may be sent again. A proxy, gateway or firewall can
pass a message on and then answer in its own words, so only the shapes that Intercom documents are taken for Intercom's:
``{type: error.list, errors: [...]}`` with at least one error, and ``{type: error, message}``. What is quoted is read
from every usual shape.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MAX_BODY_BYTES: Final = 1_000_000
_MAX_ERRORS: Final = 10
_MAX_PARTS: Final = 10
_MAX_DEPTH: Final = 4
_MAX_WORDS_CHARS: Final = 2_000
_WORDS: Final = ("message", "detail", "details", "error_description", "description", "title", "reason")
_CODES: Final = ("code", "type")
_LIMIT_HEADERS: Final = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


class ErrorDetail(NamedTuple):
    """
    One error of a body.

    :param code: Its code; "" when it has none.
    :param words: Its words; "" when it has none.
    :param field: The field that it names; "" when it names none.
    """

    code: str
    words: str
    field: str


class ErrorBody(NamedTuple):
    """
    The body of a reply that reports a failure.

    :param errors: The errors, at most ten.
    :param more: How many more there are.
    :param request_id: The id of the request; "" when the body has none.
    :param is_intercoms: Whether the body has a shape that Intercom documents.
    :param is_object: Whether the body is a JSON object with anything in it.
    """

    errors: tuple[ErrorDetail, ...]
    more: int
    request_id: str
    is_intercoms: bool
    is_object: bool


def parse_object(body: bytes) -> dict[str, Any]:
    """
    Parse a body as a JSON object.

    :param body: The body of any reply.
    :return: The object; empty when the body is something else.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read_error_body(body: bytes) -> ErrorBody:
    """
    Read a body.

    :param body: The body of a reply with a status of 300 or above. A very long one is not read.
    :return: The errors, and whether they are Intercom's.
    """
    found = parse_object(body) if len(body) <= _MAX_BODY_BYTES else {}
    listed = [each for each in _listed(found.get("errors")) if any(each)]
    others = [each for each in _at_top(found) if any(each)]
    errors = list(dict.fromkeys([*listed, *others]))
    return ErrorBody(
        errors=tuple(errors[:_MAX_ERRORS]),
        more=max(0, len(errors) - _MAX_ERRORS),
        request_id=_text(found.get("request_id")),
        is_intercoms=_is_intercoms(found, listed),
        is_object=bool(found),
    )


def announces_limit(headers: Mapping[str, str]) -> bool:
    """
    Check whether a reply has the headers in which Intercom announces its rate limit.

    :param headers: A reply's headers.
    :return: True when it has one of them.
    """
    return any(headers.get(name) for name in _LIMIT_HEADERS)


def _is_intercoms(found: dict[str, Any], listed: list[ErrorDetail]) -> bool:
    kind = found.get("type")
    if kind == "error.list":
        return any(each.code or each.words for each in listed)
    return kind == "error" and bool(_text(found.get("message")) or _text(found.get("code")))


def _listed(errors: object) -> Iterator[ErrorDetail]:
    """Yield the errors of a list of objects or texts, or of an object that maps fields to texts."""
    if isinstance(errors, dict):
        if any(name in errors for name in ("code", "message")):
            yield _detail(errors)
            return
        for field, words in errors.items():
            yield ErrorDetail("", _words(words), _text(field))
    elif isinstance(errors, list):
        for each in errors:
            yield _detail(each)
    else:
        yield _detail(errors)


def _at_top(found: dict[str, Any]) -> Iterator[ErrorDetail]:
    """Yield the errors of ``error``, as an object or text, and of a message at the top."""
    if "error" in found:
        yield _detail(found["error"])
    yield ErrorDetail(_text(found.get("code")), _first_words(found), _text(found.get("field")))


def _detail(error: object) -> ErrorDetail:
    if not isinstance(error, dict):
        return ErrorDetail("", _words(error), "")
    code = next((text for name in _CODES if (text := _words(error.get(name)))), "")
    return ErrorDetail(code, _first_words(error), _words(error.get("field")))


def _first_words(error: dict[str, Any]) -> str:
    return next((text for name in _WORDS if (text := _words(error.get(name)))), "")


def _text(value: object) -> str:
    return "" if value is None or isinstance(value, bool | list | dict) else str(value)[:_MAX_WORDS_CHARS]


def _words(value: object, depth: int = _MAX_DEPTH) -> str:
    """Join the texts in a value of any form, as far as they are short and few."""
    if isinstance(value, dict | list):
        parts = islice(value.values() if isinstance(value, dict) else value, _MAX_PARTS) if depth else ()
        return "; ".join(filter(None, (_words(part, depth - 1) for part in parts)))[:_MAX_WORDS_CHARS]
    return _text(value)
