"""
How a call is made, without I/O: requests and replies as values, what may be repeated, how long to wait.

A call is a generator: it yields a :class:`Request`, is sent what became of it, and returns its result.
A driver (``client.py``) does the talking; so each decision stands here once for both drivers.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, TypeVar

from intercom_provider.api.errors import (
    ApiError,
    ContactNotFoundError,
    ExpiredError,
    IntercomError,
    NotFoundError,
    RateLimitedError,
    UnconfirmedError,
    UnreachableError,
    error_class,
)
from intercom_provider.api.pacing import MAX_DELAY_SECONDS, seconds_until_open
from intercom_provider.api.redaction import redact

if TYPE_CHECKING:
    from intercom_provider.api.tolerant import Tolerant

M = TypeVar("M", bound="Tolerant")

_FIRST_BACKOFF: Final = 0.5
_LONGEST_BACKOFF: Final = 20.0
_MOST_CONTACT_BACKOFFS: Final = 10


@dataclass(frozen=True, slots=True)
class Request:
    """
    What a call asks of its driver: wait, then make this request.

    :param method: The HTTP method.
    :param path: The path below the base URL.
    :param params: The query.
    :param json: The JSON body.
    :param safe: Whether asking changes nothing, so that it may be cut short and asked again.
    :param after: Seconds to wait first (default 0).
    :param why: Why it waits, for the log.
    :param deadline: Epoch seconds after which it must not be started any more; None for no limit.
    :param timeout: Seconds it may take at most; None for the connection's time-out.
    :param private: Texts that must not be repeated in an error.
    :param name: The path without what may be a person's; "" when it has nothing of that kind.
    :param share: The share of each announced window that it and others like it may use together; None for what
        the driver may use.
    """

    method: Literal["GET", "POST"]
    path: str
    params: Mapping[str, str | int] | None = None
    json: Mapping[str, Any] | None = None
    safe: bool = True
    after: float = 0.0
    why: str = ""
    deadline: float | None = None
    timeout: float | None = None
    private: Sequence[str] = field(default=(), repr=False)
    name: str = ""
    share: float | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.name or self.path}"


@dataclass(frozen=True, slots=True)
class Reply:
    """
    An HTTP reply that arrived whole.

    :param status: The HTTP status.
    :param headers: The headers.
    :param body: The body.
    :param now: When, in epoch seconds.
    :param token: The token that was sent, which must not be repeated in an error.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    now: float
    token: str = field(default="", repr=False)
    _models: dict[type, Any] = field(default_factory=dict, repr=False, compare=False)

    def read(self, model: type[M]) -> M:
        """
        Read the body, once for all who share the reply.

        :param model: What it holds.
        :return: The body as that model.
        :raises ValueError: When it is no such thing.
        """
        if model not in self._models:
            self._models[model] = model.read(self.body)
        found: M = self._models[model]
        return found


class NoReply(NamedTuple):
    """
    No reply: a value, not an exception.

    :param why: What happened, without the address's query and without credentials.
    :param sent: Whether the request may have reached Intercom.
    :param now: When, in epoch seconds.
    :param late: Whether it was not made because its deadline had passed.
    """

    why: str
    sent: bool
    now: float
    late: bool = False


class WrongReplyError(ValueError):
    """A reply that can be read, but answers another question; its text says which."""


T = TypeVar("T")
Answer: TypeAlias = Reply | NoReply
Flow: TypeAlias = Generator[Request, Answer, T]
Read: TypeAlias = Callable[[Reply], T]


class Retry(NamedTuple):
    """A judge's word that the request may be repeated: what to raise when patience is over, when to ask again."""

    error: IntercomError
    wait: float | None = None


class RetryLimits(NamedTuple):
    """
    How long one request is tried.

    :param attempts: How often it is made at most (default 5).
    :param deadline: Epoch seconds past which nothing is waited for any more; None for no limit.
    :param timeout: Seconds one attempt may take; None for the connection's time-out.
    :param contact_wait: Seconds for which a 404 counts as "not there yet" (default 0).
    :param contact_pause: Seconds before it is asked again for the first time (default 0.5), ten times that at most.
    """

    attempts: int = 5
    deadline: float | None = None
    timeout: float | None = None
    contact_wait: float = 0.0
    contact_pause: float = _FIRST_BACKOFF


DEFAULT_RETRY_LIMITS: Final = RetryLimits()


