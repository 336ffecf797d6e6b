"""Two drivers over httpx for the flows of ``flow.py``: one for tasks, one for triggers."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import httpcore
import httpx

from intercom_provider import __version__
from intercom_provider.api.errors import IntercomError, InvalidInputError, StoppedError
from intercom_provider.api.flow import Answer, NoReply, Reply, Request
from intercom_provider.api.pacing import Pacer, Reservation
from intercom_provider.api.parallel import Parallel, run_in_tasks, run_in_threads
from intercom_provider.api.settings import is_loopback

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from intercom_provider.api.parallel import ParallelFlow
    from intercom_provider.api.settings import Settings

log = logging.getLogger(__name__)

C = TypeVar("C")
T = TypeVar("T")

_LONGEST_CONNECT: Final = 10.0
# How late a wait notices that the task was told to stop; Airflow kills it after 5 seconds.
_STOP_CHECK_SECONDS: Final = 0.25
_WORTH_A_LOG_LINE: Final = 5.0

# Raised before the first byte of a request is written: Intercom cannot have seen it.
_UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)

# What httpcore calls its steps, after the name of the part that takes them.
_HEAD: Final = "send_request_headers.started"
_BODY: Final = "send_request_body.started"
_CONNECTING: Final = ("connect_tcp.started", "start_tls.started")
_CLOSED: Final = "response_closed.started"
_CONNECTED: Final = ("connect_tcp.complete", "start_tls.complete")


@functools.cache
def _tls() -> ssl.SSLContext:
    # Reading the certificates takes some 20 ms and blocks: once a process.
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        why = f"names no certificates that can be read ({type(error).__name__}): give a PEM file of authorities"
        raise InvalidInputError.of("SSL_CERT_FILE", why) from None


def _new_http_client(kind: Callable[..., C], settings: Settings) -> C:
    options = _options(settings)
    try:
        return kind(**options)
    except UnicodeError:
        raise
    except (ValueError, ImportError, httpx.InvalidURL):
        # What is said of it may hold a part of the proxy's password.
        why = "names no proxy that can be used: give http://HOST:PORT, user and password percent-encoded before it"
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
        "verify": _tls(),
        # A proxy that the environment names is for the world outside, and would read the token on plain http.
        "trust_env": not is_loopback(httpx.URL(settings.url).host),
        # A connection that idled longer may be closed at the other end, which would make a send unconfirmed.
        "limits": httpx.Limits(keepalive_expiry=3.0),
    }


def _seconds_for(request: Request, settings: Settings, now: float) -> float:
    allowed = settings.timeout if request.timeout is None else min(settings.timeout, request.timeout)
    if request.safe and request.deadline is not None:
        allowed = min(allowed, max(0.05, request.deadline - now))
    return allowed


@functools.lru_cache(maxsize=8)
def _address(url: str, path: str) -> httpx.URL:
    return httpx.URL(url.rstrip("/") + path)


def _build_request(
    request: Request, settings: Settings, headers: httpx.Headers, seconds: float, notice: Callable[..., object]
) -> httpx.Request:
    # httpx would put address and headers together anew each time, which takes a tenth of a whole request.
    return httpx.Request(
        request.method,
        _address(settings.url, request.path),
        params=request.params,
        headers=headers,
        json=request.json,
        extensions={
            # Connecting ends well before the whole does, so that what ran out then was certainly written or not.
            "timeout": {
                "connect": min(_LONGEST_CONNECT, seconds / 3),
                "read": seconds,
                "write": seconds,
                "pool": seconds,
            },
            "trace": notice,
        },
    )


def _no_whole_reply(seconds: float, *, sent: bool) -> NoReply:
    return NoReply(f"no whole reply within {seconds:.3g} s", sent=sent, now=time.time())


def _may_reach_intercom(request: Request, step: str, info: Mapping[str, Any]) -> bool | None:
    """Tell whether with this step the request itself is written, which stops it past its time; None for no news."""
    if not step.endswith(".started") or step.endswith(_CLOSED):
        return None
    # A proxy is asked for a way first: until that is open, Intercom can have seen nothing.
    asked = info.get("request")
    if step.endswith(_CONNECTING) or (asked is not None and asked.method == b"CONNECT"):
        return False
    if step.endswith(_HEAD) and not request.safe and request.deadline is not None and time.time() >= request.deadline:
        raise httpx.ConnectTimeout("its time passed before it could be written")
    return True


def _delay(request: Request, pacer: Pacer, reservation: Reservation) -> float | NoReply:
    """Tell how long to wait before asking again, 0 when it is the request's turn, or that it is too late."""
    now = time.time()
    delay = pacer.delay_for(reservation, now)
    if request.deadline is not None and now + delay >= request.deadline:
        return NoReply("there was no time left to ask", sent=False, now=now, late=True)
    if reservation.news:
        level = logging.INFO if delay >= _WORTH_A_LOG_LINE else logging.DEBUG
        log.log(level, "%s waits %.1f s: %s", request, delay, request.why or "the rate limit is used up")
    return delay


