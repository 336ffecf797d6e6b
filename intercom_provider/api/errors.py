"""
The errors of this provider's calls to Intercom, as one tree. Every error says what to do.

IntercomError
├── InvalidInputError       the request was not made: a field is wrong
├── StoppedError            the request was not made: the task was told to stop       (transient)
├── ExpiredError            the request was not made: its time had passed
├── UnreachableError        no readable reply to a request that is safe to repeat     (transient)
├── UnconfirmedError        a message may or may not have been created
├── CommonRefusalError      all messages of a batch were refused alike
├── PagingError             a list of statuses that never ends
└── ApiError                the reply reports a failure: status, code, field, request id, advice
    ├── RefusedError        400, 409, 410, 422, ...: this request is wrong
    ├── UnauthorizedError   401: the token
    ├── ForbiddenError      403: a permission or the plan
    ├── NotFoundError       404: a contact, an admin or a message is not there (yet)
    │   └── ContactNotFoundError  to a message: the contact, or the sender             (transient)
    ├── RateLimitedError    429: later, at `retry_at`                                  (transient)
    ├── ServerError         408, 5xx                                                   (transient)
    └── ForeignReplyError   any other status, in a reply that is not Intercom's own
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from intercom_provider.api.advice import Refusal, ReplyContext, advice_for

if TYPE_CHECKING:
    from collections.abc import Iterable

_OWN_REPLY: Final = ReplyContext()


class IntercomError(Exception):
    """The base class of all errors of calls to Intercom."""

    transient: ClassVar[bool] = False
    """Whether the same request may succeed later, so that retrying the task makes sense."""


class Problem(NamedTuple):
    """
    One wrong field.

    :param field: The field as the user wrote it, dotted where nested (``to.phone``).
    :param text: What is wrong with it and what to do, without the value, which may be personal data.
    :param is_about_value: Whether only the value of this one message is at fault, so that a batch refuses that message
        alone (default False: the problem may be one of all messages).
    """

    field: str
    text: str
    is_about_value: bool = False

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


class InvalidInputError(IntercomError, ValueError):
    """
    Fields are wrong; the request was not made.

    :param problems: The wrong fields.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))

    @classmethod
    def of(cls, field: str, text: str) -> InvalidInputError:
        """
        Build the error of a single field.

        :param field: The field as the user wrote it.
        :param text: What is wrong with it and what to do.
        :return: The error.
        """
        return cls([Problem(field, text)])


class StoppedError(IntercomError):
    """The task was told to stop; the next request was not made."""

    transient = True


class ExpiredError(IntercomError):
    """The message's ``not_after`` passed; the message was not sent."""


class UnreachableError(IntercomError):
    """Intercom gave no readable reply to a request that cannot have changed anything."""

    transient = True


