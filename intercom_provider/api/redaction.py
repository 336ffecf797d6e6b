"""
Intercom's words, quoted without personal data and without the token.

The problem: errors go to logs, XCom and alerts, and Intercom's errors may repeat what was sent: a phone in another
spelling, part of a body, the token. Without Intercom's words nobody can correct the request.

The idea: what was sent is known, so it is searched for. Hidden are each private text in the ways in which it may be
spelled (case, percent-encoding, without the plus sign), every number that ends like a private phone, and every run of
twelve characters of a private text, so that a quoted part is hidden, too. For words about somebody who is not known
here, as in WhatsApp's reasons, everything that looks like a number or an address is hidden.

Rejected: hiding everything that looks personal in every error, which would also hide the ids, codes and template names
that the reader needs; and dropping Intercom's words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MAX_CHARS: Final = 500
_MIN_TEXT_CHARS: Final = 2
_MIN_PART_CHARS: Final = 4
# So many characters of a private text in a row are a quotation from it.
_RUN_CHARS: Final = 12
# The last digits identify a number in every spelling: with a country code, a zero, or without either.
_SUFFIX_DIGITS: Final = 7
_NUMBER = re.compile(r"\+?\d[\d ().-]{5,}\d")
# It begins only where such characters begin, or each character of a long word would be tried as the first.
_ADDRESS = re.compile(r"(?<![^\s@<>()\"',;:])[^\s@<>()\"',;:]+(?:@|%40)[^\s@<>()\"',;:]+\.\w+")
_HIDDEN: Final = "***"


def redact(value: object, private: Sequence[str]) -> str:
    """
    Quote words in one line, with private texts and parts of them hidden.

    :param value: The words; None for none.
    :param private: Texts that must not be repeated: the token, recipients, bodies.
    :return: The words, at most 500 characters.
    """
    text = _line(value)[: 2 * _MAX_CHARS]
    text = _without_numbers(text, private)
    # Letter by letter, because some letters are longer in lower case, and positions must stay the same.
    searched = "".join(lower if len(lower := char.lower()) == 1 else char for char in text)
    hidden = bytearray(len(searched))
    for secret in {part for each in private for part in _spellings(each.lower())}:
        whole_words = len(secret) < _MIN_PART_CHARS
        pattern = rf"(?<!\w){re.escape(secret)}(?!\w)" if whole_words else re.escape(secret)
        for found in re.finditer(pattern, searched):
            hidden[slice(*found.span())] = b"*" * len(found.group())
    runs = {each[at : at + _RUN_CHARS] for each in map(str.lower, private) for at in range(len(each) - _RUN_CHARS + 1)}
    for at in range(len(searched) - _RUN_CHARS + 1):
        if searched[at : at + _RUN_CHARS] in runs:
            hidden[at : at + _RUN_CHARS] = b"*" * _RUN_CHARS
    shown = "".join("\0" if hide else char for char, hide in zip(text, hidden, strict=True))
    return re.sub("\0+", _HIDDEN, shown)[:_MAX_CHARS]


def mask_contact_details(value: object) -> str:
    """
    Quote words about an unknown person in one line, with all numbers and addresses hidden.

    :param value: The words; None for none.
    :return: The words, at most 500 characters.
    """
    # Cut first, because searching takes longer than the text is long. The last word may be a part of an address.
    text = _line("" if value is None else str(value)[: 4 * _MAX_CHARS])
    if len(text) > 2 * _MAX_CHARS:
        text = text[: 2 * _MAX_CHARS]
        text = text.rpartition(" ")[0] or text
    return _ADDRESS.sub(_HIDDEN, _NUMBER.sub(_HIDDEN, text))[:_MAX_CHARS]


def _line(value: object) -> str:
    # Logs and databases refuse half a surrogate pair.
    return "" if value is None else " ".join(str(value).split()).encode("utf-8", "replace").decode()


def _without_numbers(text: str, private: Sequence[str]) -> str:
    ends = {_digits(each)[-_SUFFIX_DIGITS:] for each in private if each.startswith("+") and each[1:].isdigit()}
    return _NUMBER.sub(
        lambda found: _HIDDEN if any(end in _digits(found.group()) for end in ends) else found.group(), text
    )


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _spellings(secret: str) -> Iterator[str]:
    """Yield the spellings of a private text."""
    line = " ".join(secret.split())
    for each in (line, line.removeprefix("+"), quote_plus(line)):
        if len(each) >= _MIN_TEXT_CHARS:
            yield each
