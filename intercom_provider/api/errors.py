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
└── ApiError                Intercom refused the request: status, code, field, request id, advice
    ├── RefusedError        400, 409, 410, 422, ...: this request is wrong
    ├── UnauthorizedError   401: the token
    ├── ForbiddenError      403: a permission or the plan
    ├── NotFoundError       404: a contact, an admin or a message is not there (yet)
    │   └── ContactNotFoundError  to a message: the contact, or the sender             (transient)
    ├── RateLimitedError    429: later, at `retry_at`                                  (transient)
    └── ServerError         408, 5xx                                                   (transient)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

REFERENCE = "https://developers.intercom.com/docs/references/rest-api/errors/http-responses"


class IntercomError(Exception):
    """The base class of all errors of calls to Intercom."""

    transient: ClassVar[bool] = False
    """Whether the same request may succeed later, so that retrying the task makes sense."""


class Problem(NamedTuple):
    """
    One wrong field.

    :param field: The field as the user wrote it, dotted where nested (``to.phone``).
    :param text: What is wrong with it and what to do, without the value, which may be personal data.
    """

    field: str
    text: str

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
    Intercom refused the request.

    :param request: The request, such as ``POST /messages``.
    :param status: The HTTP status.
    :param code: Intercom's error code; "" (default) when the reply has none.
    :param message: Intercom's words; "" (default) when the reply has none.
    :param field: The field that Intercom names; None (default) when it names none.
    :param request_id: Intercom's id of the request, for its support; None (default) when the reply has none.
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
    ) -> None:
        self.request = request
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.request_id = request_id
        super().__init__(f"{self.said}. {self.advice}")

    @property
    def advice(self) -> str:
        """What to do about the error."""
        return _ADVICE_BY_CODE.get(self.code) or _ADVICE_BY_STATUS.get(self.status, _ADVICE_OTHERWISE)

    @property
    def said(self) -> str:
        """What Intercom said, without advice."""
        return self.summary + (f" [request id {self.request_id}]" if self.request_id else "")

    @property
    def summary(self) -> str:
        """What Intercom said, without the request id, so that refusals for the same reason have the same text."""
        said = " ".join(part for part in (str(self.status), self.code) if part)
        words = f": {self.message.rstrip('.')}" if self.message else ""
        named = f" (field {self.field})" if self.field else ""
        return f"Intercom answered {said} to {self.request}{words}{named}"


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


_CHECK_TOKEN = "Check the connection's access token (Developer Hub > your app > Configure > Authentication)."  # noqa: S105 - advice, not a token
_REGENERATE = (
    "Sending needs the permission to write conversations, searching the permission to read them. After a change of "
    "permissions in the Developer Hub (your app > Configure > Authentication) the token must be regenerated, and "
    "the new one put into the connection."
)
_VERSION = (
    "Set api_version to 2.17 or Preview, on the connection or the task: WhatsApp and its statuses need 2.16 or "
    "later, SMS needs Preview, lists of recipients need 2.14 or later."
)
_LATER = "Intercom could not answer. Try again later."
_ADVICE_OTHERWISE = f"See {REFERENCE}."

_ADVICE_BY_CODE = {
    "intercom_version_invalid": _VERSION,
    "api_plan_restricted": "The workspace's plan does not include this. Change the plan in Intercom.",
    "token_revoked": f"The token was revoked. {_CHECK_TOKEN}",
    "token_blocked": f"The token was blocked. {_CHECK_TOKEN}",
    "token_suspended": f"The token was suspended. {_CHECK_TOKEN}",
    "token_expired": f"The token has expired. {_CHECK_TOKEN}",
    "token_not_found": f"Intercom does not know this token. Check the connection's region. {_CHECK_TOKEN}",
    "admin_not_found": "Check from_admin_id, or the connection's admin_id: it must be a teammate of this workspace.",
    "contact_merged": "The contact was merged into another one. Use the id of the remaining contact.",
    "whatsapp_message_not_found": (
        "Check the whatsapp_message_id (it begins with wamid) and the region. A new message can take a while to appear."
    ),
    "media_type_not_acceptable": "A proxy between this machine and Intercom drops the Accept header. Check the proxy.",
}
_ADVICE_BY_STATUS = {
    400: "Correct the field that Intercom names.",
    401: f"{_CHECK_TOKEN} {_REGENERATE}",
    403: _REGENERATE,
    404: (
        "Check that the recipient is a contact of this workspace with this role (a new contact takes a moment to "
        "appear). Check the sender's admin id and the region."
    ),
    406: "A proxy between this machine and Intercom drops the Accept header. Check the proxy.",
    408: _LATER,
    422: "Correct the field that Intercom names.",
    429: "The rate limit is used up. Try again when it opens, or send fewer messages at a time.",
    500: _LATER,
    502: _LATER,
    503: _LATER,
    504: _LATER,
}

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


def error_class(status: int) -> type[ApiError]:
    """
    Return the error class of an HTTP status.

    :param status: The HTTP status, 300 or above.
    :return: The class.
    """
    if status >= 500:  # noqa: PLR2004 - the classes of HTTP statuses are known by their hundreds
        return ServerError
    return _CLASS_BY_STATUS.get(status, RefusedError)
