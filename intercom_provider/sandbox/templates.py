"""WhatsApp templates: which there are, how many parameters each takes, and how a message of one reads."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PLACE: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_UNFIT_TEXT: Final = re.compile(r"[\n\t]| {5}")
_MEDIA: Final = ("IMAGE", "VIDEO", "DOCUMENT", "LOCATION")
_READ_PARTS: Final = ("HEADER", "BODY", "FOOTER")

_UNKNOWN: Final = "(#132001) Template name does not exist in the translation"
_WRONG_NUMBER: Final = "(#132000) Number of parameters does not match the expected number of params"
_UNFIT: Final = "(#100) A parameter is empty, or has a line break, a tab or more than four blanks in a row"


@dataclass(frozen=True, slots=True)
class Template:
    """A template in one language.

    :param name: its name.
    :param language: its language; None when the file does not say, for every language.
    :param texts: the text of each part: `HEADER`, `BODY`, `FOOTER`, `BUTTON 0` and so on.
    :param counts: how many parameters each part takes; only parts that take some.
    """

    name: str
    language: str | None
    texts: Mapping[str, str]
    counts: Mapping[str, int]


class Templates:
    """The templates of a workspace.

    :param templates: in WhatsApp's own format: `name`, `language`, `components` with their `type` and `text`.
    :raises ValueError: when one of them makes no sense.
    """

    def __init__(self, templates: Sequence[Mapping[str, Any]]) -> None:
        self._templates = [_parse(each) for each in templates]

    def find_refusal(self, wire: Mapping[str, Any]) -> str | None:
        """Return why WhatsApp would not accept a message.

        :param wire: the body of the request, after `check_message`.
        :return: WhatsApp's words; None when it would accept the message.
        """
        template = self._find(wire)
        if template is None:
            return _UNKNOWN
        given = dict(_given_parameters(wire))
        if {part: len(each) for part, each in given.items() if each} != dict(template.counts):
            return _WRONG_NUMBER
        texts = [each.get("text") for part in given.values() for each in part if each.get("type") == "text"]
        is_unfit = any(not isinstance(each, str) or not each.strip() or _UNFIT_TEXT.search(each) for each in texts)
        return _UNFIT if is_unfit else None

    def render(self, wire: Mapping[str, Any]) -> list[str] | None:
        """Return what a message reads like, by its parts.

        :param wire: the body of the request, after `check_message`.
        :return: None when its template is not known.
        """
        template = self._find(wire)
        if template is None:
            return None
        given = dict(_given_parameters(wire))
        return [_fill(template.texts[part], given.get(part, [])) for part in _READ_PARTS if part in template.texts]

    def _find(self, wire: Mapping[str, Any]) -> Template | None:
        name, locale = wire.get("template"), wire.get("locale")
        fitting = (each for each in self._templates if each.name == name and locale in (None, each.language or locale))
        return next(fitting, None)


def read_templates(path: str | Path) -> Templates:
    """Read templates from a file.

    :param path: a JSON file: a list of templates, or an object that has it as `data`, as WhatsApp's API lists them.
    :raises ValueError: when the file holds something else.
    :raises OSError: when it cannot be read.
    """
    found = json.loads(Path(path).read_text())
    if isinstance(found, dict):
        found = found.get("data")
    if not isinstance(found, list):
        raise ValueError("templates are a JSON list of {name, language, components}")  # noqa: TRY004 - any wrong file
    return Templates(found)


def list_parameters(wire: Mapping[str, Any]) -> list[str]:
    """Return the parameters of a message by their parts, for a template whose text is not known.

    :param wire: the body of the request, after `check_message`.
    """
    return [f"{part}: {', '.join(map(_text_of, each))}" for part, each in _given_parameters(wire) if each]


def _parse(template: Mapping[str, Any]) -> Template:
    components = template.get("components", []) if isinstance(template, dict) else None
    if not isinstance(components, list) or not isinstance(template.get("name"), str):
        raise ValueError("a template is {name, language, components}, with a list of components")  # noqa: TRY004
    texts, counts = {}, {}
    for part, text, extra in _parts(components):
        texts[part] = text
        if count := len(set(_PLACE.findall(text))) + extra:
            counts[part] = count
    return Template(template["name"], template.get("language"), texts, counts)


def _parts(components: list[Any]) -> Iterator[tuple[str, str, int]]:
    for each in components:
        if not isinstance(each, dict) or not isinstance(each.get("type"), str):
            raise ValueError("a component is {type, text}")  # noqa: TRY004 - any wrong file
        kind = each["type"].upper()
        if kind == "BUTTONS":
            for index, button in enumerate(each.get("buttons", [])):
                yield f"BUTTON {index}", str(button.get("url", "")), 0
        else:
            yield kind, str(each.get("text", "")), int(str(each.get("format", "")).upper() in _MEDIA)


def _given_parameters(wire: Mapping[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for each in wire.get("components") or []:
        if not isinstance(each, dict):
            continue
        part = str(each.get("type", "")).upper()
        name = f"{part} {each.get('index', 0)}" if part == "BUTTON" else part
        parameters = each.get("parameters")
        yield name, [one for one in parameters if isinstance(one, dict)] if isinstance(parameters, list) else []


def _fill(text: str, parameters: list[dict[str, Any]]) -> str:
    values = {str(number): _text_of(each) for number, each in enumerate(parameters, 1)}
    values |= {str(each["parameter_name"]): _text_of(each) for each in parameters if "parameter_name" in each}
    return _PLACE.sub(lambda place: values.get(place[1], place[0]), text)


def _text_of(parameter: dict[str, Any]) -> str:
    return str(parameter.get("text", f"[{parameter.get('type', 'parameter')}]"))
