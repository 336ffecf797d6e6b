"""The calls of Intercom's API that this provider makes, as flows for both drivers."""

from __future__ import annotations

import re
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
    WrongReplyError,
    as_object,
    request_with_retries,
)
from intercom_provider.api.message import Message, WhatsAppMessage, check_version
from intercom_provider.api.models import (
    Admin,
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
_MAX_CONVERSATIONS: Final = 150
_DAY_SECONDS: Final = 86_400
# A list may grow and repeat events while it is read. Beyond twice its announced size and this, it does not end.
_MAX_EXTRA_EVENTS: Final = 1_000
# Ten million messages, or a million in a list that does not say how many it has. A page has some 30 KB.
_MAX_PAGES: Final = 100_000
_MAX_PAGES_UNANNOUNCED: Final = 10_000
_MAX_LIST_BYTES: Final = 2**33
_MAX_SAME_PAGES: Final = 10
# Intercom's cursors have some 100 characters; an address takes 8,000.
_MAX_CURSOR_CHARS: Final = 4_000
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
    return request_with_retries(Request("GET", "/me"), lambda reply: reply.read(Me), limits)


def find_admin(admin_id: str | int, limits: RetryLimits = DEFAULT_RETRY_LIMITS) -> Flow[Admin | None]:
    """
    Find an admin (``GET /admins/{id}``), which takes the permission to read admins.

    :param admin_id: The admin's id.
    :param limits: When to give up.
    :return: The admin; None when Intercom does not know the id.
    :raises InvalidInputError: When it cannot be an id.
    :raises IntercomError: When Intercom does not answer or refuses.
    """
    text = read_word("admin_id", admin_id)
    if text in (".", ".."):
        # In a path they would name another call.
        raise InvalidInputError.of("admin_id", "must be an id")
    request = Request("GET", f"/admins/{quote(text, safe='')}")
    try:
        return (yield from request_with_retries(request, lambda reply: Admin.model_validate_json(reply.body), limits))
    except NotFoundError:
        return None


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
        status = reply.read(WhatsAppStatus)
        answered = status.whatsapp_message_id or ""
        if answered.startswith(_WHATSAPP_ID_PREFIX) and answered != whatsapp_message_id:
            raise WrongReplyError("about another message")
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
        self._ruleset_id = read_word("ruleset_id", ruleset_id)
        self._cursors: set[int] = set() if after is None else {hash(after)}
        self._contents: set[int] = set()
        self._same = self._empty = self._events = self._bytes = 0

    def read(self, limits: RetryLimits = DEFAULT_RETRY_LIMITS) -> Flow[StatusPage]:
        """
        Read the next page.

        :param limits: When to give up.
        :return: The page; afterwards ``done`` is true if it was the last one.
        :raises PagingError: When the page leads back to one that was read, or the list does not end.
        :raises IntercomError: When Intercom does not answer or refuses.
        """
        params: dict[str, str | int] = {"ruleset_id": self._ruleset_id, "per_page": MAX_STATUSES_PER_PAGE}
        if self.after is not None:
            params["starting_after"] = self.after
        page = yield from request_with_retries(
            Request("GET", "/messages/status", params=params), self._read_page, limits
        )
        following = page.starting_after
        if following is not None and (why := self._why_endless(page, following)):
            raise PagingError(
                f"GET /messages/status for ruleset {self._ruleset_id}: page {self.number + 1} {why}. Its statuses are "
                "not reported. Report it to Intercom"
            )
        self.number += 1
        self.after = following
        self.done = following is None
        return page

    def _read_page(self, reply: Reply) -> StatusPage:
        page = reply.read(StatusPage)
        if page.ruleset_id and page.ruleset_id != self._ruleset_id:
            raise WrongReplyError("about another ruleset")
        self._bytes += len(reply.body)
        return page

    def _why_endless(self, page: StatusPage, following: str) -> str:
        """Record a page that is not the last; return why there is no end to the list, or ""."""
        cursor, content = hash(following), hash(tuple(page.ids))
        leads_back = cursor in self._cursors
        self._cursors.add(cursor)
        self._empty = 0 if page.ids else self._empty + 1
        self._same += bool(page.ids) and content in self._contents
        self._contents.add(content)
        self._events += len(page.ids) + page.unreadable
        total, most = page.total_count, _MAX_PAGES
        if total is None:
            total, most = MAX_STATUSES_PER_PAGE * _MAX_PAGES, _MAX_PAGES_UNANNOUNCED
        if leads_back:
            return "leads back to a page that was already read"
        if len(following) > _MAX_CURSOR_CHARS:
            return f"leads on with a cursor of {len(following):,} characters"
        endless = (
            self._empty > _MAX_EMPTY_PAGES
            or self._same > _MAX_SAME_PAGES
            or self._events > 2 * total + _MAX_EXTRA_EVENTS
            or self.number + 1 >= most
            or self._bytes > _MAX_LIST_BYTES
        )
        return "leads on without an end: the list does not end" if endless else ""


def find_conversation(message_id: str, limits: RetryLimits = DEFAULT_RETRY_LIMITS) -> Flow[Conversation | None]:
    """
    Find the conversation that a message became part of (``POST /conversations/search``).

    Intercom creates it when the contact answers, or at once for a message that was sent with
    ``create_conversation_without_contact_reply``. The search finds it 5 to 10 seconds later.

    :param message_id: Intercom's message id.
    :param limits: When to give up.
    :return: The conversation, of several one with an answer; None when there is none yet.
    :raises IntercomError: When Intercom does not answer or refuses.
    """
    message_id = read_word("message_id", message_id)
    query = {"query": {"field": "source.id", "operator": "=", "value": message_id}}
    request = Request("POST", "/conversations/search", json=query)
    listed = (
        yield from request_with_retries(request, lambda reply: reply.read(ConversationList), limits)
    ).conversations
    # Where a conversation says which message it began with, it is believed more than the search.
    found = [each for each in listed if each.source is None or each.source.id in (None, message_id)]
    return next((each for each in found if each.replied_at is not None), found[0] if found else None)


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
        lambda reply: reply.read(ConversationList).conversations,
        limits,
    )
    # Intercom counts in whole seconds.
    return [each for each in found if each.created_at is not None and each.created_at >= int(since)]


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
    own_id, name = str(external_id), "/contacts/find_by_external_id"
    request = Request("GET", f"{name}/{quote(external_id, safe='')}", private=[external_id], name=name)
    try:
        return (yield from request_with_retries(request, lambda reply: _contact_id(reply, own_id), limits))
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
    :return: Their ids, in Intercom's order, at most 50; without those that the answer gives another address or number.
    :raises IntercomError: When Intercom does not answer or refuses.
    """
    query = {"query": {"field": field, "operator": "=", "value": value}}
    request = Request("POST", "/contacts/search", json=query, private=[value])
    return request_with_retries(request, lambda reply: _contact_ids(reply, field, value), limits)


def _contact_ids(reply: Reply, field: str, value: str) -> list[str]:
    found = as_object(reply).get("data")
    if not isinstance(found, list):
        raise ValueError("data")  # noqa: TRY004 - any unreadable reply is a ValueError
    wanted = _comparable(field, value)
    listed = [each for each in found if isinstance(each, dict) and each.get("id")]
    return [str(each["id"]) for each in listed if _comparable(field, each.get(field) or value) == wanted]


def _comparable(field: str, value: object) -> str:
    text = str(value).strip().casefold()
    return re.sub(r"\D", "", text) if field == "phone" else text


def _contact_id(reply: Reply, external_id: str) -> str | None:
    contact = as_object(reply)
    if contact.get("id") is None:
        raise ValueError("id")
    if str(contact.get("external_id") or external_id) != external_id:
        raise WrongReplyError("about another contact")
    return str(contact["id"])
