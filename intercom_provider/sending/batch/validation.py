"""Check the rows of a batch one by one, and report what is wrong by cause: how often, and where first."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from intercom_provider.api.errors import InvalidInputError, Problem
from intercom_provider.api.message import MESSAGE_FIELDS, check_version, parse_message
from intercom_provider.api.message_problems import squeeze
from intercom_provider.api.values import is_missing
from intercom_provider.ledger.repeat_after import read_timezone
from intercom_provider.sending.batch.defaults import BATCH_FIELDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from intercom_provider.api.message import Message
    from intercom_provider.api.settings import Settings
    from intercom_provider.sending.batch.defaults import CompletedMessage, Defaults
    from intercom_provider.sending.batch.source import InputRow, MessageSource

_MAX_CAUSES: Final = 10
# Causes may name fields of customers' data, so their number is bounded only here.
_MAX_KEPT_CAUSES: Final = 1_000
_MAX_PLACES: Final = 3
_MAX_NAMES: Final = 5
_MAX_NAME_CHARS: Final = 40
_KNOWN_FIELDS: Final = BATCH_FIELDS.union(MESSAGE_FIELDS)
_RECIPIENT_FIELDS: Final = frozenset({"phone", "email", "user_id", "external_id", "id", "type", "role", "name"})
_ADDRESSES: Final = _RECIPIENT_FIELDS - {"type", "role", "name"}
_SPELLINGS: Final = {squeeze(name): name for name in (*_KNOWN_FIELDS, *_RECIPIENT_FIELDS)}
_NO_SENDER: Final = (
    "is missing: set it in the message or the defaults, or the default sender admin_id in the connection's extra"
)
# There are about 600 time zones, and a table may hold as many wrong names as it has rows.
_MAX_KEPT_ZONES: Final = 1_000
_MAX_ZONE_CHARS: Final = 100
_TOO_DEEP: Final = "is nested too deeply"
_NO_TIMEZONE: Final = "is needed with send_window: set it in the message, in the defaults or as the operator's timezone"


@dataclass(slots=True)
class _Cause:
    """How often something is wrong, and where first."""

    count: int = 0
    places: list[int] = field(default_factory=list)


@dataclass(slots=True)
class RowFindings:
    """
    What is wrong with one row.

    :param own: Its own problems, by the field in it; "" for the row as a whole.
    :param shared: The problems that it has in common with others, and whether its position is of interest.
    """

    own: list[Problem] = field(default_factory=list)
    shared: list[tuple[Problem, bool]] = field(default_factory=list)

    def add(self, name: str, text: str) -> None:
        """
        Add a problem of this row.

        :param name: The field; "" for the row as a whole.
        :param text: What is wrong and what to do.
        """
        self.own.append(Problem(name, text))

    def add_shared(self, name: str, text: str, *, of_some: bool = True) -> None:
        """
        Add a problem that several rows share.

        :param name: The field, not that of a row.
        :param text: What is wrong and what to do.
        :param of_some: Whether other rows may lack it (default True), so that the first one is of interest.
        """
        self.shared.append((Problem(name, text), of_some))

    @property
    def fields(self) -> frozenset[str]:
        """The fields of the row that are wrong."""
        return frozenset(map(_top_level_field, self.own))

    @property
    def reason(self) -> str:
        """The row's own problems as one line, the same for every row that has them."""
        return "; ".join(str(problem) if problem.field else problem.text for problem in self.own)


