"""Requests through a proxy that the environment names."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import pytest

from intercom_provider.api.client import AsyncIntercomClient, IntercomClient
from intercom_provider.api.errors import InvalidInputError, UnconfirmedError, UnreachableError
from intercom_provider.api.flow import RetryLimits
from tests.support.drivers import DRIVERS, send, settings_for
from tests.support.hostile import TOKEN, Hostile, drop
from tests.support.tls import ELSEWHERE, over_tls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from intercom_provider.api.settings import Settings

OPEN: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Proxy:
    """
    A proxy that opens tunnels.

    :param port: The port of this machine to which every tunnel leads, whatever host was asked for.
    """

    def __init__(self, port: int) -> None:
        self.answers: list[bytes | None] = []
        """Its next answers, instead of opening a tunnel; None for no answer."""

        self.asked: list[bytes] = []
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://ada:pr0xy-word@127.0.0.1:{self._listener.getsockname()[1]}"

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                wire, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=[wire]))
                self._threads[-1].start()

    def _serve(self, wire: socket.socket) -> None:
        with wire, suppress(OSError):
            self.asked.append(wire.recv(1 << 16))
            answer = self.answers.pop(0) if self.answers else OPEN
            if answer is None:
                wire.recv(1)
            elif answer != OPEN:
                wire.sendall(answer)
            else:
                with socket.create_connection(("127.0.0.1", self._port)) as behind:
                    wire.sendall(OPEN)
                    back = threading.Thread(target=_pass_on, args=[behind, wire])
                    back.start()
                    _pass_on(wire, behind)
                    back.join(5)


def _pass_on(source: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            to.sendall(data)
    with suppress(OSError):
        to.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def server() -> Iterator[Hostile]:
    with Hostile(elsewhere=False) as server:
        yield server


@pytest.fixture
def proxy(server: Hostile, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with over_tls(server.url, certificate) as url, _running(int(url.rpartition(":")[2])) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        yield proxy


@contextmanager
def _running(port: int) -> Iterator[Proxy]:
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.stop()


@pytest.fixture
def settings() -> Settings:
    return settings_for(f"https://{ELSEWHERE}", timeout=1.0)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_proxy_opens_a_tunnel_and_does_not_see_the_token(
    server: Hostile, proxy: Proxy, settings: Settings, driver: str
) -> None:
    DRIVERS[driver](settings, *(send(settings, RetryLimits(), body=f"Hello {number}") for number in range(2)))
    assert [each["body"] for each in server.created] == ["Hello 0", "Hello 1"]
    [asked] = proxy.asked
    assert asked.startswith(f"CONNECT {ELSEWHERE}:443 ".encode())
    assert TOKEN.encode() not in asked


@pytest.mark.parametrize(
    "answer",
    [b"", b"no HTTP\r\n\r\n", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", None],
    ids=["breaks off", "makes no sense", "refuses", "says nothing"],
)
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_message_is_sent_once_after_a_proxy_failed_to_open_a_tunnel(
    server: Hostile, proxy: Proxy, settings: Settings, driver: str, answer: bytes | None
) -> None:
    proxy.answers = [answer]
    [receipt] = DRIVERS[driver](settings, send(settings, RetryLimits(attempts=2)))
    assert receipt.outcome == "sent"
    assert len(server.created) == 1
    assert len(proxy.asked) == 2


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_message_that_is_lost_in_an_open_tunnel_is_unconfirmed(
    server: Hostile, proxy: Proxy, settings: Settings, driver: str
) -> None:
    server.script(drop(created=True))
    with pytest.raises(UnconfirmedError):
        DRIVERS[driver](settings, send(settings, RetryLimits(attempts=5)))
    assert len(server.created) == len(proxy.asked) == 1


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_proxy_that_refuses_is_named_with_its_status_and_without_its_password(
    proxy: Proxy, settings: Settings, driver: str
) -> None:
    proxy.answers = [b"HTTP/1.1 407 Not for ada:pr0xy-word\r\nContent-Length: 0\r\n\r\n"]
    with pytest.raises(UnreachableError, match="the proxy that the environment names answered 407") as raised:
        DRIVERS[driver](settings, send(settings, RetryLimits(attempts=1)))
    assert "The message was not sent" in str(raised.value)
    assert "pr0xy-word" not in str(raised.value)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_proxy_may_be_named_without_a_scheme(
    server: Hostile, proxy: Proxy, settings: Settings, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    monkeypatch.delenv("HTTPS_PROXY")
    monkeypatch.setenv("ALL_PROXY", proxy.url.removeprefix("http://"))
    DRIVERS[driver](settings, send(settings, RetryLimits(attempts=1)))
    assert len(server.created) == len(proxy.asked) == 1


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("named", ["*", ELSEWHERE, f".other.example, {ELSEWHERE}", ".test", f"{ELSEWHERE}:PORT"])
def test_a_host_that_no_proxy_names_is_asked_itself(
    server: Hostile, certificate: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, driver: str, named: str
) -> None:
    with over_tls(server.url, certificate) as url:
        port = int(url.rpartition(":")[2])
        look_up = socket.getaddrinfo
        here = {ELSEWHERE: "127.0.0.1", ELSEWHERE.encode(): "127.0.0.1"}
        monkeypatch.setattr(
            "socket.getaddrinfo", lambda host, *more, **any_: look_up(here.get(host, host), *more, **any_)
        )
        monkeypatch.setenv("NO_PROXY", named.replace("PORT", str(port)))
        settings = settings_for(f"https://{ELSEWHERE}:{port}")
        DRIVERS[driver](settings, send(settings, RetryLimits(attempts=1)))
    assert (len(server.created), proxy.asked) == (1, [])


@pytest.mark.parametrize("client", [IntercomClient, AsyncIntercomClient])
@pytest.mark.parametrize("named", ["socks5://proxy:1", "ftp://ada:pr0xy-word@proxy:1", "http://ada:pr0xy/word@proxy:1"])
def test_an_unusable_proxy_is_an_error_that_names_its_variable(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, client: Callable[[Settings], object], named: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", named)
    with pytest.raises(InvalidInputError, match="HTTPS_PROXY: is not a usable proxy") as raised:
        client(settings)
    assert "pr0xy" not in str(raised.value)


@pytest.mark.parametrize("exists", [False, True])
def test_unreadable_certificates_are_an_error_that_names_their_variable(tmp_path: Path, exists: bool) -> None:
    named = tmp_path / "authorities.pem"
    if exists:
        named.write_text("no certificate")
    code = "from intercom_provider.api.transport import tls_context; tls_context()"
    # They are read once a process.
    ended = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code],
        env={**os.environ, "SSL_CERT_FILE": str(named)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "InvalidInputError: SSL_CERT_FILE: has no certificates that can be read (" in ended.stderr


def test_the_token_goes_to_the_host_itself_whatever_proxy_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Hostile() as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, server.elsewhere.url)
        settings = settings_for(server.url)
        for driver in DRIVERS.values():
            driver(settings, send(settings, RetryLimits(attempts=1)))
        assert len(server.created) == 2
        assert server.elsewhere.requests == []
