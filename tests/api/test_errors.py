"""The texts of errors of every class, and what they never repeat."""

from __future__ import annotations

import json
import logging
import traceback
from typing import Any

import pytest

from intercom_provider.api import calls
from intercom_provider.api.errors import ApiError, IntercomError, UnconfirmedError
from intercom_provider.api.flow import Flow, Reply, Request, RetryLimits, read_error
from tests.support.drivers import (
    CALLS,
    DRIVERS,
    ending_of,
    in_both_drivers,
    run_async,
    run_sync,
    send,
    settings_for,
    status,
)
from tests.support.hostile import TOKEN, Act, Exchange, Hostile, answer, error, html, raw, redirect

ONCE = RetryLimits(attempts=1)

DOCUMENTED: list[tuple[int, str, str, str]] = [
    (400, "bad_request", "RefusedError", "field that Intercom names"),
    (400, "client_error", "RefusedError", "field that Intercom names"),
    (400, "parameter_invalid", "RefusedError", "field that Intercom names"),
    (400, "parameter_missing", "RefusedError", "field that Intercom names"),
    (400, "parameter_not_found", "RefusedError", "field that Intercom names"),
    (400, "type_mismatch", "RefusedError", "field that Intercom names"),
    (400, "intercom_version_invalid", "RefusedError", "api_version to 2.17"),
    (401, "missing_authorization", "UnauthorizedError", "access token"),
    (401, "unauthorized", "UnauthorizedError", "access token"),
    (401, "token_unauthorized", "UnauthorizedError", "must be regenerated"),
    (401, "token_unauthorized", "UnauthorizedError", "Check the connection's access token"),
    (401, "token_revoked", "UnauthorizedError", "was revoked"),
    (401, "token_blocked", "UnauthorizedError", "was blocked"),
    (401, "token_suspended", "UnauthorizedError", "was suspended"),
    (401, "token_expired", "UnauthorizedError", "has expired"),
    (401, "token_not_found", "UnauthorizedError", "region"),
    (403, "forbidden", "ForbiddenError", "must be regenerated"),
    (403, "action_forbidden", "ForbiddenError", "must be regenerated"),
    (403, "api_plan_restricted", "ForbiddenError", "plan"),
    (404, "not_found", "NotFoundError", "whatsapp_message_id"),
    (404, "admin_not_found", "NotFoundError", "from_admin_id"),
    (404, "whatsapp_message_not_found", "NotFoundError", "wamid"),
    (406, "media_type_not_acceptable", "RefusedError", "Accept"),
    (408, "request_timeout", "ServerError", "later"),
    (409, "conflict", "RefusedError", "http-responses"),
    (409, "resource_conflict", "RefusedError", "http-responses"),
    (410, "contact_merged", "RefusedError", "merged"),
    (422, "data_invalid", "RefusedError", "field that Intercom names"),
    (422, "unprocessable_entity", "RefusedError", "field that Intercom names"),
    (429, "rate_limit_exceeded", "RateLimitedError", "rate limit"),
    (429, "too_many_requests", "RateLimitedError", "rate limit"),
    (500, "server_error", "ServerError", "later"),
    (503, "service_unavailable", "ServerError", "later"),
    (418, "new_in_2031", "RefusedError", "http-responses"),
]


def problem_of(act: Act, *, call: str = "status", driver: str = "sync", **fields: Any) -> IntercomError:
    """Make one call that meets an act, and return its error."""
    with Hostile() as server:
        server.always(act)
        settings = settings_for(server.url)
        flow = send(settings, ONCE, **fields) if call == "send" else CALLS[call](settings, ONCE)
        _, problem, _ = ending_of(DRIVERS[driver], settings, flow)
    assert problem is not None
    return problem


