"""Intercom's words, quoted without what they repeat of people and of the token."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LONGEST: Final = 500
_SHORTEST_TEXT: Final = 2
_SHORTEST_PART: Final = 4
# So much of a private text in a row is a part of it, whatever stands around.
_PIECE: Final = 12
# A number is told by its last digits, however it is written.
_TELLING_DIGITS: Final = 7
_NUMBER = re.compile(r"\+?\d[\d ().-]{5,}\d")
# It begins only where such characters begin, or each character of a long word would be tried as the first.
_ADDRESS = re.compile(r"(?<![^\s@<>()\"',;:])[^\s@<>()\"',;:]+(?:@|%40)[^\s@<>()\"',;:]+\.\w+")
_HIDDEN: Final = "***"


def redact(value: object, private: Sequence[str]) -> str:
    """
    Quote words in one line, without what they repeat: also a part of it, in any case or spelling.

    :param value: The words; None for none.
    :param private: What must not be repeated: the token, recipients, texts.
    :return: The words, at most 500 characters.
    """
    text = _line(value)[: 2 * _LONGEST]
    text = _without_numbers(text, private)
    # Letter by letter, as some letters are longer in lower case, which would move what is hidden.
    searched = "".join(lower if len(lower := char.lower()) == 1 else char for char in text)
    hidden = bytearray(len(searched))
    for secret in {part for each in private for part in _parts(each.lower())}:
        whole_words = len(secret) < _SHORTEST_PART
        pattern = rf"(?<!\w){re.escape(secret)}(?!\w)" if whole_words else re.escape(secret)
        for found in re.finditer(pattern, searched):
            hidden[slice(*found.span())] = b"*" * len(found.group())
    pieces = {each[at : at + _PIECE] for each in map(str.lower, private) for at in range(len(each) - _PIECE + 1)}
    for at in range(len(searched) - _PIECE + 1):
        if searched[at : at + _PIECE] in pieces:
            hidden[at : at + _PIECE] = b"*" * _PIECE
    shown = "".join("\0" if hide else char for char, hide in zip(text, hidden, strict=True))
    return re.sub("\0+", _HIDDEN, shown)[:_LONGEST]


def mask_contact_details(value: object) -> str:
    """
    Quote words about somebody who is not known here, without numbers and addresses.

    :param value: The words; None for none.
    :return: The words, at most 500 characters.
    """
    # Cut first, because searching takes longer than the text is long. The last word may be a part of an address.
    text = _line("" if value is None else str(value)[: 4 * _LONGEST])
    if len(text) > 2 * _LONGEST:
        text = text[: 2 * _LONGEST]
        text = text.rpartition(" ")[0] or text
    return _ADDRESS.sub(_HIDDEN, _NUMBER.sub(_HIDDEN, text))[:_LONGEST]


def _line(value: object) -> str:
    # Half a surrogate pair is no text that a log or a database takes.
    return "" if value is None else " ".join(str(value).split()).encode("utf-8", "replace").decode()


def _without_numbers(text: str, private: Sequence[str]) -> str:
    ends = {_digits(each)[-_TELLING_DIGITS:] for each in private if each.startswith("+") and each[1:].isdigit()}
    return _NUMBER.sub(
        lambda found: _HIDDEN if any(end in _digits(found.group()) for end in ends) else found.group(), text
    )


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _parts(secret: str) -> Iterator[str]:
    """Give a private text in the ways in which it may be repeated."""
    line = " ".join(secret.split())
    for each in (line, line.removeprefix("+"), quote_plus(line)):
        if len(each) >= _SHORTEST_TEXT:
            yield each
