"""Complete the messages of a batch: add the fields of the defaults, and fill ``${names}`` from params."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias
from uuid import UUID

from intercom_provider.api.cells import as_plain, write_number
from intercom_provider.api.characters import strip_invisible
from intercom_provider.api.errors import InvalidInputError, Problem
from intercom_provider.api.json_text import parse_json_text
from intercom_provider.api.message import MESSAGE_FIELDS
from intercom_provider.api.values import is_missing, not_text
from intercom_provider.ledger.repeat_after import read_timezone

Params: TypeAlias = dict[str, str]

BATCH_FIELDS: Final = frozenset({"params", "timezone"})
"""The fields of a batch's message beside those of every message; Intercom is not sent them."""

# Names of params are the columns of a table; where rows have names of their own, these are enough to tell of.
_MAX_KEPT_NAMES: Final = 1_000

# It begins with the first dollar only, or each one of a long row would be tried as the first.
_PLACEHOLDER: Final = re.compile(r"(?<!\$)(\$+)\{([^{}\n]{1,100})\}")
# The key identifies the message, and its type decides how the rest is read: neither may depend on a param.
_NEVER_FILLED: Final = frozenset({"message_type", "body_format", "key"})
_STRUCTURED_FIELDS: Final = frozenset({"to", "cc", "bcc", "components"})
_NO_SHORT_FORM: Final = (
    "is a number that nobody would write so (infinite, very large or small, or with digits that arithmetic left, such "
    "as 0.30000000000000004): round it, or make it text where it comes from"
)
_HTML_TYPES: Final = ("in_app", "inapp", "email")


@dataclass(frozen=True, slots=True)
class CompletedMessage:
    """
    A message with all its fields.

    :param fields: The fields by name, without ``params`` and ``timezone``.
    :param missing: The params that its texts name and that it does not have; with any missing it must not be sent.
    :param unfilled: The fields that name missing params.
    :param shared: The fields that are taken unchanged from the defaults.
    :param timezone: The time zone of the person whom it is for, as it was given; None (default) for none.
    """

    fields: dict[str, Any]
    missing: tuple[str, ...]
    unfilled: frozenset[str]
    shared: frozenset[str]
    timezone: object = None


class Defaults:
    """
    The fields and params that messages leave out.

    :param value: An object of a message's fields and ``params``, the same as JSON text, or None.
    :raises InvalidInputError: When it is not an object, or has an unknown field.
    """

    def __init__(self, value: object) -> None:
        data = {} if is_missing(value) else parse_json_text("defaults", value)
        if not isinstance(data, Mapping):
            raise InvalidInputError.of(
                "defaults", "must be an object of a message's fields; in a template, end with | tojson"
            )
        known = {*MESSAGE_FIELDS, *BATCH_FIELDS}
        unknown = [f"defaults.{name}" for name in data if name not in known]
        if unknown:
            raise InvalidInputError(Problem(name, "is not a field of a message: remove it") for name in unknown)
        if not is_missing(data.get("key")):
            raise InvalidInputError.of(
                "defaults.key", "would make all messages the same one: give each message a key of its own"
            )
        try:
            self._params = _read_params(data.get("params"))
            if not _has_placeholder(data.get("timezone")):
                read_timezone(data.get("timezone"))
        except InvalidInputError as error:
            raise InvalidInputError(
                Problem(f"defaults.{problem.field}", problem.text) for problem in error.problems
            ) from None
        self._fields = {
            name: parse_json_text(f"defaults.{name}", entry) if name in _STRUCTURED_FIELDS else entry
            for name, entry in data.items()
            if name != "params" and not is_missing(entry)
        }
        self._given: set[str] = set(self._params or ())
        self._used: set[str] = set()
        self._templates = {name for name in self._fields.keys() - _NEVER_FILLED if _has_placeholder(self._fields[name])}

    @property
    def unused_params(self) -> list[str]:
        """The params that no text of a message completed so far asks for."""
        return sorted(self._given - self._used)

    def apply_defaults(self, message: Mapping[str, Any]) -> CompletedMessage:
        """
        Complete a message.

        The texts of the defaults are filled for every message. A message's own texts are filled only when it has
        params, its own or the defaults': without params, its texts arrive as written.

        :param message: Its own fields, and its ``params``.
        :return: The complete message.
        :raises InvalidInputError: When its params are not an object of texts, or its key names one.
        """
        own = {name: value for name, value in message.items() if name != "params" and not is_missing(value)}
        fields = {**self._fields, **own}
        given = _read_params(message.get("params"))
        params: Params = {**(self._params or {}), **(given or {})}
        if given and len(self._given) < _MAX_KEPT_NAMES:
            self._given.update(given)
        has_params = given is not None or self._params is not None
        if has_params and isinstance(key := own.get("key"), str) and _PLACEHOLDER.search(key):
            # An unfilled key may be the same for all messages, of which only one would be sent then.
            raise InvalidInputError.of("key", "is not filled from params: write the value itself into it")
        templates = fields.keys() - _NEVER_FILLED if has_params else self._templates - own.keys()
        shared = frozenset(self._fields.keys() - own.keys() - self._templates)
        if not templates:
            return CompletedMessage(fields, (), frozenset(), shared, fields.pop("timezone", None))
        message_type, body_format = (
            strip_invisible(str(fields.get(name, "html"))) for name in ("message_type", "body_format")
        )
        is_html = message_type in _HTML_TYPES and body_format == "html"
        missing: dict[str, None] = {}
        unfilled = set()
        for name in [name for name in fields if name in templates]:
            missing_params: dict[str, None] = {}
            filling = _Filling(params, missing_params, self._used, escape=is_html and name == "body")
            fields[name] = (
                filling.fill_structure(name, fields[name]) if name in _STRUCTURED_FIELDS else filling.fill(fields[name])
            )
            if missing_params:
                unfilled.add(name)
                missing |= missing_params
        return CompletedMessage(fields, tuple(missing), frozenset(unfilled), shared, fields.pop("timezone", None))


