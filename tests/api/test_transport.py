"""The bytes of requests on the socket, and what httpx announces of its steps."""

from __future__ import annotations

import socket
import threading

import pytest

from intercom_provider.api.client import IntercomClient
from intercom_provider.api.flow import Reply, Request, RetryLimits
from tests.support.drivers import DRIVERS, Seen, see, settings_for
from tests.support.hostile import Hostile, drop


@pytest.mark.parametrize(
    "request_",
    [Request("POST", "/messages", json={"body": "Hello"}, safe=False), Request("GET", "/me", params={"a": "b c"})],
)
def test_a_request_leaves_in_one_piece_each_time(request_: Request) -> None:
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
        with IntercomClient(settings_for(f"http://127.0.0.1:{listener.getsockname()[1]}/below/")) as client:
            outcomes = [client.exchange(request_) for _ in range(3)]
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
def test_a_lost_reply_is_unconfirmed_although_httpx_announces_no_steps(
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