async def _at_once(step: Callable[[], T], /) -> T:
    return step()


def _no_reply(error: httpx.HTTPError | httpx.InvalidURL, *, sent: bool) -> NoReply:
    # Only the network's own words: others hold what the other end wrote, which may repeat the token.
    said = str(error).splitlines() if isinstance(error, httpx.NetworkError | httpx.ConnectTimeout) else []
    if isinstance(error, httpx.ProxyError):
        status = str(error).partition(" ")[0]
        said = [f"the proxy that the environment names answered {status if status.isdigit() else 'no'}"]
    why = f"{type(error).__name__}: {said[0][:200] if said else 'the reply broke off, or is no HTTP'}"
    return NoReply(why, sent=sent and not isinstance(error, _UNSENT), now=time.time())


class IntercomClient:
    """
    Talks to Intercom from a task. A context manager; not to be shared between threads.

    :param settings: Where and as whom.
    :param pacer: The rate limit; give the same one to clients that share it. None makes its own.
    :param stopped: Asked before every request; True makes the client raise instead of going on.
    """

    def __init__(
        self, settings: Settings, *, pacer: Pacer | None = None, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        self.settings = settings
        self._pacer = pacer or Pacer()
        self._stopped = stopped
        self._give_up = 0.0
        self._head = b""
        self._is_head = False
        self._may_be_broken_off = False
        self.may_have_sent = False
        """Whether the last request may have reached Intercom."""

        self._http = _new_http_client(httpx.Client, settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def run(self, flow: ParallelFlow[T]) -> T:
        """
        Carry out a call.

        :param flow: The call, from ``intercom_provider.api.calls``, or a flow that makes several.
        :return: What the call returns.
        :raises IntercomError: What the call raises.
        :raises StoppedError: When the task was told to stop.
        """
        step: Callable[[], Request | Parallel[Any]] = functools.partial(next, flow)
        while True:
            try:
                asked = step()
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(asked, Request):
                step = functools.partial(flow.send, self.exchange(asked))
                continue
            step = functools.partial(next, flow)
            try:
                run_in_threads(asked, self._clone_for_thread)
            except IntercomError as error:
                step = functools.partial(flow.throw, error)

    def _clone_for_thread(self, halted: Callable[[], bool]) -> IntercomClient:
        """Make a client for another thread, under the same rate limit, which stops with this one, or when told to."""
        return IntercomClient(self.settings, pacer=self._pacer, stopped=lambda: halted() or self._stopped())

    def exchange(self, request: Request) -> Answer:
        """
        Make one request of a call, as soon as it may go. For whoever steps through a flow himself.

        :param request: What the flow asks for.
        :return: What became of it, to be sent to the flow.
        :raises StoppedError: When the task was told to stop; the request was not made.
        """
        # Whoever comes here again was told that nothing was read.
        self.may_have_sent = False
        reservation = Reservation(time.time() + request.after, share=request.share)
        try:
            while delay := self._delay(request, reservation):
                if isinstance(delay, NoReply):
                    return delay
                time.sleep(min(delay, _STOP_CHECK_SECONDS))
            outcome = self._ask(request)
            if isinstance(outcome, Reply):
                self._pacer.observe(outcome.status, outcome.headers, outcome.now)
            return outcome
        finally:
            self._pacer.release(reservation)

    def _delay(self, request: Request, reservation: Reservation) -> float | NoReply:
        if self._stopped():
            raise StoppedError("the task was told to stop; the next request was not made")
        return _delay(request, self._pacer, reservation)

    def _ask(self, request: Request) -> Answer:
        seconds = _seconds_for(request, self.settings, time.time())
        self._give_up = time.monotonic() + seconds
        self._head, self._is_head = b"", False
        self._may_be_broken_off = request.safe
        # Until a step says otherwise: one of an httpx that names its steps differently says nothing.
        self.may_have_sent = True
        try:
            notice = functools.partial(self._notice, request)
            response = self._http.send(_build_request(request, self.settings, self._http.headers, seconds, notice))
        except httpx.ReadTimeout:
            return _no_whole_reply(seconds, sent=self.may_have_sent)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _no_reply(error, sent=self.may_have_sent)
        return Reply(response.status_code, response.headers, response.content, time.time(), self.settings.token)

    def _notice(self, request: Request, step: str, info: Mapping[str, Any]) -> None:
        goes_out = _may_reach_intercom(request, step, info)
        self.may_have_sent = self.may_have_sent if goes_out is None else goes_out
        if step.endswith(_HEAD):
            self._head, self._is_head = b"", True
        elif step.endswith(_BODY):
            self._is_head = False
        elif step.endswith(_CONNECTED):
            stream = info["return_value"]
            stream.read = functools.partial(self._read, stream.read)
            stream.write = functools.partial(self._write, stream.write)

    def _write(self, write: Callable[..., None], data: bytes, timeout: float | None = None) -> None:
        # httpx writes a request's head and its body apart: a system call and a packet more.
        if self._is_head:
            self._head += data
            return
        data, self._head = self._head + data, b""
        if data:
            write(data, timeout=timeout)

    def _read(self, read: Callable[..., bytes], max_bytes: int, timeout: float | None = None) -> bytes:
        while True:
            # httpx bounds each read; a reply that drips would never end.
            left = self._give_up - time.monotonic()
            if left <= 0:
                raise httpx.ReadTimeout("the whole reply took too long")
            left = left if timeout is None else min(left, timeout)
            if not self._may_be_broken_off:
                return read(max_bytes, timeout=left)
            if self._stopped():
                raise StoppedError("the task was told to stop; the reply was not waited for")
            with suppress(httpcore.ReadTimeout):
                return read(max_bytes, timeout=min(left, _STOP_CHECK_SECONDS))


class AsyncIntercomClient:
    """
    Talks to Intercom from a trigger. An async context manager.

    :param settings: Where and as whom.
    :param pacer: The rate limit; give the same one to clients that share it. None makes its own.
    """

    def __init__(self, settings: Settings, *, pacer: Pacer | None = None) -> None:
        self.settings = settings
        self._pacer = pacer or Pacer()
        self._http = _new_http_client(httpx.AsyncClient, settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def run(self, flow: ParallelFlow[T]) -> T:
        """
        Carry out a call.

        :param flow: The call, from ``intercom_provider.api.calls``, or a flow that makes several.
        :return: What the call returns.
        :raises IntercomError: What the call raises.
        """
        step: Callable[[], Request | Parallel[Any]] = functools.partial(next, flow)
        while True:
            try:
                asked = step()
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(asked, Request):
                step = functools.partial(flow.send, await self.exchange(asked))
                continue
            step = functools.partial(next, flow)
            try:
                await run_in_tasks(asked, self.exchange, do=_at_once)
            except IntercomError as error:
                step = functools.partial(flow.throw, error)

    async def exchange(self, request: Request) -> Answer:
        """
        Make one request of a call, as soon as it may go. For whoever steps through a flow himself.

        :param request: What the flow asks for.
        :return: What became of it, to be sent to the flow.
        """
        reservation = Reservation(time.time() + request.after, share=request.share)
        try:
            while delay := _delay(request, self._pacer, reservation):
                if isinstance(delay, NoReply):
                    return delay
                await asyncio.sleep(delay)
            outcome = await self._ask(request)
            if isinstance(outcome, Reply):
                self._pacer.observe(outcome.status, outcome.headers, outcome.now)
            return outcome
        finally:
            self._pacer.release(reservation)

    async def _ask(self, request: Request) -> Answer:
        seconds = _seconds_for(request, self.settings, time.time())

        may_have_sent = True

        async def notice(step: str, info: Mapping[str, Any]) -> None:
            nonlocal may_have_sent
            goes_out = _may_reach_intercom(request, step, info)
            may_have_sent = may_have_sent if goes_out is None else goes_out

        try:
            async with asyncio.timeout(seconds):
                response = await self._http.send(
                    _build_request(request, self.settings, self._http.headers, seconds, notice)
                )
        except (TimeoutError, httpx.ReadTimeout):
            return _no_whole_reply(seconds, sent=may_have_sent)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _no_reply(error, sent=may_have_sent)
        return Reply(response.status_code, response.headers, response.content, time.time(), self.settings.token)
