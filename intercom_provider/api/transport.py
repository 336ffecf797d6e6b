"""
What both clients need of httpx: TLS, proxies, time-outs, requests, and whether a request may have reached Intercom.

A message whose reply is lost may have been created. So each step that httpcore announces is read for one question: has
writing the request itself begun? Connecting, the TLS handshake and a proxy's CONNECT do not count, because Intercom
sees none of the request in them.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx

from intercom_provider import __version__
from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.flow import NoReply, Request
from intercom_provider.api.settings import is_loopback

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from intercom_provider.api.settings import Settings

C = TypeVar("C")

_MAX_CONNECT_SECONDS: Final = 10.0
_MIN_REPLY_SECONDS: Final = 0.05
# Intercom, or a load balancer before it, may close a connection that idled longer. A send over it would be unconfirmed.
_MAX_IDLE_SECONDS: Final = 3.0
_MAX_REASON_CHARS: Final = 200
# A page of a hundred statuses has some 30 KB, and Intercom repeats a message's body in its answer.
_MAX_REPLY_BYTES: Final = 64 * 2**20
# A send that is written in the last tenth of its time would likely be given up before its answer comes.
_WRITE_SHARE: Final = 0.9

# httpx raises these before the first byte of a request is written, so Intercom cannot have seen it.
_UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)

# httpcore's names of its steps, without the part of httpcore before the first dot.
HEAD_STARTED: Final = "send_request_headers.started"
BODY_STARTED: Final = "send_request_body.started"
CONNECTED: Final = ("connect_tcp.complete", "start_tls.complete")
_CONNECTING: Final = ("connect_tcp.started", "start_tls.started")
_CLOSING: Final = "response_closed.started"


@functools.cache
def tls_context() -> ssl.SSLContext:
    """
    Return the TLS context of this process, made once: reading the certificates blocks for some 20 ms.

    :return: The context.
    :raises InvalidInputError: When ``SSL_CERT_FILE`` cannot be read.
    """
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        why = f"has no certificates that can be read ({type(error).__name__}): name a PEM file of authorities"
        raise InvalidInputError.of("SSL_CERT_FILE", why) from None


def new_http_client(kind: Callable[..., C], settings: Settings) -> C:
    """
    Make an httpx client.

    :param kind: ``httpx.Client`` or ``httpx.AsyncClient``.
    :param settings: The base URL, the token and the API version.
    :return: The client.
    :raises InvalidInputError: When the environment's proxy or certificates cannot be used.
    """
    options = _options(settings)
    try:
        return kind(**options)
    except UnicodeError:
        raise
    except (ValueError, ImportError, httpx.InvalidURL):
        # httpx's own words may hold a part of the proxy's password, so they are left out.
        why = "is not a usable proxy: give http://HOST:PORT, with user and password percent-encoded before the host"
        raise InvalidInputError.of("HTTPS_PROXY", why) from None


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "base_url": settings.url,
        "headers": {
            "Authorization": f"Bearer {settings.token}",
            "Accept": "application/json",
            "Intercom-Version": settings.api_version,
            "User-Agent": f"airflow-provider-intercom/{__version__}",
        },
        # Following a redirect would take the token to another host.
        "follow_redirects": False,
        "verify": tls_context(),
        # The environment's proxy is for other machines. For this one it would read the token on plain http.
        "trust_env": not is_loopback(httpx.URL(settings.url).host),
        "limits": httpx.Limits(keepalive_expiry=_MAX_IDLE_SECONDS),
    }


def seconds_for(request: Request, settings: Settings, now: float) -> float:
    """
    Return how long a request may take.

    :param request: The request. Only a safe one is cut short by its deadline: a send that was written is waited for.
    :param settings: The connection's time-out.
    :param now: Epoch seconds.
    :return: Seconds, from connecting to the last byte of the reply.
    """
    allowed = settings.timeout if request.timeout is None else min(settings.timeout, request.timeout)
    if request.safe and request.deadline is not None:
        allowed = min(allowed, max(_MIN_REPLY_SECONDS, request.deadline - now))
    return allowed


def write_until(request: Request, seconds: float, now: float) -> float:
    """
    Return the moment after which a request must not be written any more.

    Connecting has a limit for each address and each step, and name resolution has none, so their sum can take all
    the time there is.

    :param request: The request.
    :param seconds: Seconds that it may take as a whole.
    :param now: The monotonic clock.
    :return: A moment of the monotonic clock.
    """
    return now + (seconds if request.safe else _WRITE_SHARE * seconds)


@functools.lru_cache(maxsize=8)
def _address(url: str, path: str) -> httpx.URL:
    return httpx.URL(url.rstrip("/") + path)


def build_request(
    request: Request, settings: Settings, headers: httpx.Headers, seconds: float, notice: Callable[..., object]
) -> httpx.Request:
    """
    Build httpx's request; letting httpx merge addresses and headers each time takes a tenth of a whole request.

    :param request: The request of the flow.
    :param settings: The base URL.
    :param headers: The headers of every request.
    :param seconds: Seconds that it may take.
    :param notice: Called with each step that httpcore takes.
    :return: The request.
    """
    return httpx.Request(
        request.method,
        _address(settings.url, request.path),
        params=request.params,
        headers=headers,
        json=request.json,
        extensions={
            # Connecting ends well before the whole does. So a time-out says for certain whether writing had begun.
            "timeout": {
                "connect": min(_MAX_CONNECT_SECONDS, seconds / 3),
                "read": seconds,
                "write": seconds,
                "pool": seconds,
            },
            "trace": notice,
        },
    )


def may_reach_intercom(request: Request, step: str, info: Mapping[str, Any], until: float) -> bool | None:
    """
    Check whether Intercom may see the request from a step on.

    :param request: The request.
    :param step: httpcore's name of the step.
    :param info: httpcore's arguments of the step.
    :param until: The moment of the monotonic clock after which it must not be written.
    :return: True when the request itself is written, False while connecting, None when the step changes nothing.
    :raises httpx.ConnectTimeout: When the request is about to be written after its time.
    """
    if not step.endswith(".started") or step.endswith(_CLOSING):
        return None
    # A proxy gets a CONNECT first. Until it has opened the tunnel, Intercom cannot have seen anything.
    asked = info.get("request")
    if step.endswith(_CONNECTING) or (asked is not None and asked.method == b"CONNECT"):
        return False
    if step.endswith(HEAD_STARTED):
        if not request.safe and request.deadline is not None and time.time() >= request.deadline:
            raise httpx.ConnectTimeout("the deadline passed before the request could be written")
        if time.monotonic() >= until:
            raise httpx.ConnectTimeout("connecting took the time-out up, so the request was not written")
    return True


class _SizeCheck:
    """Counts the bytes of a reply, also those that decompressing makes of a few."""

    def __init__(self) -> None:
        self._size = 0

    def add(self, part: bytes) -> bytes:
        self._size += len(part)
        if self._size > _MAX_REPLY_BYTES:
            raise httpx.ReadError(f"the reply is larger than {_MAX_REPLY_BYTES // 2**20} MiB")
        return part


def read_body(response: httpx.Response) -> bytes:
    """
    Read the body of a reply, which may be endless.

    :param response: The reply, of which only the head was read. It is closed.
    :return: The body.
    :raises httpx.HTTPError: When it breaks off, or is larger than 64 MiB.
    """
    check = _SizeCheck()
    try:
        return b"".join(map(check.add, response.iter_bytes()))
    finally:
        response.close()


async def aread_body(response: httpx.Response) -> bytes:
    """Read the body of a reply without blocking the event loop; see :func:`read_body`."""
    check = _SizeCheck()
    try:
        return b"".join([check.add(part) async for part in response.aiter_bytes()])
    finally:
        await response.aclose()


def no_whole_reply(seconds: float, *, sent: bool) -> NoReply:
    """
    Return the outcome of a request that took too long.

    :param seconds: Seconds that it was allowed.
    :param sent: Whether it may have reached Intercom.
    :return: The outcome.
    """
    return NoReply(f"no whole reply within {seconds:.3g} s", sent=sent, now=time.time())


def no_reply(error: httpx.HTTPError | httpx.InvalidURL, *, sent: bool) -> NoReply:
    """
    Return the outcome of a request that httpx could not make.

    :param error: httpx's error.
    :param sent: Whether the request may have reached Intercom, as far as httpcore's steps say.
    :return: The outcome, in words that cannot repeat the token or the message.
    """
    why = "the reply broke off, or is not HTTP"
    if isinstance(error, httpx.ProxyError):
        status = str(error).partition(" ")[0]
        why = f"the proxy that the environment names {f'answered {status}' if status.isdigit() else 'refused'}"
    elif isinstance(error, httpx.NetworkError | httpx.ConnectTimeout) and (said := str(error).splitlines()):
        # Only these errors quote the operating system alone. Others quote the reply, which may repeat the token.
        why = said[0][:_MAX_REASON_CHARS]
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            # Behind a proxy it is the proxy that refused, so this does not say who did.
            url = error.request.url
            why += f" (on the way to {url.host}:{url.port or {'http': 80}.get(url.scheme, 443)})"
    return NoReply(f"{type(error).__name__}: {why}", sent=sent and not isinstance(error, _UNSENT), now=time.time())
