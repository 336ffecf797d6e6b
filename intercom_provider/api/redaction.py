"""
The words of the other side, quoted without personal data and without the token.

The problem: errors go to logs, XCom and alerts, and Intercom's errors may repeat what was sent: a phone in another
spelling, part of a body, the token. They may also name somebody else: "multiple users match bob@example.com". Without
Intercom's words nobody can correct the request.

The idea: what was sent is known, so it is searched for. Hidden are each private text in the ways in which it may be
spelled (case, percent-encoding, without the plus sign), every number that ends like a private phone, and every run of
twelve characters of a private text, so that a quoted part is hidden, too. Besides, everything that looks like an email
address or a phone number is hidden, whoever it belongs to. Readable stay the ids that the reader needs: those with
letters in them (Intercom's contacts, WhatsApp's messages, request ids), numbers of more than 15 digits, and numbers
that the request itself names, such as the sender's.

Only the beginning of what is quoted is searched, and a private text is read once, in pieces of six characters: every
run of twelve holds one of them. So a body of a megabyte that is quoted costs some 0.2 s.

Rejected: dropping Intercom's words; and one regular expression for addresses, which takes the square of the length of
a long word.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_MAX_CHARS: Final = 500
# Read beyond what is shown, so that an address that the end of the text would cut is recognized.
_MAX_SHOWN_SOURCE_CHARS: Final = 1_200
_MAX_SEARCHED_CHARS: Final = 2_000
_MIN_TEXT_CHARS: Final = 2
_MIN_PART_CHARS: Final = 4
# So many characters of a private text in a row are a quotation from it.
_RUN_CHARS: Final = 12
_PIECE_CHARS: Final = _RUN_CHARS // 2
# The last digits identify a number in every spelling: with a country code, a zero, or without either.
_SUFFIX_DIGITS: Final = 7
_MIN_PHONE_DIGITS: Final = 7
_MAX_PHONE_DIGITS: Final = 15
_MAX_ADDRESS_SIDE_CHARS: Final = 320
_HIDDEN: Final = "***"
_SEPARATOR: Final = "\x1e"

# Digits with what people write between them, at most three characters at a time.
_NUMBER: Final = re.compile(
    r"(?:[+(]|%2b|&#43;)*\d(?:(?:[ ().\-/\u00b7\u2010-\u2015\u2212]|%20|%28|%29|%2d|%2e){0,3}\d)*", re.IGNORECASE
)
_DATE: Final = re.compile(r"(?:19|20)\d\d([-/.])[01]\d\1[0-3]\d(?: [0-2]\d)?")
_AT: Final = re.compile(r"@|%(?:25)*40|&#64;|&#x40;|&commat;|\\u0040| ?[(\[{] ?at ?[)\]}] ?", re.IGNORECASE)
_LOCAL_ENDS: Final = frozenset("<>()[]{}\"',;:=|/\\?&@")
_DOT: Final = re.compile(r" ?[(\[{] ?dot ?[)\]}] ?|%2e", re.IGNORECASE)


def redact(value: object, private: Sequence[str], *, known: Iterable[str] = ()) -> str:
    """
    Quote words in one line, without personal data.

    :param value: The words; None for none.
    :param private: Texts that must not be repeated: the token, recipients, bodies.
    :param known: Numbers that may be repeated.
    :return: The words, at most 500 characters.
    """
    return redact_all((value,), private, known=known)[0]


def redact_all(values: Sequence[object], private: Sequence[str], *, known: Iterable[str] = ()) -> list[str]:
    """
    Quote several words, each in one line, without personal data.

    :param values: The words; None for none.
    :param private: Texts that must not be repeated: the token, recipients, bodies.
    :param known: Numbers that may be repeated.
    :return: The words in their order, each at most 500 characters.
    """
    text = _SEPARATOR.join(_line(value) for value in values)
    hidden = bytearray(len(text))
    # Letter by letter, because some letters are longer in lower case, and positions must stay the same.
    searched = "".join(lower if len(lower := char.lower()) == 1 else char for char in text)
    for start, end in (
        *_private_spans(searched, [each.lower() for each in private]),
        *_contact_spans(text, private, known),
    ):
        hidden[start:end] = b"*" * (end - start)
    shown = "".join("\0" if hide and char != _SEPARATOR else char for char, hide in zip(text, hidden, strict=True))
    return [re.sub("\0+", _HIDDEN, each[:_MAX_SHOWN_SOURCE_CHARS])[:_MAX_CHARS] for each in shown.split(_SEPARATOR)]


def mask_contact_details(value: object) -> str:
    """
    Quote words about an unknown person in one line, with everything hidden that looks like an address or a phone.

    :param value: The words; None for none.
    :return: The words, at most 500 characters.
    """
    return redact(value, ())


def _line(value: object) -> str:
    """Return the beginning of words as one line, without characters that cannot be seen or stored."""
    text = "" if value is None else str(value)[: 2 * _MAX_SEARCHED_CHARS]
    # Databases refuse NUL, logs and databases refuse half a surrogate pair, and an invisible character splits a number.
    seen = "".join(
        " " if (kind := unicodedata.category(char)) == "Cc" else "" if kind == "Cf" else char for char in text
    )
    return " ".join(seen.split())[:_MAX_SEARCHED_CHARS].encode("utf-8", "replace").decode()


def _private_spans(text: str, private: list[str]) -> Iterator[tuple[int, int]]:
    """Yield where a text holds private texts, or twelve characters of one in a row."""
    for secret in {part for each in private for part in _spellings(each, len(text))}:
        whole_words = len(secret) < _MIN_PART_CHARS
        at = text.find(secret)
        while at >= 0:
            end = at + len(secret)
            if not (whole_words and (_is_in_word(text[at - 1 : at]) or _is_in_word(text[end : end + 1]))):
                yield at, end
            at = text.find(secret, at + 1)
    pieces = {text[at : at + _PIECE_CHARS] for at in range(len(text) - _PIECE_CHARS + 1)}
    # Around each piece that is in the text, too: every run of twelve that holds it.
    around = {
        each[max(0, at - _PIECE_CHARS) : at + _RUN_CHARS]
        for each in private
        for at in range(0, len(each), _PIECE_CHARS)
        if each[at : at + _PIECE_CHARS] in pieces
    }
    runs = {each[at : at + _RUN_CHARS] for each in around for at in range(len(each) - _RUN_CHARS + 1)}
    for at in range(len(text) - _RUN_CHARS + 1):
        if text[at : at + _RUN_CHARS] in runs:
            yield at, at + _RUN_CHARS


def _contact_spans(text: str, private: Sequence[str], known: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield where a text holds what looks like an email address or a phone number."""
    folded = "".join(map(_fold, text))
    for found in _AT.finditer(folded):
        start, end = _start_of_address(folded, found.start()), _end_of_address(folded, found.end())
        if start < found.start() and end > found.end():
            yield start, end
    endings = {_digits(each)[-_SUFFIX_DIGITS:] for each in private if each.startswith("+") and each[1:].isdigit()}
    may_stay = {*known}
    for found in _NUMBER.finditer(folded):
        digits = _digits(re.sub("%[0-9a-f]{2}|&#43;", "", found.group(), flags=re.IGNORECASE))
        is_private = any(ending in digits for ending in endings)
        if is_private or (digits not in may_stay and _is_phone(folded, found, digits)):
            yield found.span()