def request_with_retries(request: Request, read: Read[T], limits: RetryLimits) -> Flow[T]:
    """
    Make a request until it has an answer or patience is over.

    :param request: What to ask; whether it is safe decides what may be repeated.
    :param read: Turns a successful reply into the result; raises ValueError when it is unreadable.
    :param limits: When to give up.
    :return: The result.
    :raises IntercomError: What went wrong, once patience is over or at once where repeating is no help.
    """
    request = replace(request, deadline=limits.deadline, timeout=limits.timeout)
    contact_until: float | None = None
    tried = contacts_tried = 0
    while True:
        outcome = yield request
        verdict = _judge_safe(request, outcome, read) if request.safe else _judge_unsafe(request, outcome, read)
        if not isinstance(verdict, Retry):
            return verdict
        if isinstance(verdict.error, NotFoundError):
            contacts_tried += 1
            contact_until = contact_until or outcome.now + limits.contact_wait
            # The last look is at the very end, so that whoever turns up within the wait is found.
            first = limits.contact_pause
            pause = _backoff(contacts_tried, _MOST_CONTACT_BACKOFFS * first, first)
            wait = min(pause, contact_until - outcome.now)
            over = wait <= 0
        else:
            tried += 1
            wait = max(verdict.wait or 0.0, _backoff(tried, _LONGEST_BACKOFF))
            over = tried >= limits.attempts or wait > MAX_DELAY_SECONDS
        if over:
            raise verdict.error
        if limits.deadline is not None and outcome.now + wait >= limits.deadline:
            if request.safe or not verdict.error.transient:
                raise verdict.error
            raise ExpiredError(f"not_after passed before the message could be sent: {verdict.error}") from verdict.error
        request = replace(request, after=wait, why=_reason(verdict.error))


def _judge_safe(request: Request, outcome: Answer, read: Read[T]) -> T | Retry:
    """Judge a request that changes nothing: whatever may pass is asked again."""
    if isinstance(outcome, NoReply):
        return Retry(UnreachableError(f"{request}: {outcome.why}"))
    if outcome.status >= 300:  # noqa: PLR2004 - the classes of HTTP statuses are known by their hundreds
        error = read_error(request, outcome)
        if error.transient:
            return Retry(error, _wait_of(outcome))
        raise error
    try:
        return read(outcome)
    except WrongReplyError as error:
        return Retry(UnreachableError(f"{request}: the reply is not an answer to it, but {error}"))
    except ValueError:
        return Retry(UnreachableError(f"{request}: the reply ({outcome.status}) is no JSON that makes sense"))


def _judge_unsafe(request: Request, outcome: Answer, read: Read[T]) -> T | Retry:
    """Judge a request that creates something: only what certainly was not read is repeated."""
    if isinstance(outcome, NoReply):
        if outcome.late:
            raise ExpiredError("not_after passed: the message was not sent")
        if outcome.sent:
            raise UnconfirmedError(f"{request}: {outcome.why}")
        return Retry(UnreachableError(f"{request}: {outcome.why}. The message was not sent"))
    if 200 <= outcome.status < 300:  # noqa: PLR2004 - as above
        try:
            return read(outcome)
        except ValueError:
            raise UnconfirmedError(f"{request}: the reply ({outcome.status}) cannot be read") from None
    error = read_error(request, outcome)
    if isinstance(error, RateLimitedError):
        return Retry(error, _wait_of(outcome))
    if isinstance(error, ContactNotFoundError):
        return Retry(error)
    if outcome.status == 408 or not 400 <= outcome.status < 500:  # noqa: PLR2004 - as above
        raise UnconfirmedError(error.said) from error
    raise error


def read_error(request: Request, reply: Reply) -> ApiError:
    """
    Make the error of a reply that is no success, whichever of Intercom's shapes it has.

    :param request: What was asked.
    :param reply: A reply with a status of 300 or above.
    :return: The error, to be raised or weighed.
    """
    body = as_object(reply)
    listed = body.get("errors")
    first = listed[0] if isinstance(listed, Sequence) and listed and isinstance(listed[0], Mapping) else body
    code = first.get("code") or (first.get("type") if first is not body else None)
    message = first.get("message")
    if not body:
        message = "a reply that is not Intercom's (is something else answering at this address?)"
    if 300 <= reply.status < 400:  # noqa: PLR2004 - as above
        message = "a redirect, which is not followed, as it would take the token elsewhere; check host and region"
    private = (reply.token, *request.private)
    kind = error_class(reply.status)
    if kind is NotFoundError and not request.safe and code != "admin_not_found":
        kind = ContactNotFoundError
    error = kind(
        request=str(request),
        status=reply.status,
        code=redact(code, private),
        message=redact(message, private),
        field=redact(first.get("field"), private) or None,
        request_id=redact(body.get("request_id") or reply.headers.get("x-request-id"), private) or None,
    )
    if isinstance(error, RateLimitedError):
        wait = seconds_until_open(reply.headers, reply.now)
        error.retry_at = None if wait is None else reply.now + wait
    return error


def _wait_of(reply: Reply) -> float | None:
    return seconds_until_open(reply.headers, reply.now) if reply.status in (429, 503) else None


def _backoff(tried: int, longest: float, first: float = _FIRST_BACKOFF) -> float:
    longest = min(longest, first * 2.0 ** min(tried - 1, 10))
    return longest * random.uniform(0.75, 1.25)  # noqa: S311 - no secret


def _reason(error: IntercomError) -> str:
    if isinstance(error, RateLimitedError):
        return "the rate limit is used up"
    if isinstance(error, NotFoundError):
        return "the contact is not there yet (404)"
    return f"{error.status} from Intercom" if isinstance(error, ApiError) else "Intercom did not answer readably"


def as_object(reply: Reply) -> dict[str, Any]:
    """
    Read a reply's body as a JSON object.

    :param reply: Any reply.
    :return: The object; empty when it is none.
    """
    try:
        body = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
