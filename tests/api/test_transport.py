"""The bytes of requests on the socket, and of replies."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from intercom_provider.api.client import AsyncIntercomClient, IntercomClient
from intercom_provider.api.flow import Reply, Request, RetryLimits
from tests.support.drivers import CALLS, DRIVERS, Seen, ending_of, see, send, settings_for
from tests.support.hostile import Act, Exchange, Hostile, drop, head, never_accepting
from tests.support.tls import over_tls

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from intercom_provider.api.flow import Answer
    from intercom_provider.api.settings import Settings


def exchanged(settings: Settings, request: Request) -> list[Answer]:
    with IntercomClient(settings) as client:
        return [client.exchange(request) for _ in range(3)]


async def aexchanged(settings: Settings, request: Request) -> list[Answer]:
    async with AsyncIntercomClient(settings) as client:
        return [await client.exchange(request) for _ in range(3)]


@pytest.mark.parametrize(
    "request_",
    [Request("POST", "/messages", json={"body": "Hello"}, safe=False), Request("GET", "/me", params={"a": "b c"})],
)
@pytest.mark.parametrize("driver", ["sync", "async"])
def test_a_request_leaves_in_one_piece_each_time(request_: Request, driver: str) -> None:
    pieces: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        wire, _ = listener.accept()
        with wire:
            while piece := wire.recv(1 << 16):
                pieces.append(piece)
                wire.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=[listener], daemon=True)
        server.start()
        settings = settings_for(f"http://127.0.0.1:{listener.getsockname()[1]}/below/")
        outcomes = exchanged(settings, request_) if driver == "sync" else asyncio.run(aexchanged(settings, request_))
        server.join(5)
    assert all(isinstance(outcome, Reply) and outcome.body == b"{}" for outcome in outcomes)
    target = b"POST /below/messages" if request_.json else b"GET /below/me?a=b+c"
    assert len(pieces) == 3
    for piece in pieces:
        head, _, body = piece.partition(b"\r\n\r\n")
        assert head.startswith(target + b" HTTP/1.1\r\n")
        assert head.count(b"\r\nAuthorization: Bearer ") == head.count(b"\r\nHost: 127.0.0.1:") == 1
        assert body == (b'{"body":"Hello"}' if request_.json else b"")


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_lost_reply_is_unconfirmed_although_httpcore_announces_no_steps(
    driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_: object) -> None:
        pass

    monkeypatch.setattr("httpcore._trace.Trace.trace", lambda *_: None)
    monkeypatch.setattr("httpcore._trace.Trace.atrace", silent)
    with Hostile() as server:
        server.script(drop(created=True))
        seen = see(server, driver, "send", settings_for(server.url), RetryLimits(attempts=2))
    assert seen == Seen("UnconfirmedError", 1, 1)


def dead_addresses(monkeypatch: pytest.MonkeyPatch, dead: str, live: str) -> None:
    """Let every name have three addresses on which nobody answers before the live one."""
    ports = [urlsplit(url).port for url in (dead, dead, dead, live)]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)


def slow_names(monkeypatch: pytest.MonkeyPatch, *_: str) -> None:
    """Let the lookup of a name take longer than the time-out."""
    look_up: Callable[..., Any] = socket.getaddrinfo

    def slowly(*args: Any, **options: Any) -> Any:
        time.sleep(1.0)
        return look_up(*args, **options)

    monkeypatch.setattr("socket.getaddrinfo", slowly)


@pytest.mark.parametrize("slowness", [dead_addresses, slow_names])
@pytest.mark.parametrize("call", CALLS)
def test_nothing_is_written_once_its_time_is_over(
    monkeypatch: pytest.MonkeyPatch, slowness: Callable[..., None], call: str
) -> None:
    with Hostile() as server, never_accepting() as dead:
        url = server.url.replace("127.0.0.1", "localhost")
        slowness(monkeypatch, dead, server.url)
        settings = settings_for(url, timeout=0.9)
        end, problem, _ = ending_of(DRIVERS["sync"], settings, CALLS[call](settings, RetryLimits(attempts=1)))
        assert (end, server.requests) == ("UnreachableError", [])
    assert "took the time-out up, so the request was not written" in str(problem)
    assert ("The message was not sent" in str(problem)) == (call == "send")


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_name_that_takes_long_to_find_is_certainly_not_a_send(monkeypatch: pytest.MonkeyPatch, driver: str) -> None:
    with Hostile() as server:
        url = server.url.replace("127.0.0.1", "localhost")
        slow_names(monkeypatch)
        settings = settings_for(url, timeout=0.9)
        end, _, _ = ending_of(DRIVERS[driver], settings, send(settings, RetryLimits(attempts=1)))
        assert (end, server.requests) == ("UnreachableError", [])


def endless() -> Act:
    """Answer with a body that never ends."""

    def run(exchange: Exchange) -> None:
        exchange.create()
        exchange.write(head(200, {"Content-Type": "application/json"}))
        while True:
            exchange.write(b"[" * 2**20)

    return Act(run)


def bomb() -> Act:
    """Answer with a few bytes that decompress to very many."""

    def run(exchange: Exchange) -> None:
        exchange.create()
        exchange.reply(200, gzip.compress(b"[" * 200 * 2**20, 1), {"Content-Encoding": "gzip"})

    return Act(run)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("call", ["send", "status"])
@pytest.mark.parametrize("act", [endless(), bomb()])
def test_a_reply_has_a_size_at_which_it_is_given_up(driver: str, call: str, act: Act) -> None:
    with Hostile() as server:
        server.always(act)
        settings = settings_for(server.url, timeout=30)
        started = time.monotonic()
        end, problem, _ = ending_of(DRIVERS[driver], settings, CALLS[call](settings, RetryLimits(attempts=1)))
        assert time.monotonic() - started < 20
    assert end == ("UnconfirmedError" if call == "send" else "UnreachableError")
    assert "larger than 64 MiB" in str(problem)


def created_and_then(more: bytes) -> Act:
    """Answer a message, and send more in the same piece."""

    def run(exchange: Exchange) -> None:
        body = json.dumps(exchange.create()).encode()
        exchange.reply(200, body + more, {"Content-Length": str(len(body))})

    return Act(run)


SECOND_REPLY = b'HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n{"type":"admin_message","id":"7"}'


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    "more",
    [SECOND_REPLY, SECOND_REPLY * 2, b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"no HTTP\r\n\r\n"],
    ids=["a reply", "two replies", "an empty reply", "an interim reply", "no HTTP"],
)
def test_what_follows_a_reply_is_never_the_reply_to_the_next_message(driver: str, more: bytes) -> None:
    with Hostile() as server:
        server.always(created_and_then(more))
        settings, bodies = settings_for(server.url), [f"Hello {number}" for number in range(3)]
        flows = [send(settings, RetryLimits(attempts=2), body=body) for body in bodies]
        receipts = DRIVERS[driver](settings, *flows)
    assert [receipt.outcome for receipt in receipts] == ["sent"] * 3
    assert [each["body"] for each in server.created] == bodies
    assert len({receipt.id for receipt in receipts} - {"7"}) == 3


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_tls_record_that_follows_a_reply_is_never_the_reply_to_the_next_message(
    driver: str, certificate: Path
) -> None:
    with Hostile() as server, over_tls(server.url, certificate, record=b"HTTP/1.1 ") as url:
        server.always(created_and_then(SECOND_REPLY))
        settings, bodies = settings_for(url), [f"Hello {number}" for number in range(3)]
        flows = [send(settings, RetryLimits(attempts=2), body=body) for body in bodies]
        receipts = DRIVERS[driver](settings, *flows)
    assert [receipt.outcome for receipt in receipts] == ["sent"] * 3
    assert [each["body"] for each in server.created] == bodies
    assert len({receipt.id for receipt in receipts} - {"7"}) == 3


def test_a_send_that_is_read_slowly_ends_in_time() -> None:
    def serve(listener: socket.socket) -> None:
        wire, _ = listener.accept()
        with wire:
            wire.settimeout(5)
            while not over.wait(0.05) and wire.recv(2_000):
                pass

    over = threading.Event()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = threading.Thread(target=serve, args=[listener], daemon=True)
        server.start()
        settings = settings_for(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=1.0)
        started = time.monotonic()
        flow = send(settings, RetryLimits(attempts=1), body="x" * 20_000_000)
        end, _, _ = ending_of(DRIVERS["sync"], settings, flow)
        assert time.monotonic() - started < 4
        over.set()
        server.join(5)
    assert end == "UnconfirmedError"