def _is_phone(text: str, found: re.Match[str], digits: str) -> bool:
    written = found.group()
    if len(digits) < _MIN_PHONE_DIGITS or _DATE.fullmatch(written.strip("() ")):
        return False
    if written.startswith(("+", "(+", "%2b", "%2B", "&#43;")):
        return True
    if _is_in_word(text[found.start() - 1 : found.start()]) or _is_in_word(text[found.end() : found.end() + 1]):
        # A part of an id, such as 24 hexadecimal digits.
        return False
    return not written.isdigit() or len(digits) <= _MAX_PHONE_DIGITS


def _start_of_address(text: str, at: int) -> int:
    start = at
    first = max(0, at - _MAX_ADDRESS_SIDE_CHARS)
    if text[at - 1 : at] == '"' and (quote := text.rfind('"', first, at - 1)) >= 0:
        return quote
    while start > first:
        char = text[start - 1]
        # An apostrophe belongs to the address between letters only (o'brien).
        apostrophe = char == "'" and start < at and start >= first + 2 and text[start - 2].isalnum()
        if char.isspace() or (char in _LOCAL_ENDS and not apostrophe) or char == _SEPARATOR:
            break
        start -= 1
    return start


def _end_of_address(text: str, at: int) -> int:
    end = at
    last = min(len(text), at + _MAX_ADDRESS_SIDE_CHARS)
    while end < last:
        if text[end].isalnum() or text[end] in "-._":
            end += 1
        elif (dot := _DOT.match(text, end, last)) or (
            text[end] == "[" and (dot := re.compile(r"\[[\w.:]+\]").match(text, end))
        ):
            end = dot.end()
        else:
            break
    while end > at and text[end - 1] in "-._":
        end -= 1
    return end


def _is_in_word(char: str) -> bool:
    return char.isalnum()


def _fold(char: str) -> str:
    """Return a character in its plain form, if that is a single one: other scripts' digits, full-width signs."""
    if char.isascii():
        return char
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    plain = unicodedata.normalize("NFKC", char)
    return plain if len(plain) == 1 else char


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _spellings(secret: str, longest: int) -> Iterator[str]:
    """Yield the spellings of a private text that are short enough to be in a text of some length."""
    if len(secret) > 2 * longest:
        return
    line = " ".join(secret.split())
    for each in (line, line.removeprefix("+"), quote_plus(line)):
        if _MIN_TEXT_CHARS <= len(each) <= longest:
            yield each
