"""Pages of a list, and the cursors that lead from one to the next."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.sandbox.error_reply import ErrorReply

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_SEARCH_PAGE: Final = 150


def make_cursor(index: int) -> str:
    """Build the cursor after the first entries of a list.

    :param index: how many they are.
    """
    return base64.b64encode(f"after:{index}".encode()).decode()


def parse_cursor(cursor: object) -> int:
    """Read what `make_cursor` built.

    :param cursor: anything.
    :raises ErrorReply: 400 when it is no cursor.
    """
    try:
        word, index = base64.b64decode(str(cursor), validate=True).decode().split(":")
        if word == "after" and index.isdecimal():
            return int(index)
    except ValueError:
        pass
    raise ErrorReply(400, "parameter_invalid", "starting_after is not a cursor of this list", "starting_after")


def cut_page(
    found: Sequence[dict[str, Any]], body: dict[str, Any], default_size: int
) -> tuple[Sequence[dict[str, Any]], dict[str, Any]]:
    """Cut the page that a search asks for.

    :param found: all that the search has found.
    :param body: the search, whose `pagination` names the page.
    :param default_size: how many a page holds when it does not say.
    :return: the entries of the page, and the `pages` of the reply.
    :raises ErrorReply: 400 when `pagination` makes no sense.
    """
    pagination = {} if body.get("pagination") is None else body["pagination"]
    if not isinstance(pagination, dict):
        raise ErrorReply(400, "parameter_invalid", "pagination must be an object", "pagination")
    size = pagination.get("per_page", default_size)
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= _MAX_SEARCH_PAGE:
        words = f"per_page must be a number from 1 to {_MAX_SEARCH_PAGE}"
        raise ErrorReply(400, "parameter_invalid", words, "per_page")
    cursor = pagination.get("starting_after")
    first = parse_cursor(cursor) if cursor is not None else 0
    last = min(first + size, len(found))
    pages = {
        "type": "pages",
        "page": first // size + 1,
        "per_page": size,
        "total_pages": -(-len(found) // size),
        "next": {"per_page": size, "starting_after": make_cursor(last)} if last < len(found) else None,
    }
    return found[first:last], pages
