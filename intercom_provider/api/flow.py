"""
How a call is made, without I/O: requests and replies as values, what may be repeated, how long to wait.

The problem: what happens after a lost reply, a 429 or a 404 decides whether somebody gets a message twice or never, and
tasks need it blocking, triggers async. The idea: a call is a generator. It yields a :class:`Request`, is sent a
:class:`Reply` or a :class:`NoReply`, and returns its result. A driver (``client.py``) only waits and talks, so each
decision stands here once and can be stepped through without a socket.

Rejected: writing the decisions twice, for sync and for async, because the two drift apart; running async code in a loop
of its own within a task, which stops too late on Airflow's signals; and retries inside the HTTP library, which does not
know which requests create something.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, TypeVar

from intercom_provider.api.advice import ReplyContext
from intercom_provider.api.error_body import ErrorBody, ErrorDetail, announces_limit, parse_object, read_error_body
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
from intercom_provider.api.redaction import redact_all

if TYPE_CHECKING:
    from intercom_provider.api.tolerant import Tolerant

M = TypeVar("M", bound="Tolerant")

_MIN_BACKOFF_SECONDS: Final = 0.5
_MAX_BACKOFF_SECONDS: Final = 20.0
_MAX_BACKOFF_DOUBLINGS: Final = 10
# The longest pause before a contact is asked for again, as a multiple of the first one.
_MAX_CONTACT_PAUSES: Final = 10
_TOO_MANY_REQUESTS: Final = 429
_REDIRECT: Final = "a redirect, which is not followed, as it would take the token elsewhere; check host and region"
_CONTACT_ID: Final = re.compile(r"[0-9a-fA-F]{24}")
_CONTACT_LINK: Final = re.compile(r"<[^<>]{0,200}/contacts/([0-9A-Za-z]{1,64})>")
_MAX_LINK_CHARS: Final = 1_000
_MAX_SERVER_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class Request:
    """
    A request that a call asks its driver to make.

    :param method: The HTTP method.
    :param path: The path below the base URL.
    :param params: The query.
    :param json: The JSON body.
    :param safe: Whether the request changes nothing, so that it may be aborted and repeated (default True).
    :param after: Seconds to wait first (default 0).
    :param why: The reason for that wait, for the log.
    :param deadline: Epoch seconds after which the request must not be started; None (default) for no limit.
    :param timeout: Seconds that it may take; None (default) for the connection's time-out.
    :param private: Texts that an error must not repeat.
    :param name: The path for logs and errors, without personal data; "" (default) when the path itself has none.
    :param share: The share of each announced window that all requests with a share may use together; None
        (default) for the pacer's budget.
    """

    method: Literal["GET", "POST"]
    path: str
    params: Mapping[str, str | int] | None = None
    json: Mapping[str, object] | None = None
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
    :param headers: The headers, by their names in lower case.
    :param body: The body.
    :param now: When it arrived, in epoch seconds.
    :param token: The token that was sent, which an error must not repeat.
    :param monotonic: When it arrived, by the monotonic clock (default: now), for durations.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    now: float
    token: str = field(default="", repr=False)
    monotonic: float = field(default_factory=time.monotonic, compare=False)
    _models: dict[type, Any] = field(default_factory=dict, repr=False, compare=False)

    def read(self, model: type[M]) -> M:
        """
        Parse the body, once for all callers that share the reply.

        :param model: The model of the body.
        :return: The body.
        :raises ValueError: When the body does not fit the model.
        """
        if model not in self._models:
            self._models[model] = model.read(self.body)
        found: M = self._models[model]
        return found


@dataclass(frozen=True, slots=True)
class NoReply:
    """
    The outcome of a request that got no reply: a value, not an exception.

    :param why: What happened, without the query and without credentials.
    :param sent: Whether the request may have reached Intercom.
    :param now: When it ended, in epoch seconds.
    :param late: Whether the request was not made because its deadline had passed (default False).
    :param monotonic: When it ended, by the monotonic clock (default: now), for durations.
    """

    why: str
    sent: bool
    now: float
    late: bool = False
    monotonic: float = field(default_factory=time.monotonic, compare=False)


class WrongReplyError(ValueError):
    """A reply that can be read, but answers another question; its text says which."""


T = TypeVar("T")
Answer: TypeAlias = Reply | NoReply
Flow: TypeAlias = Generator[Request, Answer, T]
Read: TypeAlias = Callable[[Reply], T]


class Retry(NamedTuple):
    """
    The verdict that a request may be repeated.

    :param error: The error to raise when the limits are reached.
    :param wait: Seconds that the reply asks to wait; None (default) when it does not say.
    """

    error: IntercomError
    wait: float | None = None


class RetryLimits(NamedTuple):
    """
    How long one request is repeated.

    :param attempts: How many times the request is made (default 5). A 404 within ``contact_wait`` does not count.
    :param deadline: Epoch seconds after which no attempt is started; None (default) for no limit.
    :param timeout: Seconds that one attempt may take; None (default) for the connection's time-out.
    :param contact_wait: Seconds for which a 404 counts as "not there yet" (default 0).
    :param contact_pause: Seconds before the first repetition after a 404 (default 0.5). Later ones wait up to ten
        times as long.
    """

    attempts: int = 5
    deadline: float | None = None
    timeout: float | None = None
    contact_wait: float = 0.0
    contact_pause: float = _MIN_BACKOFF_SECONDS


DEFAULT_RETRY_LIMITS: Final = RetryLimits()


def request_with_retries(request: Request, read: Read[T], limits: RetryLimits) -> Flow[T]:
    """
    Make a request and repeat it until it is answered or a limit is reached.

    :param request: The request; whether it is safe decides what may be repeated.
    :param read: Turns a successful reply into the result; raises ValueError when it cannot.
    :param limits: When to give up.
    :return: The result.
    :raises IntercomError: When a limit is reached, or at once when repeating cannot help.
    """
    request = replace(request, deadline=limits.deadline, timeout=limits.timeout)
    contact_until: float | None = None
    tried = contacts_tried = 0
    while True:
        answer = yield request
        verdict = _judge_safe(request, answer, read) if request.safe else _judge_unsafe(request, answer, read)
        if not isinstance(verdict, Retry):
            return verdict
        if isinstance(verdict.error, NotFoundError):
            contacts_tried += 1
            contact_until = contact_until or answer.monotonic + limits.contact_wait
            # The last attempt is at the very end of the wait, so a contact that appears within it is found.
            first = limits.contact_pause
            pause = _backoff(contacts_tried, _MAX_CONTACT_PAUSES * first, first)
            wait = min(pause, contact_until - answer.monotonic)
            over = wait <= 0
        else:
            tried += 1
            wait = max(verdict.wait or 0.0, _backoff(tried, _MAX_BACKOFF_SECONDS))
            over = tried >= limits.attempts or wait > MAX_DELAY_SECONDS
        if over:
            raise verdict.error
        if limits.deadline is not None and answer.now + wait >= limits.deadline:
            if request.safe or not verdict.error.transient:
                raise verdict.error
            raise ExpiredError(f"not_after passed before the message could be sent: {verdict.error}") from verdict.error
        request = replace(request, after=wait, why=_reason(verdict.error))


def _judge_safe(request: Request, answer: Answer, read: Read[T]) -> T | Retry:
    """Judge the answer to a request that changes nothing: after anything that may pass it is repeated."""
    if isinstance(answer, NoReply):
        return Retry(UnreachableError(f"{request}: {answer.why}"))
    if answer.status >= 300:  # noqa: PLR2004 - the classes of HTTP statuses are known by their hundreds
        error = read_error(request, answer)
        if error.transient:
            return Retry(error, _wait_of(answer))
        raise error
    try:
        return read(answer)
    except WrongReplyError as error:
        return Retry(UnreachableError(f"{request}: the reply is not an answer to it, but {error}"))
    except ValueError:
        return Retry(UnreachableError(f"{request}: the reply ({answer.status}) is not the expected JSON"))


def _judge_unsafe(request: Request, answer: Answer, read: Read[T]) -> T | Retry:
    """Judge the answer to a request that creates something: repeated only if Intercom certainly did not read it."""
    if isinstance(answer, NoReply):
        if answer.late:
            raise ExpiredError("not_after passed: the message was not sent")
        if answer.sent:
            raise UnconfirmedError(f"{request}: {answer.why}")
        return Retry(UnreachableError(f"{request}: {answer.why}. The message was not sent"))
    if 200 <= answer.status < 300:  # noqa: PLR2004 - as above
        try:
            return read(answer)
        except WrongReplyError as wrong:
            why = f"{request}: the reply ({answer.status}) does not show that the message was created: it is {wrong}"
            raise UnconfirmedError(why) from None
        except ValueError:
            raise UnconfirmedError(f"{request}: the reply ({answer.status}) cannot be read") from None
    error = read_error(request, answer)
    # A proxy or firewall may have passed the message on and answered in its own words.
    if not error.is_intercoms or answer.status == 408 or not 400 <= answer.status < 500:  # noqa: PLR2004 - as above
        raise UnconfirmedError(error.said) from error
    if isinstance(error, RateLimitedError):
        return Retry(error, _wait_of(answer))
    if isinstance(error, ContactNotFoundError):
        return Retry(error)
    raise error


def read_error(request: Request, reply: Reply) -> ApiError:
    """
    Build the error of a reply that reports a failure, in any of Intercom's shapes.

    :param request: The request.
    :param reply: A reply with a status of 300 or above.
    :return: The error.
    """
    body = read_error_body(reply.body)
    is_redirect = 300 <= reply.status < 400  # noqa: PLR2004 - as above
    is_intercoms = (
        is_redirect or body.is_intercoms or (reply.status == _TOO_MANY_REQUESTS and announces_limit(reply.headers))
    )
    first = body.errors[0] if body.errors else ErrorDetail("", "", "")
    field = first.field or next((each.field for each in body.errors if each.field), "")
    code, words, field, request_id, server = redact_all(
        (
            first.code,
            _REDIRECT if is_redirect else _words_of(body, field),
            field,
            body.request_id or reply.headers.get("x-request-id"),
            "" if is_intercoms else reply.headers.get("server", "")[:_MAX_SERVER_CHARS],
        ),
        (reply.token, *request.private),
        known=_public_numbers(request),
    )
    kind = error_class(reply.status, is_intercoms=is_intercoms)
    if kind is NotFoundError and not request.safe and code != "admin_not_found":
        kind = ContactNotFoundError
    context = ReplyContext(is_intercoms, server, _may_be_own_id(request), _remaining_id(reply.headers))
    error = kind(
        request=str(request),
        status=reply.status,
        code=code,
        message=words,
        field=field or None,
        request_id=request_id or None,
        context=context,
    )
    if isinstance(error, RateLimitedError):
        wait = seconds_until_open(reply.headers, reply.now)
        error.retry_at = None if wait is None else reply.now + wait
    return error


def _words_of(body: ErrorBody, field: str) -> str:
    """Join the words of all errors; the code of the first and the named field are shown beside them."""
    said = []
    for number, each in enumerate(body.errors):
        code = f"{each.code}: " if number and each.code and each.words else each.code if number else ""
        named = f" (field {each.field})" if each.field and each.field != field else ""
        said.append(f"{code}{each.words.rstrip('.')}{named}")
    if body.more:
        said.append(f"and {body.more:,} more")
    return "; ".join(filter(None, said))


def _public_numbers(request: Request) -> list[str]:
    """List the numbers that the request itself names and that are no secret, so that errors may repeat them."""
    sender = (request.json or {}).get("from")
    named = [*(request.params or {}).values(), *(sender.values() if isinstance(sender, Mapping) else ())]
    return [text for text in map(str, named) if text.isdigit()]


def _may_be_own_id(request: Request) -> bool:
    """Check whether a message addresses its contact by an ``id`` that does not look like Intercom's."""
    recipients = (request.json or {}).get("to")
    listed = recipients if isinstance(recipients, list) else [recipients]
    ids = [each["id"] for each in listed if isinstance(each, Mapping) and "id" in each]
    return any(not _CONTACT_ID.fullmatch(str(each)) for each in ids)


def _remaining_id(headers: Mapping[str, str]) -> str:
    """Return the id of the contact that is left after a merge, which the ``Link`` header names; else ""."""
    found = _CONTACT_LINK.search(headers.get("link", "")[:_MAX_LINK_CHARS])
    return found[1] if found else ""


def _wait_of(reply: Reply) -> float | None:
    return seconds_until_open(reply.headers, reply.now) if reply.status in (429, 503) else None


def _backoff(tried: int, longest: float, first: float = _MIN_BACKOFF_SECONDS) -> float:
    longest = min(longest, first * 2.0 ** min(tried - 1, _MAX_BACKOFF_DOUBLINGS))
    return longest * random.uniform(0.75, 1.25)  # noqa: S311 - not a secret


def _reason(error: IntercomError) -> str:
    if isinstance(error, RateLimitedError):
        return "the rate limit is used up"
    if isinstance(error, NotFoundError):
        return "the contact is not there yet (404)"
    return f"{error.status} from Intercom" if isinstance(error, ApiError) else "Intercom did not answer readably"


def as_object(reply: Reply) -> dict[str, Any]:
    """
    Parse a reply's body as a JSON object.

    :param reply: Any reply.
    :return: The object; empty when the body is something else.
    """
    return parse_object(reply.body)
