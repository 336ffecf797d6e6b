"""Texts that a database can hold: neither PostgreSQL nor SQLite takes a NUL or half of a surrogate pair."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from intercom_provider.api.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from intercom_provider.ledger.ledger import Intent

_UNSTORABLE: Final = re.compile("[\\0\\ud800-\\udfff]")


def storable(text: str) -> str:
    """
    Replace what a database cannot hold, as somebody else's words must not keep an outcome out of it.

    :param text: Any text.
    :return: The same, with a replacement character for each of these.
    """
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def check_keys(intents: Iterable[Intent]) -> None:
    """
    Check that a database can hold the keys of messages, which cannot be replaced.

    :param intents: The messages.
    :raises InvalidInputError: When it cannot hold one.
    """
    for intent in intents:
        if intent.key is not None and _UNSTORABLE.search(str(intent.key)):
            raise InvalidInputError.of(
                "key", "cannot be in a database: it holds a NUL or half of a surrogate pair. Remove these characters"
            )