@dataclass(frozen=True, slots=True)
class _Filling:
    params: Params
    missing_params: dict[str, None]
    used_params: set[str]
    escape: bool

    def fill_structure(self, name: str, value: object) -> object:
        """Fill the texts inside an object, parsed first: a param filled into its JSON text could add fields to it."""
        data = parse_json_text(name, value)
        return value if isinstance(data, str) else self.fill(data)

    def fill(self, value: object) -> object:
        if isinstance(value, str):
            # One pass, so that a placeholder in the value of a param is not filled.
            return _PLACEHOLDER.sub(self._replace, value) if "${" in value else value
        if isinstance(value, Mapping):
            return {name: self.fill(entry) for name, entry in value.items()}
        if isinstance(value, list | tuple):
            return [self.fill(entry) for entry in value]
        return value

    def _replace(self, found: re.Match[str]) -> str:
        # Two dollars mean one, so that a text can hold a dollar before a brace, or before a filled price.
        dollars, is_param = divmod(len(found[1]), 2)
        name = found[2].strip()
        if not (is_param and name):
            return f"{'$' * dollars}{{{found[2]}}}" if not is_param else found[0]
        self.used_params.add(name)
        if name not in self.params:
            self.missing_params[name] = None
            return found[0]
        value = self.params[name]
        return "$" * dollars + (html.escape(value) if self.escape else value)


def _has_placeholder(value: object) -> bool:
    """Check whether a value has a text to fill."""
    if isinstance(value, str):
        return "${" in value
    if isinstance(value, Mapping):
        return any(map(_has_placeholder, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_placeholder, value))


def _read_params(value: object) -> Params | None:
    """Read params; a param that is None counts as missing."""
    if is_missing(value):
        return None
    data = parse_json_text("params", value)
    if not isinstance(data, Mapping):
        raise InvalidInputError.of("params", "must be an object of names and texts")
    params: Params = {}
    problems: list[Problem] = []
    for name, entry in data.items():
        plain = as_plain(entry)
        if isinstance(plain, str):
            params[str(name)] = plain
        elif plain is not None:
            text, problem = _write_param(plain)
            params[str(name)] = text
            if problem:
                problems.append(Problem(f"params.{name}", problem))
    if problems:
        raise InvalidInputError(problems)
    return params


def _write_param(value: object) -> tuple[str, str]:
    """Return a value as people read it, and what is wrong with it."""
    if isinstance(value, UUID):
        return str(value), ""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return "", f"must be text or a number: it {not_text(value)}"
    text = write_number(value)
    return text or "", "" if text is not None else _NO_SHORT_FORM
