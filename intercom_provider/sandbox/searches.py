"""The queries of Intercom's searches: filters over the fields of a contact or a conversation, joined in groups."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from intercom_provider.sandbox.error_reply import ErrorReply

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Kind = Literal["text", "email", "texts", "words", "flag", "number", "date"]
"""The kind of a field: `texts` is a list of which any may match, `words` a text of which each word is one of them."""

_MAX_LEVELS: Final = 2
_MAX_FILTERS: Final = 15
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_DAY_SECONDS: Final = 86_400

_EQUAL: Final = ("=", "!=", "IN", "NIN")
_ORDER: Final = ("<", ">", "<=", ">=")
_TEXT: Final = ("~", "!~", "^", "$")
_OPERATORS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "text": (*_EQUAL, *_TEXT),
    "email": (*_EQUAL, *_TEXT),
    "texts": _EQUAL,
    "words": (*_EQUAL, *_TEXT),
    "flag": _EQUAL,
    "number": (*_EQUAL, *_ORDER),
    "date": (*_EQUAL, *_ORDER),
}
# An operator that is the opposite of another one.
_OPPOSITES: Final = {"!=": "=", "NIN": "IN", "!~": "~"}


@dataclass(frozen=True, slots=True)
class Filter:
    """A comparison of one field.

    :param field: the field's name.
    :param kind: its kind.
    :param operator: one of Intercom's operators.
    :param values: the values to compare with: several only for `IN` and `NIN`.
    """

    field: str
    kind: Kind
    operator: str
    values: tuple[Any, ...]

    def matches(self, entry: Mapping[str, Any]) -> bool:
        """Check whether an entry has what the filter asks for.

        :param entry: a contact or a conversation in Intercom's format.
        """
        value = _value_of(entry, self.field)
        operator = _OPPOSITES.get(self.operator, self.operator)
        return self._compare(operator, value) != (self.operator in _OPPOSITES)

    def _compare(self, operator: str, value: Any) -> bool:
        if operator in ("=", "IN"):
            return any(each in self.values for each in _as_kind(self.kind, value))
        if value is None:
            return False
        [wanted] = self.values
        if operator in _ORDER:
            return _in_order(operator, value, wanted)
        text = str(value).casefold()
        part = str(wanted).casefold()
        return {"~": part in text, "^": text.startswith(part), "$": text.endswith(part)}[operator]


@dataclass(frozen=True, slots=True)
class Group:
    """Filters or groups that are joined.

    :param operator: `AND` or `OR`.
    :param parts: what is joined.
    """

    operator: str
    parts: tuple[Filter | Group, ...]

    def matches(self, entry: Mapping[str, Any]) -> bool:
        """Check whether an entry has what the group asks for.

        :param entry: a contact or a conversation in Intercom's format.
        """
        return (all if self.operator == "AND" else any)(part.matches(entry) for part in self.parts)


def parse_query(
    query: object, kinds: Mapping[str, Kind], *, whole_days: bool = False, level: int = 0
) -> Filter | Group:
    """Parse the query of a search.

    :param query: the `query` of the body.
    :param kinds: the kind of each field that can be searched for.
    :param whole_days: whether dates are compared by day, with fewer operators.
    :param level: how many groups it is in.
    :raises ErrorReply: 400 when it is not a query, or compares a field as its kind does not allow.
    """
    if not isinstance(query, dict):
        raise _invalid("query must be a filter {field, operator, value} or a group {operator, value}")
    operator, value = query.get("operator"), query.get("value")
    if operator in ("AND", "OR"):
        if level == _MAX_LEVELS:
            raise _invalid(f"groups may be nested in {_MAX_LEVELS} levels at most")
        if not isinstance(value, list) or not 1 <= len(value) <= _MAX_FILTERS:
            raise _invalid(f"a group has 1 to {_MAX_FILTERS} filters")
        parts = tuple(parse_query(each, kinds, whole_days=whole_days, level=level + 1) for each in value)
        return Group(operator, parts)
    field = query.get("field")
    if not isinstance(field, str) or field not in kinds:
        raise _invalid(f"the sandbox searches for {', '.join(kinds)}")
    kind = kinds[field]
    allowed = ("=", "<", ">") if kind == "date" and whole_days else _OPERATORS[kind]
    if operator not in allowed:
        raise _invalid(f"the operators of {field} are {' '.join(allowed)}")
    if (operator in ("IN", "NIN")) != isinstance(value, list):
        raise _invalid(f"the value of {field} must be {'a list' if operator in ('IN', 'NIN') else 'one value'}")
    values = tuple(
        _parse_value(field, kind, operator, each) for each in (value if isinstance(value, list) else [value])
    )
    return Filter(field, kind, operator, values)


def by_days(query: Filter | Group) -> Filter | Group:
    """Make the dates of a query count in whole days of the workspace, whose time zone is UTC.

    :param query: a query that was parsed with `whole_days`.
    """
    if isinstance(query, Group):
        return Group(query.operator, tuple(map(by_days, query.parts)))
    if query.kind != "date" or query.values == (None,):
        return query
    day = query.values[0] // _DAY_SECONDS * _DAY_SECONDS
    if query.operator == "<":
        return Filter(query.field, "date", "<", (day,))
    after = Filter(query.field, "date", ">=", (day + (_DAY_SECONDS if query.operator == ">" else 0),))
    if query.operator == ">":
        return after
    return Group("AND", (after, Filter(query.field, "date", "<", (day + _DAY_SECONDS,))))


def named_values(query: Filter | Group, fields: Collection[str]) -> list[tuple[str, str]] | None:
    """Return the values by which alone a query can find anything.

    :param query: a query.
    :param fields: the fields that are looked up by value.
    :return: (field, value) of each; None when it may find others, too.
    """
    if isinstance(query, Filter):
        if query.field not in fields or query.operator not in ("=", "IN"):
            return None
        return [(query.field, each) for each in query.values if each is not None]
    parts = [named_values(part, fields) for part in query.parts]
    if query.operator == "AND":
        return next((each for each in parts if each is not None), None)
    found: list[tuple[str, str]] = []
    for each in parts:
        if each is None:
            return None
        found += each
    return found


def _parse_value(field: str, kind: Kind, operator: str, value: object) -> Any:
    if value is None and operator in ("=", "!="):
        return None
    if kind == "flag":
        flag = {"true": True, "false": False}.get(str(value).lower())
        if flag is None:
            raise _invalid(f"the value of {field} is true or false")
        return flag
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise _invalid(f"the value of {field} must be text or a number")
    if kind in ("number", "date"):
        if not _NUMBER.fullmatch(str(value)):
            raise _invalid(f"the value of {field} is a {'unix timestamp' if kind == 'date' else 'number'}")
        return int(value)
    text = str(value)
    return text.casefold() if kind in ("email", "words") else text


def _value_of(entry: Mapping[str, Any], field: str) -> Any:
    value: Any = entry
    for name in field.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _as_kind(kind: Kind, value: Any) -> Collection[Any]:
    if kind == "texts":
        return value or ()
    if kind == "words":
        return str(value or "").casefold().split()
    return (value.casefold(),) if kind == "email" and value else (value,)


def _in_order(operator: str, value: int, wanted: int) -> bool:
    return {"<": value < wanted, ">": value > wanted, "<=": value <= wanted, ">=": value >= wanted}[operator]


def _invalid(words: str) -> ErrorReply:
    return ErrorReply(400, "parameter_invalid", words[0].upper() + words[1:], "query")
