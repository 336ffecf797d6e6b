"""
Characters that nobody sees: stripped at the ends of ids and addresses, refused by name inside them.

They come with text that was copied from a page, a spreadsheet or a file with a byte order mark. Two addresses that look
the same are then two recipients, and a database may refuse what Intercom has accepted.
"""

from __future__ import annotations

import unicodedata
from typing import Final

# Visible by their category, and not by their look: joiners, fillers and the blank of Braille.
_BLANK_LETTERS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_BREAKS: Final = frozenset("\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u2028\u2029")
_KEPT_CONTROLS: Final = frozenset("\t\n\r")
_FIRST_PRINTABLE: Final = " "
_DELETE: Final = "\x7f"


def is_invisible(char: str) -> bool:
    """
    Check whether a character cannot be seen, or looks like a blank and is another character.

    :param char: One character.
    :return: True for format characters, such as the zero-width space, and for all blanks but the plain one.
    """
    if char.isascii():
        return False
    return char in _BLANK_LETTERS or unicodedata.category(char) in ("Cf", "Zs", "Zl", "Zp")


def strip_invisible(text: str) -> str:
    """
    Strip white space and invisible characters at both ends.

    :param text: Any text.
    :return: The text between them.
    """
    text = text.strip()
    if text.isascii():
        return text
    start, end = 0, len(text)
    while start < end and (text[start].isspace() or is_invisible(text[start])):
        start += 1
    while end > start and (text[end - 1].isspace() or is_invisible(text[end - 1])):
        end -= 1
    return text[start:end]


def find_unwritable(text: str) -> str:
    """
    Find a character that does not belong into an id or an address.

    :param text: An id or an address, stripped.
    :return: What is wrong with it; "" when there is nothing.
    """
    if text.isascii() and text.isprintable():
        return ""
    for char in text:
        if unicodedata.category(char) == "Cc":
            return f"holds a control character ({code_of(char)}): remove it"
        if is_invisible(char):
            return f"holds an invisible character ({code_of(char)}): remove it, it often comes with copied text"
    return ""


def find_control(text: str) -> str:
    """
    Find a control character, other than line breaks and tabs, in a text for people.

    :param text: Any text.
    :return: What is wrong with it; "" when there is nothing.
    """
    if text.isprintable():
        return ""
    for char in text:
        if (char < _FIRST_PRINTABLE and char not in _KEPT_CONTROLS) or char == _DELETE:
            return f"holds a control character ({code_of(char)}), which cannot be sent or stored: remove it"
    return ""


def as_one_line(text: str) -> str:
    """
    Flatten a text: a line break or a tab becomes one blank.

    :param text: Any text.
    :return: One line.
    """
    text = text.strip()
    if text.isprintable():
        return text
    marked = "".join("\n" if char in _BREAKS else char for char in text)
    return " ".join(part.strip() for part in marked.split("\n") if part.strip())


def code_of(char: str) -> str:
    """
    Return a character's name for people who look for it.

    :param char: One character.
    :return: Its code point, such as ``U+200B``.
    """
    return f"U+{ord(char):04X}"
