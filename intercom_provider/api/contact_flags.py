"""Look contacts up in bulk: which of them have a flag that says not to message them (``POST /contacts/search``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from intercom_provider.api.errors import PagingError
from intercom_provider.api.flow import Flow, Reply, Request, RetryLimits, as_object, request_with_retries

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

MAX_VALUES: Final = 50
"""How many contacts one search asks for; Intercom does not document the longest list that it takes."""

SEARCHED_FIELDS: Final = {"id": "id", "user_id": "external_id", "email": "email"}
"""What a recipient is looked up by, and Intercom's name for it."""

# As many as a search returns at once.
_PER_PAGE: Final = 150
# Several contacts may share an address, and each stands in the list.
_MAX_PAGES: Final = 100
# Intercom answers with JSON's true. Text is what a proxy that rewrites JSON may make of it.
_TRUE: Final = (True, "true")


def find_flagged(
    field: str, values: Sequence[str], flags: Collection[str], limits: RetryLimits
) -> Flow[dict[str, str]]:
    """
    Find the contacts that have one of some flags.

    A contact that the search does not know, such as one that was created some minutes ago, has none.

    :param field: What the contacts are looked up by: one of ``SEARCHED_FIELDS``.
    :param values: Their ids or addresses, at most ``MAX_VALUES``.
    :param flags: The names of boolean fields of a contact.
    :param limits: When to give up.
    :return: The flag of each contact that has one, by the value that it was looked up by.
    :raises PagingError: When the answer does not end.
    :raises IntercomError: When Intercom does not answer or refuses.
    """
    name = SEARCHED_FIELDS[field]
    wanted = {_comparable(field, value): value for value in values}
    found: dict[str, str] = {}
    pagination: dict[str, str | int] = {"per_page": _PER_PAGE}
    cursors: set[str] = set()
    for _ in range(_MAX_PAGES):
        body = {"query": {"field": name, "operator": "IN", "value": [*values]}, "pagination": pagination}
        request = Request("POST", "/contacts/search", json=body, private=values)
        contacts, following = yield from request_with_retries(request, _read_page, limits)
        for contact in contacts:
            # An answer may hold others than those who were asked for, whose flags say nothing about these.
            value = wanted.get(_comparable(field, contact.get(name)))
            flag = next((flag for flag in flags if contact.get(flag) in _TRUE), None)
            if value is not None and flag is not None:
                found.setdefault(value, flag)
        if following is None:
            return found
        if following in cursors:
            break
        cursors.add(following)
        pagination = {"per_page": _PER_PAGE, "starting_after": following}
    raise PagingError(
        "POST /contacts/search: the pages of one answer repeat or do not end, so nobody knows which contacts must not "
        "be messaged. Report it to Intercom"
    )


def _read_page(reply: Reply) -> tuple[list[dict[str, Any]], str | None]:
    page = as_object(reply)
    contacts = page.get("data")
    if not isinstance(contacts, list):
        raise ValueError("data")  # noqa: TRY004 - any unreadable reply is a ValueError
    pages = page.get("pages")
    following = pages.get("next") if isinstance(pages, dict) else None
    cursor = following.get("starting_after") if isinstance(following, dict) else None
    return [each for each in contacts if isinstance(each, dict)], None if cursor is None else str(cursor)


def _comparable(field: str, value: object) -> str:
    return str(value).strip().lower() if field == "email" else str(value)
