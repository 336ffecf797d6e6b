"""
The components of a WhatsApp template: each parameter is checked where its text stands, by Meta's rules.

Intercom passes components on unchanged and names no reason when WhatsApp refuses them, so what is certain to be refused
is refused here: https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages#template-object. Free JSON,
such as the ``action`` of a flow's button, is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from intercom_provider.api.characters import code_of, is_invisible, strip_invisible
from intercom_provider.api.errors import Problem
from intercom_provider.api.values import not_text

# Where the texts of a parameter stand, by its type; in the parameter itself, or in the object named like its type.
_OWN_TEXTS: Final = {"payload": ("payload",), "coupon_code": ("coupon_code",)}
_INNER_TEXTS: Final = {
    "currency": ("fallback_value", "code"),
    "date_time": ("fallback_value",),
    "image": ("link", "caption"),
    "video": ("link", "caption"),
    "gif": ("link",),
    "document": ("link", "caption", "filename"),
    "location": ("name", "address"),
}
# Texts without which WhatsApp can show nothing at their place; the others may be empty.
_NEVER_EMPTY: Final = frozenset({"coupon_code", "fallback_value", "link"})
_BREAKS: Final = "\n\r\v\f\x85\u2028\u2029"
_SEPARATORS: Final = f"{_BREAKS}\t"
_MAX_BLANKS: Final = 4
_MAX_HEADER_CHARS: Final = 60
# Meta's limit is 32,768 for a template that is a body alone, and 1,024 for every other one.
_MAX_BODY_CHARS: Final = 1_024
_MAX_LONE_BODY_CHARS: Final = 32_768

_PARAMETER: Final = "must be an object such as {'type': 'text', 'text': '...'}"
_COMPONENT: Final = "must be an object such as {'type': 'body', 'parameters': [{'type': 'text', 'text': '...'}]}"
_EMPTY: Final = "is empty, and WhatsApp refuses an empty parameter: give a text, or use another template"
_BREAK: Final = "WhatsApp refuses it in a parameter. Put it into the template, or write a blank"

Problems: TypeAlias = Iterator[Problem]


def check_components(components: list[object], path: str = "components") -> Problems:
    """
    Find what WhatsApp is certain to refuse.

    :param components: The components, as JSON.
    :param path: The field that holds them (default ``components``).
    :return: The problems, by field.
    """
    for number, component in enumerate(components):
        where = f"{path}.{number}"
        if not isinstance(component, Mapping):
            yield Problem(where, _COMPONENT)
            continue
        kind = _lower(component.get("type"))
        max_chars = _MAX_HEADER_CHARS if kind == "header" else None
        if kind == "body":
            max_chars = _MAX_LONE_BODY_CHARS if len(components) == 1 and path == "components" else _MAX_BODY_CHARS
        yield from _check_parameters(component.get("parameters"), f"{where}.parameters", max_chars)
        yield from _check_cards(component.get("cards"), f"{where}.cards")


def _check_cards(cards: object, path: str) -> Problems:
    """Check the cards of a carousel, each of which has components of its own."""
    for number, card in enumerate(cards if isinstance(cards, list) else ()):
        inner = card.get("components") if isinstance(card, Mapping) else None
        if isinstance(inner, list):
            yield from check_components(inner, f"{path}.{number}.components")


def _check_parameters(parameters: object, path: str, max_chars: int | None) -> Problems:
    if parameters is None:
        return
    if not isinstance(parameters, list):
        yield Problem(path, f"must be a list, of which each entry {_PARAMETER}")
        return
    for number, parameter in enumerate(parameters):
        where = f"{path}.{number}"
        if not isinstance(parameter, Mapping):
            yield Problem(where, _PARAMETER)
            continue
        kind = _lower(parameter.get("type", "text"))
        if kind == "text":
            yield from _check_text(parameter, where, max_chars)
        for name in _OWN_TEXTS.get(kind, ()):
            yield from _check_kind(parameter, name, where)
        inner = parameter.get(kind)
        if isinstance(inner, Mapping):
            for name in _INNER_TEXTS.get(kind, ()):
                yield from _check_kind(inner, name, f"{where}.{kind}")


def _check_kind(holder: Mapping[str, object], name: str, path: str) -> Problems:
    text = holder.get(name, "-")
    if text is None:
        yield Problem(f"{path}.{name}", "is missing: give a text", is_about_value=True)
    elif not isinstance(text, str):
        yield Problem(f"{path}.{name}", not_text(text))
    elif name in _NEVER_EMPTY and not strip_invisible(text):
        yield Problem(f"{path}.{name}", _EMPTY, is_about_value=True)


def _check_text(parameter: Mapping[str, object], path: str, max_chars: int | None) -> Problems:
    where = f"{path}.text"
    text = parameter.get("text")
    if text is None:
        # A gap in a table is the gap of one message.
        yield Problem(where, "is missing: a parameter of type text needs it", is_about_value="text" in parameter)
    elif not isinstance(text, str):
        yield Problem(where, not_text(text))
    elif problem := _problem_of(text, max_chars):
        yield Problem(where, problem, is_about_value=True)


def _problem_of(text: str, max_chars: int | None) -> str:
    """Return why WhatsApp refuses the text of a parameter; "" when it does not."""
    control = next((char for char in text if (char < " " or char == "\x7f") and char not in _SEPARATORS), "")
    too_long = max_chars is not None and len(text) > max_chars
    rules = (
        (
            all(char.isspace() or is_invisible(char) for char in text),
            _EMPTY,
        ),
        (any(char in text for char in _BREAKS), f"holds a line break: {_BREAK}"),
        ("\t" in text, f"holds a tab: {_BREAK}"),
        (" " * (_MAX_BLANKS + 1) in text, f"holds more than {_MAX_BLANKS} blanks in a row: WhatsApp refuses them here"),
        (
            control,
            f"holds a control character ({control and code_of(control)}), which cannot be sent or stored: remove it",
        ),
        (too_long, f"has {len(text):,} characters, and WhatsApp takes at most {max_chars or 0:,} here: shorten it"),
    )
    return next((problem for applies, problem in rules if applies), "")


def _lower(value: object) -> str:
    return value.strip().lower() if isinstance(value, str) else ""