@pytest.mark.parametrize(("http_status", "code", "kind", "advice"), DOCUMENTED)
def test_each_documented_error_has_its_class_and_its_advice(
    http_status: int, code: str, kind: str, advice: str
) -> None:
    def meet(driver: str) -> tuple[str, str]:
        problem = problem_of(error(http_status, code, "In Intercom's words", "to.id"), driver=driver)
        assert isinstance(problem, ApiError)
        assert (problem.status, problem.code, problem.field) == (http_status, code, "to.id")
        assert (problem.message, problem.request_id) == ("In Intercom's words", "req-1")
        assert problem.transient == (http_status in {408, 429} or http_status >= 500)
        return type(problem).__name__, str(problem)

    name, text = in_both_drivers(meet)
    assert name == kind
    for part in (
        str(http_status),
        code,
        "In Intercom's words",
        "to.id",
        "req-1",
        advice,
        "GET /messages/whatsapp/status",
    ):
        assert part in text


SHAPES: dict[str, tuple[object, str, str, str | None]] = {
    "a list of errors": (
        {"type": "error.list", "request_id": "r", "errors": [{"code": "c", "message": "m", "field": None}]},
        "c", "m", "r",
    ),
    "errors of the old kind": ({"type": "error.list", "errors": [{"type": "c", "message": "m"}]}, "c", "m", None),
    "a single error": ({"type": "error", "request_id": "r", "message": "m"}, "", "m", "r"),
    "nulls": ({"type": "error.list", "request_id": None, "errors": [{"code": "c", "message": None}]}, "c", "", None),
    "no errors": ({"type": "error.list", "request_id": "r", "errors": []}, "", "", "r"),
    "errors that are a text": ({"errors": "many", "request_id": 7}, "", "many", "7"),
    "errors that are words": ({"errors": ["no"], "message": ["m"]}, "", "no; m", None),
    "codes that are objects": ({"errors": [{"code": {"a": 1}, "message": 7}]}, "1", "7", None),
    "several errors": (
        {"type": "error.list", "errors": [
            {"code": "c", "message": "First."},
            {"code": "d", "message": "Second.", "field": "body"},
            {"code": "e", "message": None, "field": "to"},
            "Fourth",
            {"code": "d", "message": "Second.", "field": "body"},
        ]},
        "c", "First; d: Second; e (field to); Fourth", None,
    ),
    "errors by field": ({"errors": {"to.id": ["is wrong", "is long"], "body": "is empty"}}, "",
                        "is wrong; is long; is empty (field body)", None),
    "an error as object": ({"error": {"code": 12, "message": "m", "type": "x"}}, "12", "m", None),
    "an error as text": ({"error": "m", "error_description": "more"}, "", "m; more", None),
    "a problem": ({"type": "about:blank", "title": "Not allowed", "detail": "m"}, "", "m", None),
    "more errors than are quoted": (
        {"type": "error.list", "errors": [f"m{number}" for number in range(13)]}, "",
        "; ".join([*(f"m{number}" for number in range(10)), "and 3 more"]), None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_of_an_error_is_read(shape: str) -> None:
    body, code, message, request_id = SHAPES[shape]
    problem = problem_of(answer(400, body))
    assert isinstance(problem, ApiError)
    assert (problem.code, problem.message, problem.request_id) == (code, message, request_id)


def test_the_field_that_a_later_error_names_is_named() -> None:
    listed = [{"code": "c", "message": "m"}, {"code": "d", "message": "n", "field": "to.id"}]
    problem = problem_of(answer(422, {"type": "error.list", "errors": listed}))
    assert "m; d: n (field to.id)" in str(problem)
    assert "the field that Intercom names" in str(problem)


@pytest.mark.parametrize("http_status", [400, 422])
@pytest.mark.parametrize("field", [None, "", [], {}])
def test_no_error_speaks_of_a_named_field_where_none_is_named(http_status: int, field: object) -> None:
    problem = problem_of(answer(http_status, {"type": "error.list", "errors": [{"code": "c", "field": field}]}))
    assert "names no field" in str(problem)
    assert "field that Intercom names" not in str(problem)


@pytest.mark.parametrize("act", [html(400), answer(400), answer(400, b"[1]"), answer(400, b"\xff\xfe")])
def test_a_reply_that_is_not_intercoms_is_reported_as_such(act: Act) -> None:
    problem = problem_of(act)
    assert "not Intercom's" in str(problem)
    assert "proxy's page" not in str(problem)


@pytest.mark.parametrize("http_status", [401, 403, 404, 413, 429, 499])
def test_an_unconfirmed_send_names_what_answered_in_place_of_intercom(http_status: int) -> None:
    act = answer(http_status, b"<html>", {"Server": "squid/6.1 (for bob@example.com)"})
    text = str(problem_of(act, call="send"))
    assert text.startswith(
        f"unconfirmed: {http_status} to POST /messages, in a reply that is not Intercom's, server squid"
    )
    assert "bob" not in text


def test_a_redirect_says_what_to_check() -> None:
    problem = problem_of(redirect())
    assert "redirect" in str(problem)
    assert "host and region" in str(problem)


def test_the_request_id_is_found_in_a_header() -> None:
    problem = problem_of(answer(400, {"type": "error", "message": "m"}, {"X-Request-Id": "from-the-header"}))
    assert "from-the-header" in str(problem)


def test_an_unconfirmed_send_says_so_and_never_to_try_again() -> None:
    problem = problem_of(error(503, "service_unavailable", "Busy"), call="send")
    assert isinstance(problem, UnconfirmedError)
    assert "503 service_unavailable" in str(problem)
    assert "may or may not" in str(problem)
    assert "again later" not in str(problem)
    assert ".." not in str(problem)


def test_very_long_words_are_cut() -> None:
    assert len(str(problem_of(error(400, "c" * 5_000, "word " * 10_000, "f" * 5_000)))) < 3_000


BODY = "Dear Ms Lovelace, your order A-17 of 12 roses is on its way to 5 Acacia Avenue."
PRIVATE: dict[str, Any] = {
    "message_type": "email",
    "to": {"type": "user", "email": "ada.lovelace@example.com"},
    "cc": {"type": "user", "user_id": "customer-4711"},
    "subject": "Your order A-17",
    "body": BODY,
}
WHATSAPP: dict[str, Any] = {
    "message_type": "whatsapp",
    "to": {"phone": "+447700900123", "name": "Ada"},
    "template": "order_shipped",
    "components": [{"type": "BODY", "parameters": [{"type": "text", "text": "Lovelace, 5 Acacia Avenue"}]}],
    "body": None,
}
SECRETS = (
    "ada.lovelace", "example.com", "customer-4711", "order A-17", "Lovelace", "Acacia", "roses",
    "447700900123", "Ada", TOKEN, TOKEN[4:],
)  # fmt: skip


def echo(http_status: int, where: str) -> Act:
    """Repeat everything in the request, in one field of an error."""

    def run(exchange: Exchange) -> None:
        wire = exchange.request.json if exchange.request.body else {}
        texts = [
            exchange.request.headers["authorization"],
            *_texts(wire),
            *(text.upper() for text in _texts(wire)),
            *(text[5:-5] for text in _texts(wire) if len(text) > 25),
            *(text.removeprefix("+") for text in _texts(wire)),
            *exchange.request.query.values(),
        ]
        first = {"code": "c", "message": "m", "field": "f"} | {where: f"Bad: {', '.join(texts)}"}
        body = {"type": "error.list", "request_id": first.pop("request_id", "r"), "errors": [first]}
        # Escaped in a way that only a JSON reader undoes.
        escaped = json.dumps(body).replace("h", "\\u0068")
        exchange.reply(http_status, escaped.encode(), {"X-Request-Id": "r"})

    return Act(run)


def _texts(data: Any) -> list[str]:
    if isinstance(data, str):
        return [data]
    entries = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return [text for entry in entries for text in _texts(entry) if text not in {"email", "user", "text", "BODY"}]


def assert_private(problem: BaseException) -> None:
    shown = "".join(traceback.format_exception(problem)) + repr(problem) + repr(vars(problem))
    for secret in SECRETS:
        assert secret.lower() not in shown.lower(), secret


@pytest.mark.parametrize("http_status", [400, 401, 404, 429, 500])
@pytest.mark.parametrize("where", ["message", "code", "field", "request_id"])
@pytest.mark.parametrize("fields", [PRIVATE, WHATSAPP], ids=["email", "whatsapp"])
def test_no_error_repeats_the_message_or_the_token(http_status: int, where: str, fields: dict[str, Any]) -> None:
    assert_private(problem_of(echo(http_status, where), call="send", **fields))


@pytest.mark.parametrize("where", ["message", "code", "field", "request_id"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_no_error_of_a_question_repeats_the_token(where: str, driver: str) -> None:
    assert_private(problem_of(echo(400, where), driver=driver))


def raw_echo(pattern: str) -> Act:
    """Repeat the whole request, in bytes that are not HTTP."""

    def run(exchange: Exchange) -> None:
        repeated = f"{exchange.request.headers['authorization']} {exchange.request.body.decode()}"
        raw(pattern.replace("{}", repeated).encode()).run(exchange)

    return Act(run)


@pytest.mark.parametrize(
    "pattern",
    [
        "{}\r\n\r\n",
        "HTTP/1.1 200 {}\r\nwrong header {}\r\n\r\n",
        "HTTP/1.1 200 OK\r\n{}\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: {}\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Encoding: gzip\r\n\r\n{}",
        "HTTP/1.1 400 {}\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 400 No\r\nContent-Length: 0\r\nX-Request-Id: {}\r\n\r\n",
        "HTTP/1.1 302 No\r\nContent-Length: 0\r\nLocation: http://127.0.0.1/{}\r\n\r\n",
    ],
)
@pytest.mark.parametrize("call", ["send", "status"])
def test_no_garbled_reply_makes_an_error_repeat_the_request(pattern: str, call: str) -> None:
    def meet(driver: str) -> str:
        problem = problem_of(raw_echo(pattern), call=call, driver=driver, **PRIVATE)
        assert_private(problem)
        return str(problem)

    in_both_drivers(meet)


@pytest.mark.parametrize(
    ("find", "secret"),
    [({"external_id": "ada@example.com"}, "ada"), ({"email": "ada@example.com"}, "ada")],
)
@pytest.mark.parametrize(
    "act", [answer(400, {"message": "Bad ada@example.com, ada%40example.com"}), raw(b""), html(500)]
)
def test_no_error_of_a_search_repeats_the_contact(find: dict[str, str], secret: str, act: Act) -> None:
    with Hostile() as server:
        server.always(act)
        settings = settings_for(server.url)
        _, problem, _ = ending_of(DRIVERS["sync"], settings, calls.find_contact(**find, limits=ONCE))
    assert problem is not None
    shown = "".join(traceback.format_exception(problem))
    assert f"{secret}@" not in shown
    assert "find_by_external_id" in shown or "contacts/search" in shown


def test_the_log_holds_nothing_of_a_message_and_never_the_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="intercom_provider")
    with Hostile() as server:
        server.script(answer(429, {"type": "error", "message": BODY}), answer(404, {"type": "error", "message": BODY}))
        settings = settings_for(server.url)
        run_sync(settings, send(settings, RetryLimits(contact_wait=5), **PRIVATE))
        server.script(answer(429, {"message": TOKEN}))
        run_async(settings, status(settings, RetryLimits()))
    assert "waits" in caplog.text
    for secret in SECRETS:
        assert secret not in caplog.text


def test_no_repr_shows_a_secret() -> None:
    settings = settings_for("http://127.0.0.1")
    assert TOKEN not in repr(settings)
    request = next(send(settings, ONCE, **PRIVATE))
    assert str(request) == "POST /messages"
    reply = Reply(200, {}, TOKEN.encode(), 0.0, TOKEN)
    assert TOKEN not in repr(reply)


def test_a_template_that_is_refused_is_named() -> None:
    flow: Flow[Any] = send(settings_for("http://127.0.0.1"), ONCE, **WHATSAPP)
    request: Request = next(flow)
    body = json.dumps({"type": "error", "message": "Template order_shipped not found"}).encode()
    assert "order_shipped" in str(read_error(request, Reply(400, {}, body, 0.0)))