class UnconfirmedError(IntercomError):
    """
    The request was written and its outcome is unknown: the message may or may not have been sent.

    ``POST /messages`` has no idempotency key, so a repeated request could send the message twice.

    :param why: What happened instead of a reply.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(
            f"unconfirmed: {why}. Intercom may or may not have created the message, so it was not sent again. "
            "Look for it in Intercom (the contact's conversations, or the sender's sent messages) before "
            "you send it again."
        )


class PagingError(IntercomError):
    """The pages of a list repeat or never end."""


class ApiError(IntercomError):
    """
    The reply to a request reports a failure.

    :param request: The request, such as ``POST /messages``.
    :param status: The HTTP status.
    :param code: Intercom's error code; "" (default) when the reply has none.
    :param message: Intercom's words; "" (default) when the reply has none.
    :param field: The field that Intercom names; None (default) when it names none.
    :param request_id: Intercom's id of the request, for its support; None (default) when the reply has none.
    :param context: What else is known of the reply (default: it is Intercom's own).
    """

    def __init__(
        self,
        *,
        request: str,
        status: int,
        code: str = "",
        message: str = "",
        field: str | None = None,
        request_id: str | None = None,
        context: ReplyContext = _OWN_REPLY,
    ) -> None:
        self.request = request
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.request_id = request_id
        self.context = context
        super().__init__(f"{self.said}. {self.advice}")

    @property
    def is_intercoms(self) -> bool:
        """Whether Intercom itself has answered, as far as the reply shows."""
        return self.context.is_intercoms

    @property
    def advice(self) -> str:
        """The advice: how to mend the error."""
        return advice_for(Refusal(self.request, self.status, self.code, self.message, bool(self.field), self.context))

    @property
    def said(self) -> str:
        """The words of the reply, without advice."""
        return self.summary + (f" [request id {self.request_id}]" if self.request_id else "")

    @property
    def summary(self) -> str:
        """The words of the reply without the request id, so that refusals for the same reason have the same text."""
        said = " ".join(part for part in (str(self.status), self.code) if part)
        words = f": {self.message.rstrip('.')}" if self.message else ""
        named = f" (field {self.field})" if self.field else ""
        if self.is_intercoms:
            return f"Intercom answered {said} to {self.request}{words}{named}"
        server = f", server {self.context.server}" if self.context.server else ""
        return f"{said} to {self.request}, in a reply that is not Intercom's{server}{words}{named}"


class CommonRefusalError(IntercomError):
    """
    All messages of a batch were refused alike, from the first one on.

    :param count: How many.
    :param summary: What Intercom said, without the request id.
    :param advice: What to do about it.
    """

    def __init__(self, count: int, summary: str, advice: str) -> None:
        super().__init__(
            f"the first {count} messages were all refused alike: {summary}. {advice} The rest was not tried: "
            "a retry would meet the same"
        )


class RefusedError(ApiError):
    """The request itself is wrong; the same request will be refused again."""


class UnauthorizedError(ApiError):
    """401: the token is wrong or revoked, or lacks a permission."""


class ForbiddenError(ApiError):
    """403: the token's permissions or the workspace's plan do not cover the request."""


class NotFoundError(ApiError):
    """404: the contact, the admin or the message does not exist, or not yet."""


class ContactNotFoundError(NotFoundError):
    """404 to a message: the contact does not exist, or not yet; or the sender is not an admin of the workspace."""

    transient = True


class RateLimitedError(ApiError):
    """
    429: the limit is used up.

    :param retry_at: When the limit opens again, in epoch seconds by this machine's clock; None (default) when
        Intercom did not say.
    """

    transient = True
    retry_at: float | None = None


class ServerError(ApiError):
    """408 or 5xx: Intercom could not answer."""

    transient = True


class ForeignReplyError(ApiError):
    """The reply is not Intercom's own: a proxy, gateway or firewall has answered, or another server."""


_CLASS_BY_STATUS: dict[int, type[ApiError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    408: ServerError,
    429: RateLimitedError,
}


# The words of published 403 examples about a token. A 403 with other words may be about one contact.
_ACCESS_WORDS = ("required scope", "not authorized", "access token", "permission", "api plan", "plan does not")
_ACCESS_CODES = frozenset({"unauthorized", "missing_authorization", "api_plan_restricted", "intercom_version_invalid"})


def is_about_access(error: ApiError) -> bool:
    """
    Check whether an error is about the token, the plan or the API version, so that every request meets it.

    :param error: Intercom's refusal.
    :return: False for what may be about one contact or one message.
    """
    if error.code in _ACCESS_CODES or error.code.startswith("token_"):
        return True
    if isinstance(error, UnauthorizedError):
        return True
    words = error.message.lower()
    return isinstance(error, ForbiddenError) and any(each in words for each in _ACCESS_WORDS)


def is_about_message(error: IntercomError) -> bool:
    """
    Check whether an error is a refusal of one message, so that others may well be accepted.

    :param error: The error of a send.
    :return: False for a wrong token, plan or API version, and for errors that are not a refusal.
    """
    return isinstance(error, NotFoundError | RefusedError | ForbiddenError) and not is_about_access(error)


def error_class(status: int, *, is_intercoms: bool = True) -> type[ApiError]:
    """
    Return the error class of an HTTP status.

    :param status: The HTTP status, 300 or above.
    :param is_intercoms: Whether Intercom itself has answered (default True). Else the status may pass, but it does
        not show what Intercom knows or refuses.
    :return: The class.
    """
    if status >= 500:  # noqa: PLR2004 - the classes of HTTP statuses are known by their hundreds
        return ServerError
    kind = _CLASS_BY_STATUS.get(status, RefusedError)
    return kind if is_intercoms or kind.transient else ForeignReplyError
