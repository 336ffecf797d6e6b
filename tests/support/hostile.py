"""
An Intercom that misbehaves, on a real socket: connections that break, replies that lie, drip or never end.

```python
with Hostile() as server:
    server.script(rate_limited(retry_after="1"), drop(created=True))   # one act a request, then healthy ones
    ...                                                                 # server.connection leads there
    assert len(server.created) == 1
```

It shares nothing with the sandbox, which is a healthy Intercom, and counts what was really created.
"""

from __future__ import annotations

import errno
import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

TOKEN: Final = "hostile-token-dG9rZW4"
HTML: Final = b"<html><body><h1>A proxy's page</h1></body></html>"
Headers: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived; `body` is empty when it was never read."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    connection: int
    """Which of the server's connections it came over, counted from 1."""

    time: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def call(self) -> str:
        return f"{self.method} {self.path}"


class HungUpError(Exception):
    """The act has closed the connection, or the server is stopping."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """The arguments of an act: the request, and the socket on which it may be answered."""

    server: Hostile
    request: Received
    wire: socket.socket

    def create(self) -> dict[str, Any]:
        """Do what the request asks for; return the answer that Intercom would give."""
        return self.server.do(self.request)

    def write(self, data: bytes) -> None:
        try:
            self.wire.sendall(data)
        except OSError:
            raise HungUpError from None

    def reply(self, status: int, body: bytes, headers: Headers | None = None) -> None:
        length = {} if body == b"" and status in (204, 304) else {"Content-Length": str(len(body))}
        self.write(head(status, {"Content-Type": "application/json", **length, **(headers or {})}) + body)

    def sleep(self, seconds: float) -> None:
        if self.server.stopping.wait(seconds):
            raise HungUpError

    def hang_up(self, *, reset: bool = False) -> None:
        if reset:
            self.wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise HungUpError


@dataclass(frozen=True, slots=True)
class Act:
    """
    What the server does with one request.

    :param run: Answers the request, or does not.
    :param unread: Whether the request is left unread on the socket.
    """

    run: Callable[[Exchange], None]
    unread: bool = False


def head(status: int, headers: Headers) -> bytes:
    """Write a reply's head."""
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def healthy() -> Act:
    """Do what the request asks for, and answer."""

    def run(exchange: Exchange) -> None:
        answer = exchange.create()
        exchange.reply(404 if answer.get("type") == "error.list" else 200, json.dumps(answer).encode())

    return Act(run)


def drop_unread() -> Act:
    """Reset the connection and leave the request unread."""
    return Act(lambda exchange: exchange.hang_up(reset=True), unread=True)


def drop(*, created: bool = False, reset: bool = False) -> Act:
    """Read the request, perhaps do it, and close the connection without a reply."""

    def run(exchange: Exchange) -> None:
        if created:
            exchange.create()
        exchange.hang_up(reset=reset)

    return Act(run)


def answer(status: int, body: object = b"", headers: Headers | None = None, *, created: bool = False) -> Act:
    """Answer with these bytes, or this JSON, whether or not anything was done."""

    def run(exchange: Exchange) -> None:
        if created:
            exchange.create()
        exchange.reply(status, body if isinstance(body, bytes) else json.dumps(body).encode(), headers)

    return Act(run)


def error(status: int, code: str, message: str | None = None, field_name: str | None = None, **more: object) -> Act:
    """Refuse in Intercom's usual shape."""
    errors = [{"code": code, "message": message, "field": field_name}]
    return answer(status, {"type": "error.list", "request_id": "req-1", "errors": errors} | more)


def rate_limited(*, reset_in: float | None = None, retry_after: str | None = None) -> Act:
    """Refuse with 429, and with the headers that are given."""

    def run(exchange: Exchange) -> None:
        headers = {"Date": http_date(time.time())}
        if reset_in is not None:
            headers |= {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time() + reset_in))}
        if retry_after is not None:
            headers["Retry-After"] = retry_after
        error_list = {"type": "error.list", "errors": [{"code": "rate_limit_exceeded", "message": "Exceeded"}]}
        exchange.reply(429, json.dumps(error_list).encode(), headers)

    return Act(run)


