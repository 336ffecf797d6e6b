"""
HTTP for the clients: connections, TLS, the environment's proxy, time-outs, and the reply of each request.

:class:`Transport` and :class:`AsyncTransport` take a request of a flow and return the reply, or why there is none. What
they share, but for the waiting, stands once. httpcore keeps the connections, which are streams of ``streams.py``.
"""

from __future__ import annotations

import asyncio
import functools
import json
import time
import zlib
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlencode
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from intercom_provider import __version__
from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.flow import Answer, NoReply, Reply, Request
from intercom_provider.api.settings import is_loopback
from intercom_provider.api.streams import AsyncBackend, Backend, Exchange, begin

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from intercom_provider.api.settings import Settings

P = TypeVar("P")

_MAX_CONNECT_SECONDS: Final = 10.0
# Intercom, or a load balancer before it, may close a connection that idled longer. A send over it would be unconfirmed.
_MAX_IDLE_SECONDS: Final = 3.0
_MAX_REASON_CHARS: Final = 200
# A page of a hundred statuses has some 30 KB, and Intercom repeats a message's body in its answer.
_MAX_REPLY_BYTES: Final = 64 * 2**20
_TOO_LARGE: Final = f"the reply is larger than {_MAX_REPLY_BYTES // 2**20} MiB"
_GZIP_OR_ZLIB: Final = 47  # zlib's number for either of the two headers
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

# httpcore raises these before the first byte of a request is written, so Intercom cannot have seen it.
_UNSENT: Final = (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout, httpcore.ProxyError)
_HTTP_ERRORS: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)


class Transport:
    """
    Makes requests from a task, one at a time.

    :param settings: The connection's settings.
    :param stopped: Returns whether the task is stopped; a safe request then ends with StoppedError.
    :raises InvalidInputError: When the environment's proxy or certificates cannot be used.
    """

    def __init__(self, settings: Settings, stopped: Callable[[], bool] = lambda: False) -> None:
        self._http = _Http(settings)
        self._stopped = stopped
        self._pool = self._http.new_pool(Backend(), httpcore.ConnectionPool, httpcore.HTTPProxy, httpcore.SOCKSProxy)
        self._last: Exchange | None = None

    @property
    def may_have_sent(self) -> bool:
        """Whether Intercom may have seen any of the last request."""
        return self._last is not None and self._last.may_have_sent

    def forget(self) -> None:
        """Forget the last request."""
        self._last = None

    def exchange(self, request: Request) -> Answer:
        """
        Make a request.

        :param request: The request.
        :return: The reply, or why there is none.
        :raises StoppedError: When the task is stopped and the request is safe.
        """
        exchange = self._last = Exchange(request, self._http.settings, self._stopped)
        begin(exchange)
        try:
            response, body = self._pool.handle_request(self._http.build(exchange)), _Body()
            try:
                exchange.check_written()
                for part in response.iter_stream():
                    body.add(part)
            finally:
                response.close()
            return self._http.reply(response, body)
        except _HTTP_ERRORS as error:
            return self._http.no_reply(error, exchange)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


class AsyncTransport:
    """
    Makes requests from a trigger, any number at a time.

    :param settings: The connection's settings.
    :raises InvalidInputError: When the environment's proxy or certificates cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._http = _Http(settings)
        self._pool = self._http.new_pool(
            AsyncBackend(), httpcore.AsyncConnectionPool, httpcore.AsyncHTTPProxy, httpcore.AsyncSOCKSProxy
        )

    async def exchange(self, request: Request) -> Answer:
        """
        Make a request.

        :param request: The request.
        :return: The reply, or why there is none.
        """
        exchange = Exchange(request, self._http.settings)
        begin(exchange)
        try:
            async with asyncio.timeout(exchange.seconds):
                response, body = await self._pool.handle_async_request(self._http.build(exchange)), _Body()
                try:
                    exchange.check_written()
                    async for part in response.aiter_stream():
                        body.add(part)
                finally:
                    await response.aclose()
            return self._http.reply(response, body)
        except (*_HTTP_ERRORS, TimeoutError) as error:
            return self._http.no_reply(error, exchange)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()


class _Body:
    """The body of a reply, which may be endless."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size > _MAX_REPLY_BYTES:
            raise httpcore.ReadError(_TOO_LARGE)

    def decoded(self, encoding: str) -> bytes:
        """Return the body as it was before it was compressed, which may be much larger."""
        body = b"".join(self._parts)
        if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
            return body
        unpacking = zlib.decompressobj(_GZIP_OR_ZLIB)
        try:
            unpacked = unpacking.decompress(body, _MAX_REPLY_BYTES + 1)
        except zlib.error:
            raise httpcore.RemoteProtocolError from None
        if len(unpacked) > _MAX_REPLY_BYTES:
            raise httpcore.ReadError(_TOO_LARGE)
        if body and not unpacking.eof:
            raise httpcore.RemoteProtocolError
        return unpacked