class Findings:
    """
    What is wrong with the rows of a batch: each cause once, with its count and its first places.

    :param source: The source of the rows, which names their places.
    """

    def __init__(self, source: MessageSource) -> None:
        self._source = source
        self._causes: dict[tuple[str, str], _Cause] = {}
        self._shared: dict[tuple[str, str], int | None] = {}
        self._more = 0
        self.bad_rows = 0

    def add(self, number: int, row: RowFindings) -> None:
        """
        Add what is wrong with a row.

        :param number: Its number.
        :param row: The findings.
        """
        self.bad_rows += bool(row.own)
        for problem in row.own:
            cause = self._causes.get((problem.field, problem.text))
            if cause is None:
                if len(self._causes) >= _MAX_KEPT_CAUSES:
                    self._more += 1
                    continue
                cause = self._causes[problem.field, problem.text] = _Cause()
            cause.count += 1
            if len(cause.places) < _MAX_PLACES:
                cause.places.append(number)
        for problem, of_some in row.shared:
            self._shared.setdefault((problem.field, problem.text), number if of_some else None)

    def include(self, other: Findings) -> None:
        """
        Add what is wrong with other rows of the same source.

        :param other: The findings about rows of which these have none.
        """
        self.bad_rows += other.bad_rows
        self._more += other._more
        self._causes |= other._causes

    def describe(self) -> list[str]:
        """
        Describe what is wrong with the rows.

        :return: At most ten causes, the most frequent first.
        """
        causes = sorted(self._causes.items(), key=lambda each: -each[1].count)
        return [str(self._of_rows(*each)) for each in causes[:_MAX_CAUSES]]

    def raise_any(self, hint: str = "") -> None:
        """
        Raise the problems as one error.

        :param hint: What to do about bad rows, said where some rows are bad (default: nothing).
        :raises InvalidInputError: When there are any problems.
        """
        if not (self._causes or self._shared):
            return
        problems = [self._of_shared(*each) for each in self._shared.items()]
        problems += [self._of_rows(*each) for each in self._causes.items()]
        shown, rest = problems[:_MAX_CAUSES], len(problems) - _MAX_CAUSES + self._more
        if rest > 0:
            shown.append(Problem("messages", f"and {rest:,} more"))
        if hint:
            shown.append(Problem("messages", hint))
        raise InvalidInputError(shown)

    def _of_shared(self, cause: tuple[str, str], first: int | None) -> Problem:
        name, text = cause
        return Problem(name, text if first is None else f"{text} (first in {self._source.position(first)})")

    def _of_rows(self, cause: tuple[str, str], found: _Cause) -> Problem:
        name, text = cause
        position = self._source.position(found.places[0], name)
        if found.count == 1:
            return Problem(position, text)
        numbers = ", ".join(map(str, found.places)) + (", ..." if found.count > len(found.places) else "")
        return Problem(position, f"{text} ({found.count:,} times: {self._source.numbered_by} {numbers})")


class RefusedMessage(NamedTuple):
    """
    A message that is refused alone, because only its own values are at fault.

    :param reason: What is wrong with it.
    :param fields: The fields that are wrong.
    """

    reason: str
    fields: frozenset[str]


def apply_defaults(row: InputRow, defaults: Defaults, findings: RowFindings) -> CompletedMessage | None:
    """
    Complete a message with the defaults, and add its problems to the findings.

    :param row: The message as it came.
    :param defaults: The fields that it leaves out.
    :param findings: The findings.
    :return: The message; None when it has problems.
    """
    if row.fields is None:
        findings.add("", row.problem)
        return None
    if problem := _find_other_shape(row.fields):
        findings.add("", problem)
        return None
    try:
        return defaults.apply_defaults(row.fields)
    except InvalidInputError as error:
        for each in error.problems:
            findings.add(each.field, each.text)
    except RecursionError:
        findings.add("", _TOO_DEEP)
    return None


def _find_other_shape(fields: Mapping[str, object]) -> str:
    """Recognize a row of a table that was not made into a message: one cause in place of a problem a column."""
    if fields.keys() <= _KNOWN_FIELDS:
        return ""
    unknown = [str(name) for name in fields if name not in _KNOWN_FIELDS]
    lower = {name: _SPELLINGS.get(squeeze(name), name) for name in unknown}
    if is_missing(fields.get("to")) and "to" not in lower.values() and _ADDRESSES.intersection(lower.values()):
        of_recipient = [name for name in unknown if lower[name] in _RECIPIENT_FIELDS]
        others = [name for name in unknown if lower[name] not in _RECIPIENT_FIELDS | _KNOWN_FIELDS]
        params = f", and into params {_listed(others)}" if others else ""
        return (
            f"is a flat row: put {_listed(of_recipient)} into to{params}, such as "
            '{"to": {"phone": "+447900123456"}, "params": {"first_name": "Ada"}}'
        )
    if in_capitals := [name for name in unknown if lower[name] in _KNOWN_FIELDS]:
        return (
            f"has {_listed(in_capitals)}, and the fields of a message are in lower case with underscores: rename the "
            "columns where they come from (databases such as Snowflake and Oracle write names in upper case)"
        )
    return ""


