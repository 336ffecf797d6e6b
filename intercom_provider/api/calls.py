"""The calls of Intercom's API that this provider makes, as flows for both drivers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote

from intercom_provider.api.created import read_created
from intercom_provider.api.errors import InvalidInputError, NotFoundError, PagingError
from intercom_provider.api.flow import (
    DEFAULT_RETRY_LIMITS,
    Flow,
    Reply,
    Request,
    RetryLimits,
    as_object,
    request_with_retries,
)
from intercom_provider.api.message import Message, WhatsAppMessage, check_version
from intercom_provider.api.models import (
    Conversation,
    ConversationList,
    Me,
    Receipt,
    StatusPage,
    WhatsAppStatus,
)
from intercom_provider.api.values import is_missing, read_word
from intercom_provider.api.version import version_reaches

if TYPE_CHECKING:
    from intercom_provider.api.settings import Settings

MAX_STATUSES_PER_PAGE: Final = 100
"""The largest page of statuses that Intercom returns."""

_MAX_EMPTY_PAGES: Final = 10
# A list may grow and repeat events while it is read. Beyond twice its announced size and this, it does not end.
_MAX_EXTRA_EVENTS: Final = 1_000
_MAX_CONVERSATIONS: Final = 150
_DAY_SECONDS: Final = 86_400
# Intercom requires a sender, a recipient and a body. Without them it cannot create a message.
_INCOMPLETE_MESSAGE: Final = {"message_type": "inapp"}
_WHATSAPP_ID_PREFIX: Final = "wamid"
_NOT_ACCEPTED: Final = "WhatsApp did not accept the message: Intercom's answer has no whatsapp_message_id"
_DRY_RUN: Final = "the connection has dry_run set"


def me(limits: RetryLimits = DEFAULT_RETRY_LIMITS) -> Flow[Me]:
    """
    Get the admin whose token it is (``GET /me``).

    :param limits: When to give up.
    :return: The admin and the workspace.
    :raises IntercomError: When Intercom does not answer or refuses.
    """
    return request_with_retries(Request("GET", "/me"), lambda reply: Me.model_validate_json(reply.body), limits)


def send_message(message: Message, settings: Settings, limits: RetryLimits = DEFAULT_RETRY_LIMITS) -> Flow[Receipt]:
    """
    Send one message (``POST /messages``). The request is repeated only if Intercom certainly did not read it.

    :param message: The message.
    :param settings: The default sender, the API version (from 2.17 on the reply shows whether WhatsApp accepted the
        message) and whether this is a dry run.
    :param limits: When to give up; the deadline is the last time at which the message may be sent.
    :return: The receipt: ``sent``, ``dry_run``, or ``rejected`` when WhatsApp did not accept the message.
    :raises InvalidInputError: When the API version is too old for the message, or there is no sender.
    :raises UnconfirmedError: When the message may or may not have been sent.
    :raises ApiError: When Intercom refused the message.
    :raises UnreachableError: When the message could not be sent; it certainly was not.
    :raises ExpiredError: When the deadline has passed; the message was not sent.
    """
    check_version(message, settings.api_version)
    request = Request(
        "POST", "/messages", json=message.wire(settings.admin_id), safe=False, private=message.private_texts()
    )
    return _send(message, request, settings, limits)


def _send(message: Message, request: Request, settings: Settings, limits: RetryLimits) -> Flow[Receipt]:
    if settings.dry_run:
        return Receipt(outcome="dry_run", reason=_DRY_RUN, message_type=message.message_type, key=message.key)
    sent = yield from request_with_retries(request, lambda reply: read_created(reply, request.json or {}), limits)
    shows = isinstance(message, WhatsAppMessage) and version_reaches(settings.api_version, "2.17")
    accepted = not shows or bool(sent.whatsapp_message_id)
    return Receipt(
        outcome="sent" if accepted else "rejected",
        reason=None if accepted else _NOT_ACCEPTED,
        id=sent.id,
        conversation_id=sent.conversation_id,
        whatsapp_message_id=sent.whatsapp_message_id or None,
        message_type=message.message_type,
        created_at=sent.created_at,
        key=message.key,
    )


def probe_send(limits: RetryLimits = DEFAULT_RETRY_LIMITS) -> Flow[None]:
    """
    Post an incomplete message (``POST /messages``), to find out whether the token may send.

    :param limits: When to give up.
    :raises RefusedError: When the token may send: Intercom then refuses the message because fields are missing.
    :raises ApiError: When the token may not send.
    :raises UnreachableError: When Intercom does not answer.
    """
    return request_with_retries(Request("POST", "/messages", json=_INCOMPLETE_MESSAGE), lambda _: None, limits)


def whatsapp_status(whatsapp_message_id: str, limits: RetryLimits = DEFAULT_RETRY_LIMITS) -> Flow[WhatsAppStatus]:
    """
    Get the status of one WhatsApp message (``GET /messages/whatsapp/status``, API 2.16 and later).

    :param whatsapp_message_id: The id that the send returned.
    :param limits: When to give up.
    :return: The status, with WhatsApp's error if the message failed.
    :raises NotFoundError: When Intercom does not know the id, or not yet.
    :raises IntercomError: When Intercom does not answer or refuses.
    """

    def read(reply: Reply) -> WhatsAppStatus:
        status = WhatsAppStatus.model_validate_json(reply.body)
        answered = status.whatsapp_message_id
        if answered.startswith(_WHATSAPP_ID_PREFIX) and answered != whatsapp_message_id:
            raise ValueError("another message")
        return status.model_copy(update={"whatsapp_message_id": whatsapp_message_id})

    request = Request("GET", "/messages/whatsapp/status", params={"message_id": whatsapp_message_id})
    return request_with_retries(request, read, limits)


class Pages:
    """
    A reader of a ruleset's statuses (``GET /messages/status``, API 2.16 and later), page by page.

    It keeps its position, so that reading can continue later, or from ``after`` in another process.

    :param ruleset_id: The id of the Outbound message, as text or a number.
    :param after: The cursor of the page to begin with; None (default) for the first page.
    """

    def __init__(self, ruleset_id: str | int, after: str | None = None) -> None:
        self.after = after
        self.done = False
        self.number = 0
        self._ruleset_id = ruleset_id
        self._seen: set[str] = set() if after is None else {after}
        self._empty = 0
        self._events = 0

    def read(self, limits: RetryLimits = DEFAULT_RETRY_LIMITS) -> Flow[StatusPage]:
        """
        Read the next page.

        :param limits: When to give up.
        :return: The page; afterwards ``done`` is true if it was the last one.
        :raises PagingError: When the list leads back to a page that was read, or does not end.
        :raises IntercomError: When Intercom does not answer or refuses.
        """
        params: dict[str, str | int] = {"ruleset_id": self._ruleset_id, "per_page": MAX_STATUSES_PER_PAGE}
        if self.after is not None:
            params["starting_after"] = self.after
        page = yield from request_with_retries(
            Request("GET", "/messages/status", params=params),
            lambda reply: reply.read(StatusPage),
            limits,
        )
        following = page.starting_after
        self._empty = 0 if page.events else self._empty + 1
        self._events += len(page.events)
        endless = self._empty > _MAX_EMPTY_PAGES or (
            page.total_count is not None and self._events > 2 * page.total_count + _MAX_EXTRA_EVENTS
        )
        if following is not None and (following in self._seen or endless):
            raise PagingError(
                f"GET /messages/status for ruleset {self._ruleset_id}: page {self.number + 1} leads back to a page "
                "that was already read, or the list does not end. Its statuses are not reported. Report it to Intercom"
            )
        self.number += 1
        self.after = following
        self.done = following is None
        if following is not None:
            self._seen.add(following)
        return page


def find_conversation(message_id: str, limits: RetryLimits = DEFAULT_RETRY_LIMITS) -> Flow[str | None]:
    """
    Find the conversation that a message became part of (``POST /conversations/search``).

    Intercom creates it when the contact answers, or at once for a message that was sent with
    ``create_conversation_without_contact_reply``. The search finds it 5 to 10 seconds later.

    :param message_id: Intercom's message id.
    :param limits: When to give up.
    :return: The conversation's id; None when there is no conversation yet.
    :raises IntercomError: When Intercom does not answer or refuses.
    """
    return request_with_retries(_about(message_id), lambda reply: _first_id(reply, "conversations"), limits)


def find_conversation_about(message_id: str, limits: RetryLimits = DEFAULT_RETRY_LIMITS) -> Flow[Conversation | None]:
    """
    Find the conversation that a message became part of, and whether the contact has answered in it.

    The search is that of :func:`find_conversation`; it finds answers 5 to 10 seconds later, too.

    :param message_id: Intercom's message id.
    :param limits: When to give up.
    :return: The conversation, preferably one with an answer; None when there is no conversation yet.
    :raises IntercomError: When Intercom does not answer or refuses.
    """
    return request_with_retries(_about(message_id), lambda reply: _conversation(reply, str(message_id)), limits)


def conversations_of(
    contact_id: str, since: float, limits: RetryLimits = DEFAULT_RETRY_LIMITS
) -> Flow[list[Conversation]]:
    """
    Find the latest conversations of a contact (``POST /conversations/search``).

    :param contact_id: Intercom's id of the contact.
    :param since: Epoch seconds; conversations that began earlier are left out.
    :param limits: When to give up.
    :return: The conversations, at most 150.
    :raises IntercomError: When Intercom does not answer or refuses.
    """
    # Some of Intercom's searches compare days only, in the workspace's time zone. So ask for two days more.
    filters = [
        {"field": "contact_ids", "operator": "=", "value": contact_id},
        {"field": "created_at", "operator": ">", "value": str(int(since) - 2 * _DAY_SECONDS)},
    ]
    query = {"query": {"operator": "AND", "value": filters}, "pagination": {"per_page": _MAX_CONVERSATIONS}}
    found = yield from request_with_retries(
        Request("POST", "/conversations/search", json=query),
        lambda reply: ConversationList.model_validate_json(reply.body).conversations,
        limits,
    )
    return [each for each in found if each.created_at is not None and each.created_at >= since]


def _about(message_id: str) -> Request:
    query = {"query": {"field": "source.id", "operator": "=", "value": str(message_id)}}
    return Request("POST", "/conversations/search", json=query)


def _conversation(reply: Reply, message_id: str) -> Conversation | None:
    listed = ConversationList.model_validate_json(reply.body).conversations
    found = [each for each in listed if each.source is None or each.source.id in (None, message_id)]
    return next((each for each in found if each.replied_at is not None), found[0] if found else None)


def find_contact(
    *,
    external_id: str | None = None,
    email: str | None = None,
    api_version: str | None = None,
    limits: RetryLimits = DEFAULT_RETRY_LIMITS,
) -> Flow[str | None]:
    """
    Find a contact by exactly one of your own id and email.

    :param external_id: Your own id of the contact.
    :param email: The contact's email address.
    :param api_version: The version that is asked with; None (default) when it is certain to be 2.13 or later.
    :param limits: When to give up.
    :return: Intercom's id of the contact; None when there is no such contact. If several contacts share the email,
        the first one that Intercom lists.
    :raises InvalidInputError: When none or both are given, one cannot be an id or an address, or the version is too
        old.
    :raises IntercomError: When Intercom does not answer or refuses.
    """
    if is_missing(external_id) == is_missing(email):
        raise InvalidInputError.of("external_id", "give either external_id or email")
    if external_id is None or is_missing(external_id):
        found = yield from find_contacts("email", read_word("email", email), limits)
        return found[0] if found else None
    external_id = read_word("external_id", external_id)
    if api_version is not None and not version_reaches(api_version, "2.13"):
        raise InvalidInputError.of(
            "external_id", f"needs api_version 2.13 or later (it is {api_version}): look the contact up by email"
        )
    if external_id in (".", ".."):
        # As a segment of the path they would make it the path of another call.
        raise InvalidInputError.of("external_id", "must be an id")
    name = "/contacts/find_by_external_id"
    request = Request("GET", f"{name}/{quote(external_id, safe='')}", private=[external_id], name=name)
    try:
        return (yield from request_with_retries(request, _own_id, limits))
    except NotFoundError:
        return None


def find_contacts(
    field: Literal["email", "phone"], value: str, limits: RetryLimits = DEFAULT_RETRY_LIMITS
) -> Flow[list[str]]:
    """
    Find the contacts with an email address or a phone (``POST /contacts/search``).

    :param field: Which of the two.
    :param value: The address or the number.
    :param limits: When to give up.
    :return: Their ids, in Intercom's order, at most 50.
    :raises IntercomError: When Intercom does not answer or refuses.
    """
    query = {"query": {"field": field, "operator": "=", "value": value}}
    request = Request("POST", "/contacts/search", json=query, private=[value])
    return request_with_retries(request, lambda reply: _ids(reply, "data"), limits)


def _first_id(reply: Reply, name: str) -> str | None:
    return next(iter(_ids(reply, name)), None)


def _ids(reply: Reply, name: str) -> list[str]:
    found = as_object(reply).get(name)
    if not isinstance(found, list):
        raise ValueError(name)  # noqa: TRY004 - any unreadable reply is a ValueError
    return [str(each["id"]) for each in found if isinstance(each, dict) and each.get("id")]


def _own_id(reply: Reply) -> str | None:
    found = as_object(reply).get("id")
    if found is None:
        raise ValueError("id")
    return str(found)
