"""Each fault, for each kind of call, through both drivers: the same class, requests and messages in both."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import pytest

from intercom_provider.api.flow import RetryLimits
from tests.support.drivers import CALLS, DRIVERS, GETS, Seen, see, settings_for
from tests.support.hostile import (
    HTML,
    Act,
    Hostile,
    answer,
    cut_chunked,
    cut_short,
    dripping_body,
    dripping_headers,
    drop,
    drop_unread,
    error,
    half_json,
    html,
    late,
    rate_limited,
    rate_limited_until,
    raw,
    redirect,
)
from tests.support.tls import over_tls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WIRES: Final = ("", " over TLS")
WAYS: Final = [driver + wire for driver in DRIVERS for wire in WIRES]
SHORT: Final = 2.0
"""A time-out for what is too slow; what is not slow has seconds."""


@dataclass(frozen=True, slots=True)
class Fault:
    """
    A fault, and how calls end that meet it.

    `send`: the end of a send that meets it once. `gets`: the end of a GET that meets it once. `always`: the end of a
    GET that meets it with every request.
    """

    act: Act
    send: Seen
    gets: Seen
    always: Seen
    timeout: float = 10.0


def unconfirmed(act: Act, *, created: int = 0, always: str = "UnreachableError", timeout: float = 10.0) -> Fault:
    """Expect of a request that may have been read that a send is unconfirmed and a GET is repeated."""
    return Fault(act, Seen("UnconfirmedError", 1, created), Seen("ok", 2, 0), Seen(always, 2, 0), timeout)


def refused(act: Act, kind: str, *, to_send: str = "") -> Fault:
    """Expect that every call ends."""
    said = Seen(kind, 1, 0)
    return Fault(act, Seen(to_send or kind, 1, 0), said, said)


def unread(act: Act, kind: str = "RateLimitedError") -> Fault:
    """Expect of a request that was refused unread that every call repeats it."""
    return Fault(act, Seen("ok", 2, 1), Seen("ok", 2, 0), Seen(kind, 2, 0))


def unconfirmed_but_final_for_gets(act: Act) -> Fault:
    """Expect that a send is unconfirmed and a GET ends."""
    final = Seen("RefusedError", 1, 0)
    return Fault(act, Seen("UnconfirmedError", 1, 0), final, final)


def foreign(act: Act, kind: str = "ForeignReplyError") -> Fault:
    """Expect that a send, which a gateway may have passed on, is unconfirmed, and that a GET ends."""
    return Fault(act, Seen("UnconfirmedError", 1, 1), Seen(kind, 1, 0), Seen(kind, 1, 0))


def foreign_429(act: Act) -> Fault:
    """Expect the same, and that a GET is patient."""
    return Fault(act, Seen("UnconfirmedError", 1, 1), Seen("ok", 2, 0), Seen("RateLimitedError", 2, 0))


# What answers in place of Intercom, after it has passed the message on.
OTHERS_WORDS: Final[dict[str, object]] = {
    "nothing": b"",
    "a page": HTML,
    "text": b"no healthy upstream",
    "JSON of a gateway": {"message": "no Route matched with those values"},
    "JSON with an error as text": {"error": "not found"},
    "JSON with an error as object": {"error": {"code": 404, "message": "Not found", "status": "NOT_FOUND"}},
    "JSON with a list of errors": {"errors": [{"code": "not_found", "message": "Not found"}]},
    "JSON that is a problem": {"type": "about:blank", "title": "Not Found", "status": 404},
    "JSON that is a list": [{"type": "error.list"}],
    "JSON that is null": b"null",
    "an error without words": {"type": "error"},
    "an error with empty words": {"type": "error", "message": ""},
    "a list of errors that is missing": {"type": "error.list"},
    "a list of errors that is empty": {"type": "error.list", "errors": []},
    "a list of errors of nulls": {"type": "error.list", "errors": [None, {}, {"code": None, "message": None}]},
    "half of Intercom's JSON": b'{"type": "error.list", "errors": [{"code": "not_fou',
    "Intercom's JSON in a page": b'<pre>{"type": "error", "message": "Not found"}</pre>',
    "a megabyte of a page": HTML * 20_000,
}
OWN_WORDS: Final[dict[str, object]] = {
    "a list of errors": {"type": "error.list", "errors": [{"code": "not_found", "message": "Not Found"}]},
    "errors of the old kind": {"type": "error.list", "errors": [{"type": "not_found"}]},
    "errors as texts": {"type": "error.list", "errors": ["Not Found"]},
    "errors by field": {"type": "error.list", "errors": {"to": ["Not Found"]}},
    "a single error": {"type": "error", "request_id": "r", "message": "Not Found"},
}

FAULTS: Final[dict[str, Fault]] = {
    **{
        f"{status} with {name}": (foreign_429 if status == 429 else foreign)(answer(status, body, created=True))
        for name, body in OTHERS_WORDS.items()
        for status in (404, 429)
    },
    **{
        f"{status} from a gateway": foreign(html(status, created=True))
        for status in (400, 401, 402, 403, 405, 406, 409, 410, 413, 414, 421, 422, 423, 425, 431, 451, 499)
    },
    "429 with another's limit": foreign_429(answer(429, {"message": "slow"}, {"RateLimit-Reset": "1"}, created=True)),
    "429 with Retry-After alone": foreign_429(answer(429, HTML, {"Retry-After": "0"}, created=True)),
    "429 with Intercom's limit alone": unread(answer(429, headers={"X-RateLimit-Remaining": "0"})),
    **{
        f"400 with {name} of Intercom's": refused(answer(400, body, {"Content-Type": "text/plain"}), "RefusedError")
        for name, body in OWN_WORDS.items()
    },
    "dropped unread": unconfirmed(drop_unread()),
    "dropped before processing": unconfirmed(drop()),
    "dropped after processing": unconfirmed(drop(created=True), created=1),
    "reset before processing": unconfirmed(drop(reset=True)),
    "reset after processing": unconfirmed(drop(created=True, reset=True), created=1),
    "429 with X-RateLimit-Reset": unread(rate_limited(reset_in=1)),
    "429 with Retry-After in seconds": unread(rate_limited(retry_after="1")),
    "429 with Retry-After as a date": unread(rate_limited_until(1)),
    "429 with Retry-After without a meaning": unread(rate_limited(retry_after="soon")),
    "429 with Retry-After of a digit that is no number": unread(rate_limited(retry_after="\xb2")),
    "429 with Retry-After as an impossible date": unread(rate_limited(retry_after="Mon, 99 Foo 99999 99:99:99 GMT")),
    "429 with neither": unread(rate_limited()),
    "408": unconfirmed(error(408, "request_timeout"), always="ServerError"),
    "500 before processing": unconfirmed(error(500, "server_error"), always="ServerError"),
    "500 after processing": unconfirmed(answer(500, HTML, created=True), created=1, always="ServerError"),
    "503 before processing": unconfirmed(error(503, "service_unavailable"), always="ServerError"),
    "503 after processing": unconfirmed(answer(503, created=True), created=1, always="ServerError"),
    "503 with Retry-After": unconfirmed(answer(503, headers={"Retry-After": "1"}), always="ServerError"),
    "599": unconfirmed(answer(599), always="ServerError"),
    "999": unconfirmed(answer(999), always="ServerError"),
    "HTML with 200": unconfirmed(html(200)),
    "HTML with 200 after processing": unconfirmed(html(200, created=True), created=1),
    "HTML with 502": unconfirmed(html(502), always="ServerError"),
    "cut short before processing": unconfirmed(cut_short()),
    "cut short after processing": unconfirmed(cut_short(created=True), created=1),
    "an error that is cut short": unconfirmed(cut_short(status=400)),
    "chunked and cut off": unconfirmed(cut_chunked()),
    "chunked and cut off after processing": unconfirmed(cut_chunked(created=True), created=1),
    "half the JSON": unconfirmed(half_json()),
    "half the JSON after processing": unconfirmed(half_json(created=True), created=1),
    "no JSON": unconfirmed(answer(200, b"OK", created=True), created=1),
    "JSON nested without end": unconfirmed(answer(200, b"[" * 100_000)),
    "a list": unconfirmed(answer(200, [])),
    "a word": unconfirmed(answer(200, b'"sent"')),
    "null": unconfirmed(answer(200, b"null")),
    "an object without an id": unconfirmed(answer(200, {"type": "admin_message"}, created=True), created=1),
    "an id of null": unconfirmed(answer(200, {"type": "admin_message", "id": None})),
    "an empty id": unconfirmed(answer(200, {"type": "admin_message", "id": ""})),
    "an id that is a list": unconfirmed(answer(200, {"type": "admin_message", "id": ["403"]})),
    "an error with 200": unconfirmed(answer(200, {"type": "error", "id": "403", "message": "no"})),
    "something else with 200": unconfirmed(answer(200, {"type": "contact", "id": "403"})),
    "an empty 200": unconfirmed(answer(200)),
    "an empty 200 after processing": unconfirmed(answer(200, created=True), created=1),
    "204": unconfirmed(answer(204, created=True), created=1),
    "a body that is no gzip": unconfirmed(answer(200, b"\x1f\x8bno", {"Content-Encoding": "gzip"})),
    "no HTTP": unconfirmed(raw(b"SSH-2.0-OpenSSH_9.6\r\n")),
    "a wrong header line": unconfirmed(raw(b"HTTP/1.1 200 OK\r\nno header\r\n\r\n")),
    "a wrong length": unconfirmed(raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n")),
    "two lengths": unconfirmed(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}")),
    "another protocol after processing": unconfirmed(
        raw(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", created=True), created=1
    ),
    "interim replies alone": unconfirmed(raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 3)),
    "interim replies alone after processing": unconfirmed(
        raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 3, created=True), created=1
    ),
    "headers without end": unconfirmed(raw(b"HTTP/1.1 200 OK\r\nX-Padding: " + b"." * 200_000)),
    "late": unconfirmed(late(8), timeout=SHORT),
    "late after processing": unconfirmed(late(8, created=True), created=1, timeout=SHORT),
    "a dripping body": unconfirmed(dripping_body(0.1), timeout=SHORT),
    "a dripping body after processing": unconfirmed(dripping_body(0.1, created=True), created=1, timeout=SHORT),
    "dripping headers": unconfirmed(dripping_headers(0.1), timeout=SHORT),
    "dripping headers after processing": unconfirmed(dripping_headers(0.1, created=True), created=1, timeout=SHORT),
    **{
        f"a redirect to another host ({status})": unconfirmed_but_final_for_gets(redirect(status))
        for status in (301, 302, 303, 307, 308)
    },
    "304": unconfirmed_but_final_for_gets(answer(304)),
    "400": refused(error(400, "parameter_invalid"), "RefusedError"),
    "401": refused(error(401, "token_revoked"), "UnauthorizedError"),
    "403": refused(error(403, "forbidden"), "ForbiddenError"),
    "404": refused(error(404, "not_found"), "NotFoundError", to_send="ContactNotFoundError"),
    "409": refused(error(409, "conflict"), "RefusedError"),
    "410": refused(error(410, "contact_merged"), "RefusedError"),
    "a refusal that is no gzip": unconfirmed(answer(404, b"\x1f\x8bno", {"Content-Encoding": "gzip"})),
    "422": refused(error(422, "parameter_not_found"), "RefusedError"),
}


@dataclass(frozen=True, slots=True)
class Run:
    """A call that met a fault: how it ended, how long it took, and how many requests went to another host."""

    seen: Seen
    seconds: float
    elsewhere: int


Runs: TypeAlias = dict[tuple[str, str, str, bool], Future[Run]]


def _meet(fault: Fault, driver: str, call: str, *, always: bool, certificate: Path | None) -> Run:
    with Hostile() as server, over_tls(server.url, certificate) if certificate else nullcontext(server.url) as url:
        if always:
            server.always(fault.act)
        else:
            server.script(fault.act)
        started = time.monotonic()
        seen = see(server, driver, call, settings_for(url, timeout=fault.timeout), RetryLimits(attempts=2))
        return Run(seen, time.monotonic() - started, len(server.elsewhere.requests))


@pytest.fixture(scope="module")
def runs(certificate: Path) -> Iterator[Runs]:
    """Let every call meet every fault, many at a time: almost all of it is waiting."""
    with ThreadPoolExecutor(max_workers=24) as pool:
        yield {
            (name, f"{driver}{wire}", call, always): pool.submit(
                _meet, fault, driver, call, always=always, certificate=certificate if wire else None
            )
            for name, fault in FAULTS.items()
            for driver in DRIVERS
            for wire in WIRES
            for call in CALLS
            for always in (False, True)
            # Over TLS only sends are tried: whether a request was written is what TLS may change.
            if (call == "send" and not always) or (call != "send" and not wire)
        }


@pytest.mark.parametrize("name", FAULTS)
def test_a_send_that_meets_a_fault_never_sends_twice_and_never_lies(runs: Runs, name: str) -> None:
    for driver in WAYS:
        assert (driver, runs[name, driver, "send", False].result().seen) == (driver, FAULTS[name].send)


@pytest.mark.parametrize("name", FAULTS)
def test_asking_that_meets_a_fault_once_is_patient(runs: Runs, name: str) -> None:
    for driver in DRIVERS:
        for call in GETS:
            assert (driver, call, runs[name, driver, call, False].result().seen) == (driver, call, FAULTS[name].gets)


@pytest.mark.parametrize("name", FAULTS)
def test_asking_that_meets_nothing_but_a_fault_gives_up(runs: Runs, name: str) -> None:
    for driver in DRIVERS:
        for call in GETS:
            assert (driver, call, runs[name, driver, call, True].result().seen) == (driver, call, FAULTS[name].always)


def test_no_redirect_is_followed(runs: Runs) -> None:
    assert {run.result().elsewhere for run in runs.values()} == {0}


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.timeout == SHORT])
def test_the_time_out_bounds_a_whole_reply(runs: Runs, name: str) -> None:
    for driver in DRIVERS:
        # A whole reply takes six seconds at least.
        assert runs[name, driver, "send", False].result().seconds < SHORT + 3.5
        for call in GETS:
            # Twice the time-out, a backoff of 0.6 s between, and some room.
            assert runs[name, driver, call, True].result().seconds < 2 * SHORT + 0.6 + 5