def rate_limited_until(seconds: float) -> Act:
    """Refuse with 429 and a Retry-After that is a date, so many seconds from now."""
    return Act(lambda exchange: rate_limited(retry_after=http_date(time.time() + seconds)).run(exchange))


def html(status: int, *, created: bool = False) -> Act:
    """Answer with an HTML page."""
    return answer(status, HTML, {"Content-Type": "text/html"}, created=created)


def cut_short(*, created: bool = False, status: int = 200) -> Act:
    """Announce more than comes, and close."""

    def run(exchange: Exchange) -> None:
        body = json.dumps(exchange.create() if created else {"id": "403"}).encode()
        exchange.write(head(status, {"Content-Length": str(len(body) + 10)}) + body[:-3])
        exchange.hang_up()

    return Act(run)


def cut_chunked(*, created: bool = False) -> Act:
    """Close in the middle of a chunked body."""

    def run(exchange: Exchange) -> None:
        body = json.dumps(exchange.create() if created else {"id": "403"}).encode()
        exchange.write(head(200, {"Transfer-Encoding": "chunked"}) + b"%x\r\n%b\r\n" % (len(body), body))
        exchange.hang_up()

    return Act(run)


def half_json(*, created: bool = False) -> Act:
    """Answer with JSON that ends early, and a length that fits."""

    def run(exchange: Exchange) -> None:
        body = json.dumps(exchange.create() if created else {"id": "403"}).encode()
        exchange.reply(200, body[:-4])

    return Act(run)


def late(seconds: float, *, created: bool = False) -> Act:
    """Answer, but not before so many seconds have passed."""

    def run(exchange: Exchange) -> None:
        body = json.dumps(exchange.create() if created else {"id": "403"}).encode()
        exchange.sleep(seconds)
        exchange.reply(200, body)

    return Act(run)


def dripping_body(every: float, *, created: bool = False) -> Act:
    """Answer a byte at a time."""

    def run(exchange: Exchange) -> None:
        body = json.dumps(exchange.create() if created else {"id": "403", "padding": "." * 40}).encode()
        exchange.write(head(200, {"Content-Length": str(len(body))}))
        for byte in body:
            exchange.sleep(every)
            exchange.write(bytes([byte]))

    return Act(run)


def dripping_headers(every: float, *, created: bool = False, lines: int = 100) -> Act:
    """Answer with one header line at a time, and many of them."""

    def run(exchange: Exchange) -> None:
        body = json.dumps(exchange.create() if created else {"id": "403"}).encode()
        exchange.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(lines):
            exchange.sleep(every)
            exchange.write(f"X-Padding-{number}: .\r\n".encode())
        exchange.write(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    return Act(run)


def redirect(status: int = 302) -> Act:
    """Send the client to `server.elsewhere`."""
    return Act(
        lambda exchange: exchange.reply(
            status, b"", {"Location": f"{exchange.server.elsewhere.url}{exchange.request.path}"}
        )
    )


def raw(data: bytes, *, created: bool = False) -> Act:
    """Write these bytes and close: not HTTP, or wrong HTTP."""

    def run(exchange: Exchange) -> None:
        if created:
            exchange.create()
        exchange.write(data)
        exchange.hang_up()

    return Act(run)


def close_when_idle(*, after: float = 0.0) -> Act:
    """Answer as if the connection were kept alive, and close it while it idles."""

    def run(exchange: Exchange) -> None:
        healthy().run(exchange)
        exchange.sleep(after)
        exchange.hang_up()

    return Act(run)


def http_date(moment: float) -> str:
    """Write a time as HTTP does."""
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(moment))


@dataclass(slots=True)
class _Script:
    acts: deque[Act] = field(default_factory=deque)
    afterwards: Act = field(default_factory=healthy)

    def next(self) -> Act:
        return self.acts.popleft() if self.acts else self.afterwards


