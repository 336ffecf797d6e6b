"""Say in our own words what is wrong with the fields of a message, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from intercom_provider.api.errors import InvalidInputError, Problem
from intercom_provider.api.json_text import parse_json_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_PEOPLE: Final = ("to", "cc", "bcc")
_RECIPIENT_FIELDS: Final = ("type", "id", "user_id", "email", "phone", "name")
_MISSING: Final = {
    "subject": "is missing: an email needs a subject",
    "template": "is missing: WhatsApp sends an approved template; give its name",
}
_OTHER: Final = {"components": "must be a list of objects such as {'type': 'body', 'parameters': [...]}"}


def problems_of(
    error: ValidationError, kind: str, given: Mapping[str, object], known: Sequence[str]
) -> Iterator[Problem]:
    """
    Translate pydantic's findings into problems, without the values.

    :param error: The findings.
    :param kind: The message's type.
    :param given: The fields as they were given.
    :param known: The fields of a message.
    :return: The problems.
    """
    for finding in error.errors(include_url=False, include_input=False):
        cause = finding.get("ctx", {}).get("error")
        if isinstance(cause, InvalidInputError):
            yield from cause.problems
            continue
        name, *inner = map(str, finding["loc"] or ("message",))
        if name in _PEOPLE and inner[:1] == ["0"] and not _is_list(given.get(name)):
            # A single recipient is read as a list of one, which its author has not written.
            del inner[0]
        yield Problem(".".join([name, *inner]), _words(finding, name, inner, kind, known))


def _is_list(value: object) -> bool:
    return isinstance(parse_json_text("", value), list)


def _words(finding: ErrorDetails, name: str, inner: list[str], kind: str, known: Sequence[str]) -> str:
    """Say in our own words what is wrong with a field, or with what stands inside it."""
    problem = finding["type"]
    if problem == "missing":
        return _MISSING.get(".".join([name, *inner]), "is missing")
    if problem == "extra_forbidden":
        return _explain_unknown(name, inner, kind, _RECIPIENT_FIELDS if inner else known)
    if name in _PEOPLE and problem in ("too_short", "model_type", "dict_type"):
        example = "{'phone': '+447900123456'}" if kind == "whatsapp" else "{'type': 'user', 'id': '...'}"
        if problem == "too_short":
            return f"is an empty list: give at least 1 recipient, such as {example}"
        return f"must be an object such as {example}; in a template, end with | tojson"
    if problem.startswith(("literal", "bool")):
        return f"must be one of {finding['ctx']['expected']}" if "ctx" in finding else "must be true or false"
    return _OTHER.get(name, finding["msg"])


def _explain_unknown(name: str, inner: list[str], kind: str, known: Sequence[str]) -> str:
    """Explain what to do with a field that a message or a recipient does not have."""
    unknown = inner[-1] if inner else name
    meant = next((field for field in known if squeeze(field) == squeeze(unknown) and field != unknown), None)
    if meant is not None:
        return f"is not a field: it is written {meant}"
    if inner:
        if unknown == "external_id":
            return "is not a field of a recipient: your own id of a contact goes into user_id"
        return f"is not a field of a recipient of a message of type {kind}: remove it"
    if kind == "whatsapp" and name == "body":
        return "is not a field of a WhatsApp message, which sends a template: put the texts into components"
    return f"is not a field of a message of type {kind}: remove it"


def squeeze(name: str) -> str:
    """
    Reduce a name to what spellings such as ``MESSAGE_TYPE`` and ``messageType`` have in common.

    :param name: The name.
    :return: Its letters and digits, in lower case.
    """
    return "".join(filter(str.isalnum, name)).lower()
