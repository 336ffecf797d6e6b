"""The endpoints of Intercom's API for contacts and their conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from intercom_provider.sandbox import conversations
from intercom_provider.sandbox.call import Call, Endpoint, Endpoints
from intercom_provider.sandbox.contact_rules import check_contact
from intercom_provider.sandbox.contacts import IDENTIFIERS
from intercom_provider.sandbox.error_reply import ErrorReply
from intercom_provider.sandbox.paging import cut_page
from intercom_provider.sandbox.searches import by_days, named_values, parse_query
from intercom_provider.sandbox.versions import CONTACT_BY_EXTERNAL_ID, EXACT_DATES
from intercom_provider.sandbox.workspace import NotThereError

if TYPE_CHECKING:
    from intercom_provider.sandbox.contacts import Contact
    from intercom_provider.sandbox.searches import Kind

_CONTACT_PAGE: Final = 50
_CONVERSATION_PAGE: Final = 20
_SORT_ORDERS: Final = ("ascending", "descending")
_CONTACT_FIELDS: Final[dict[str, Kind]] = {
    "id": "text",
    "external_id": "text",
    "email": "email",
    "phone": "text",
    "role": "text",
    "name": "text",
    "owner_id": "text",
    "created_at": "date",
    "updated_at": "date",
    "signed_up_at": "date",
    "last_seen_at": "date",
    "last_contacted_at": "date",
    "last_replied_at": "date",
    "unsubscribed_from_emails": "flag",
    "marked_email_as_spam": "flag",
    "has_hard_bounced": "flag",
}


def _create_contact(call: Call) -> dict[str, Any]:
    return call.state.workspace.contacts.create(check_contact(call.json()), call.now).wire()


def _read_contact(call: Call) -> dict[str, Any]:
    if "/" in call.rest:
        raise NotThereError(call.rest)
    return _there(call.state.workspace.contacts.request("id", call.rest, call.now)).wire()


def _find_by_external_id(call: Call) -> dict[str, Any]:
    contact = _there(call.state.workspace.contacts.request("external_id", call.rest, call.now))
    if contact.role != "user":
        raise NotThereError(call.rest)
    return contact.wire()


def _there(contact: Contact | None) -> Contact:
    if contact is None:
        raise ErrorReply(404, "not_found", "User Not Found")
    return contact


def _search_contacts(call: Call) -> dict[str, Any]:
    body = call.json()
    whole_days = call.version < EXACT_DATES
    query = parse_query(body.get("query"), _CONTACT_FIELDS, whole_days=whole_days)
    named = named_values(query, IDENTIFIERS)
    if whole_days:
        query = by_days(query)
    found = [each.wire() for each in call.state.workspace.contacts.found(named, call.now)]
    found = _sorted([each for each in found if query.matches(each)], body)
    data, pages = cut_page(found, body, _CONTACT_PAGE)
    return {"type": "list", "data": data, "total_count": len(found), "pages": pages}


def _sorted(found: list[dict[str, Any]], body: dict[str, Any]) -> list[dict[str, Any]]:
    sort = body.get("sort")
    if sort is None:
        return found
    field, order = (sort.get("field"), sort.get("order", "descending")) if isinstance(sort, dict) else (None, None)
    if order not in _SORT_ORDERS:
        words = f"Invalid sort order {str(order)[:40]!r}. Must be one of: {', '.join(_SORT_ORDERS)}"
        raise ErrorReply(400, "invalid_sort_order", words)
    if not isinstance(field, str) or field not in _CONTACT_FIELDS:
        raise ErrorReply(400, "parameter_invalid", f"The sandbox sorts by {', '.join(_CONTACT_FIELDS)}", "sort")
    return sorted(found, key=lambda each: (each[field] is not None, each[field] or 0), reverse=order == "descending")


def _search_conversations(call: Call) -> dict[str, Any]:
    body = call.json()
    query = parse_query(body.get("query"), conversations.SEARCH_FIELDS)
    named = named_values(query, ("source.id",))
    found = call.state.workspace.indexed_conversations(None if named is None else [each for _, each in named], call.now)
    found = [each for each in found if query.matches(each | {"contact_ids": _contact_ids(each)})]
    listed, pages = cut_page(found, body, _CONVERSATION_PAGE)
    return {"type": "conversation.list", "conversations": listed, "total_count": len(found), "pages": pages}


def _contact_ids(conversation: dict[str, Any]) -> list[str]:
    return [each["id"] for each in conversation["contacts"]["contacts"]]


def _read_conversation(call: Call) -> dict[str, Any]:
    return call.state.workspace.conversation(call.rest).read()


ENDPOINTS: Final[Endpoints] = {
    "POST /contacts": Endpoint(_create_contact),
    "POST /contacts/search": Endpoint(_search_contacts),
    # Before the paths that it is part of.
    "GET /contacts/find_by_external_id/": Endpoint(_find_by_external_id, since=CONTACT_BY_EXTERNAL_ID),
    "GET /contacts/": Endpoint(_read_contact),
    "POST /conversations/search": Endpoint(_search_conversations),
    "GET /conversations/": Endpoint(_read_conversation),
}