class Hostile:
    """
    The server, running for as long as the `with` block.

    :param elsewhere: Whether it has a second one to redirect to.
    """

    def __init__(self, *, elsewhere: bool = True) -> None:
        self.token = TOKEN
        self.stopping = threading.Event()
        self.pages: list[list[dict[str, Any]]] = [[event("wamid.1", "delivered")]]
        """The pages of every ruleset."""

        self.cursor_size = 1
        """The number of characters that a cursor has at least."""

        self._lock = threading.Lock()
        self._created: list[dict[str, Any]] = []
        self._requests: list[Received] = []
        self._scripts: dict[str, _Script] = {}
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._connections = 0
        self._elsewhere = Hostile(elsewhere=False) if elsewhere else None
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def __enter__(self) -> Self:
        if self._elsewhere:
            self._elsewhere.__enter__()
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        # Closing alone does not wake a thread that waits on the socket.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for wire in self._open:
                with suppress(OSError):
                    wire.shutdown(socket.SHUT_RDWR)
            threads = list(self._threads)
        for thread in threads:
            thread.join(timeout=5)
        self._listener.close()
        if self._elsewhere:
            self._elsewhere.__exit__(None, None, None)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def connection(self) -> dict[str, Any]:
        """The Airflow connection that leads here."""
        return connection_to(self.url)

    @property
    def elsewhere(self) -> Hostile:
        """Another host, to which redirects lead."""
        if self._elsewhere is None:
            raise LookupError("this is elsewhere already")
        return self._elsewhere

    @property
    def created(self) -> list[dict[str, Any]]:
        """The messages that were really created, as they were sent."""
        with self._lock:
            return list(self._created)

    @property
    def requests(self) -> list[Received]:
        """All requests, also those that were left unread."""
        with self._lock:
            return list(self._requests)

    def script(self, *acts: Act, path: str = "") -> None:
        """
        Script the next requests; after them the server is healthy, or does what `always` sets.

        :param acts: One for each request.
        :param path: Only for requests to this path; "" for all that have no script of their own.
        """
        with self._lock:
            self._scripts.setdefault(path, _Script()).acts.extend(acts)

    def always(self, act: Act, path: str = "") -> None:
        """
        Set the act for every request that is not scripted.

        :param act: The act.
        :param path: Only for requests to this path; "" for all that have no script of their own.
        """
        with self._lock:
            self._scripts.setdefault(path, _Script()).afterwards = act

    def reset(self) -> None:
        """Forget scripts, requests and messages."""
        with self._lock:
            self._scripts.clear()
            self._created.clear()
            self._requests.clear()

    def do(self, request: Received) -> dict[str, Any]:
        """Do what a healthy Intercom would do; return its answer."""
        if request.call == "POST /messages":
            return self._send(request.json)
        if request.call == "GET /messages/status":
            return self._page(request.query)
        errors = [{"code": "not_found", "message": "Not found"}]
        answers: dict[str, dict[str, Any]] = {
            "GET /messages/whatsapp/status": {
                "message_id": request.query.get("message_id"),
                "conversation_id": "215",
                "status": "delivered",
                "type": "broadcast_outbound",
                "created_at": 1_700_000_000,
                "updated_at": 1_700_000_100,
                "error": None,
            },
            "GET /me": {
                "type": "admin",
                "id": "814860",
                "name": "Ada",
                "app": {"type": "app", "id_code": "hostile", "name": "Hostile", "region": "US"},
            },
            "POST /conversations/search": {"type": "conversation.list", "conversations": [{"id": "215"}]},
            "POST /contacts/search": {"type": "list", "data": [{"id": "c-1"}]},
        }
        if request.call.startswith("GET /admins/"):
            return {"type": "admin", "id": request.path.rpartition("/")[2], "name": "Ada", "has_inbox_seat": True}
        return answers.get(request.call, {"type": "error.list", "request_id": "req-1", "errors": errors})

    def _send(self, wire: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self._created.append(wire)
            number = len(self._created)
        answer = {
            "type": "admin_message",
            "id": str(403900000 + number),
            "created_at": int(time.time()),
            "message_type": wire["message_type"],
        }
        return answer | ({"whatsapp_message_id": f"wamid.{number}"} if wire["message_type"] == "whatsapp" else {})

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        number = int(query.get("starting_after", "0"))
        more = number + 1 < len(self.pages)
        following = {"starting_after": str(number + 1).zfill(self.cursor_size)} if more else None
        return {
            "type": "list",
            "ruleset_id": query["ruleset_id"],
            "pages": {"type": "pages", "next": following},
            "total_count": sum(map(len, self.pages)),
            "events": self.pages[number],
        }

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                wire, _ = self._listener.accept()
            except OSError:
                return
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections += 1
                number = self._connections
                self._open.add(wire)
            self._start(self._serve, wire, number)

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, name="hostile", daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _serve(self, wire: socket.socket, number: int) -> None:
        try:
            # Nothing is read beyond a request, because these clients never pipeline.
            while not self.stopping.is_set() and self._serve_one(wire, number):
                pass
        except (HungUpError, OSError):
            pass
        finally:
            with self._lock:
                self._open.discard(wire)
            with suppress(OSError):
                wire.close()

    def _serve_one(self, wire: socket.socket, number: int) -> bool:
        # Peeking leaves the request on the socket, where an act may want it unread.
        while b"\r\n\r\n" not in (seen := wire.recv(1 << 16, socket.MSG_PEEK)):
            if not seen or self.stopping.wait(0.001):
                return False
        top, _, _ = seen.partition(b"\r\n\r\n")
        request = _read_head(top, number)
        with self._lock:
            # A sender is looked up beside what a test is about.
            is_look_up = request.call.startswith("GET /admins/")
            default = _Script() if is_look_up else self._scripts.setdefault("", _Script())
            act = (self._scripts.get(request.path) or default).next()
        if not act.unread:
            _take(wire, len(top) + 4)
            body = _take(wire, int(request.headers.get("content-length", "0")))
            request = Received(**{name: getattr(request, name) for name in _FIELDS} | {"body": body})
        with self._lock:
            self._requests.append(request)
        act.run(Exchange(self, request, wire))
        return True


_FIELDS: Final = ("method", "path", "query", "headers", "connection", "time")


def _read_head(top: bytes, number: int) -> Received:
    first, *lines = top.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    parts = urlsplit(target)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Received(method, parts.path, dict(parse_qsl(parts.query)), headers, b"", number, time.time())


def _take(wire: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = wire.recv(size - len(data))
        if not more:
            raise HungUpError
        data += more
    return data


def event(whatsapp_message_id: str, status: str, **more: object) -> dict[str, Any]:
    """Make a ruleset's event as Intercom lists it."""
    return {
        "id": f"id-{whatsapp_message_id}",
        "conversation_id": "215",
        "user_id": f"user-{whatsapp_message_id}",
        "status": status,
        "type": "broadcast_outbound",
        "created_at": 1_700_000_000,
        "updated_at": 1_700_000_100,
        "whatsapp_message_id": whatsapp_message_id,
        "template_name": "order_shipped",
        **more,
    }


def connection_to(url: str, **extra: object) -> dict[str, Any]:
    """Make the Airflow connection that leads to a URL."""
    return {
        "conn_type": "intercom",
        "host": url,
        "password": TOKEN,
        "extra": {"region": "us", "admin_id": "814860", **extra},
    }


@contextmanager
def refusing() -> Iterator[str]:
    """Hold a port on which nobody listens; gives its URL."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{holder.getsockname()[1]}"


@contextmanager
def never_accepting() -> Iterator[str]:
    """Hold a port whose queue is full, so that connecting to it takes for ever; gives its URL."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        fillers = []
        try:
            for _ in range(4):
                filler = socket.socket()
                filler.settimeout(0)
                fillers.append(filler)
                if filler.connect_ex(listener.getsockname()) not in (0, errno.EINPROGRESS):
                    raise OSError("the queue cannot be filled")
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for filler in fillers:
                filler.close()