class _Http:
    """
    What both transports write and read.

    :param settings: The connection's settings.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._base = httpx.URL(settings.url)
        self._below = self._base.raw_path.rstrip(b"/")
        # All sends have the same address, and checking the parts of one takes as long as parsing a reply.
        self._address = functools.lru_cache(maxsize=8)(self._new_address)
        self._headers = [
            (b"Host", self._base.netloc),
            (b"Authorization", f"Bearer {settings.token}".encode("ascii")),
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"gzip, deflate"),
            (b"Intercom-Version", settings.api_version.encode("ascii")),
            (b"User-Agent", f"airflow-provider-intercom/{__version__}".encode()),
        ]

    def new_pool(
        self,
        backend: object,
        direct: Callable[..., P],
        through_http_proxy: Callable[..., P],
        through_socks_proxy: Callable[..., P],
    ) -> P:
        """Make a pool of connections, through the environment's proxy if it names one for Intercom."""
        options: dict[str, Any] = {
            "ssl_context": tls_context(),
            "keepalive_expiry": _MAX_IDLE_SECONDS,
            "max_connections": None,
            "network_backend": backend,
        }
        named = _find_proxy(self._base)
        if named is None:
            return direct(**options)
        try:
            proxy = httpx.Proxy(named)
            url = proxy.url
            address = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
            options |= {"proxy_url": address, "proxy_auth": proxy.raw_auth}
            if url.scheme.startswith("socks"):
                return through_socks_proxy(**options)
            options |= {"proxy_headers": proxy.headers.raw, "proxy_ssl_context": proxy.ssl_context}
            return through_http_proxy(**options)
        except (ValueError, RuntimeError, httpx.InvalidURL):
            # Their own words may hold a part of the proxy's password, so they are left out.
            why = "is not a usable proxy: give http://HOST:PORT, with user and password percent-encoded before the host"
            raise InvalidInputError.of("HTTPS_PROXY", why) from None

    def _new_address(self, path: str) -> httpcore.URL:
        base, target = self._base, self._below + path.encode()
        return httpcore.URL(scheme=base.raw_scheme, host=base.raw_host, port=base.port, target=target)

    def build(self, exchange: Exchange) -> httpcore.Request:
        """Build httpcore's request."""
        request, seconds, headers, body = exchange.request, exchange.seconds, self._headers, b""
        if request.json is not None:
            body = json.dumps(request.json, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
            headers = [*headers, (b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(body))]
        query = f"?{urlencode(request.params)}" if request.params else ""
        return httpcore.Request(
            request.method,
            self._address(request.path + query),
            headers=headers,
            content=body,
            extensions={
                # Connecting ends well before the whole does. So a time-out says for certain whether writing had begun.
                "timeout": {
                    "connect": min(_MAX_CONNECT_SECONDS, seconds / 3),
                    "read": seconds,
                    "write": seconds,
                    "pool": seconds,
                },
            },
        )

    def reply(self, response: httpcore.Response, body: _Body) -> Reply:
        """Return a reply that arrived whole."""
        headers: dict[str, str] = {}
        for raw_name, raw_value in response.headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        whole = body.decoded(headers.get("content-encoding", ""))
        return Reply(response.status, headers, whole, time.time(), self.settings.token)

    def no_reply(self, error: Exception, exchange: Exchange) -> NoReply:
        """Return the outcome of a request without a reply, in words that cannot repeat the token or the message."""
        sent = exchange.may_have_sent and not isinstance(error, _UNSENT)
        if isinstance(error, TimeoutError | httpcore.ReadTimeout):
            return NoReply(f"no whole reply within {exchange.seconds:.3g} s", sent=sent, now=time.time())
        why = "the reply broke off, or is not HTTP"
        if isinstance(error, httpcore.ProxyError):
            status = str(error).partition(" ")[0]
            why = f"the proxy that the environment names {f'answered {status}' if status.isdigit() else 'refused'}"
        elif isinstance(error, httpcore.NetworkError | httpcore.ConnectTimeout) and (said := str(error).splitlines()):
            # Only these errors quote the operating system alone. Others quote the reply, which may repeat the token.
            why = said[0][:_MAX_REASON_CHARS]
            if isinstance(error, httpcore.ConnectError | httpcore.ConnectTimeout):
                # Behind a proxy it is the proxy that refused, so this does not say who did.
                why += f" (on the way to {_with_port(self._base)})"
        return NoReply(f"{type(error).__name__}: {why}", sent=sent, now=time.time())


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


def _find_proxy(url: httpx.URL) -> str | None:
    """Return the proxy that the environment names for a URL; None for none."""
    # The environment's proxy is for other machines. For this one it would read the token on plain http.
    if is_loopback(url.host) or proxy_bypass(url.host) or proxy_bypass(_with_port(url)):
        return None
    named = getproxies()
    found = named.get(url.scheme) or named.get("all")
    return found if not found or "://" in found else f"http://{found}"


def _with_port(url: httpx.URL) -> str:
    """Return host and port, as NO_PROXY names them, also where it is the scheme's own port."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{host}:{url.port or _DEFAULT_PORTS[url.scheme]}"