def _listed(names: list[str]) -> str:
    shown = ", ".join(name[:_MAX_NAME_CHARS] for name in names[:_MAX_NAMES])
    return f"{shown}, ..." if len(names) > _MAX_NAMES else shown


def build_message(
    completed: CompletedMessage,
    findings: RowFindings,
    *,
    settings: Settings | None = None,
    unsure: Collection[str] = (),
) -> Message | RefusedMessage | None:
    """
    Build a message, and add its problems to the findings.

    A field that lacks a param is not a problem of the batch, nor is a value that only this message has: the message
    alone is refused.

    :param completed: The message with all its fields.
    :param findings: The findings.
    :param settings: The API version and the default sender; None (default) while they are not known.
    :param unsure: The fields that are not known yet, and are not checked.
    :return: The message; None when it cannot be built, or why it is refused alone.
    """
    try:
        message = parse_message(completed.fields)
    except RecursionError:
        findings.add("", _TOO_DEEP)
        return None
    except InvalidInputError as error:
        skipped = {*unsure, *completed.unfilled}
        if "shared_conversation" in skipped:
            skipped.add("to")
        problems = [problem for problem in error.problems if _top_level_field(problem) not in skipped]
        if problems and all(_is_of_message_alone(problem, completed) for problem in problems):
            return RefusedMessage("; ".join(map(str, problems)), frozenset(map(_top_level_field, problems)))
        _add_problems(completed, findings, problems)
        return None
    if settings is not None:
        _check_against(settings, message, findings)
    return message


def read_message_timezone(completed: CompletedMessage, findings: RowFindings, *, is_needed: bool) -> str | None:
    """
    Read the time zone of the person whom a message is for, and add what is wrong with it to the findings.

    :param completed: The message with all its fields.
    :param findings: The findings.
    :param is_needed: Whether there is a window, and no time zone for messages that have none.
    :return: The name of the zone; None where the message has none.
    """
    if "timezone" in completed.unfilled:
        return None
    if is_missing(completed.timezone):
        if is_needed:
            findings.add("timezone", _NO_TIMEZONE)
        return None
    name = str(completed.timezone).strip()
    if problem := _zone_problem(name[:_MAX_ZONE_CHARS]):
        findings.add("timezone", problem)
    return name


@lru_cache(maxsize=_MAX_KEPT_ZONES)
def _zone_problem(name: str) -> str:
    try:
        read_timezone(name)
    except InvalidInputError as error:
        return error.problems[0].text
    return ""


def _is_of_message_alone(problem: Problem, completed: CompletedMessage) -> bool:
    return problem.is_about_value and _top_level_field(problem) not in completed.shared


def _top_level_field(problem: Problem) -> str:
    return problem.field.partition(".")[0]


def _add_problems(completed: CompletedMessage, findings: RowFindings, problems: Iterable[Problem]) -> None:
    for problem in problems:
        if _top_level_field(problem) in completed.shared:
            # Messages with types of their own may differ in what they accept from the same defaults.
            of_some = "message_type" not in completed.shared
            findings.add_shared(f"defaults.{problem.field}", problem.text, of_some=of_some)
        else:
            findings.add(problem.field, problem.text)


def _check_against(settings: Settings, message: Message, findings: RowFindings) -> None:
    try:
        check_version(message, settings.api_version)
    except InvalidInputError as error:
        for problem in error.problems:
            findings.add_shared(problem.field, problem.text)
    if message.from_admin_id is None and settings.admin_id is None:
        findings.add_shared("from_admin_id", _NO_SENDER)
