"""Report the problems of a batch by position, grouped, capped at ten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from intercom_provider.api.errors import InvalidInputError, Problem
from intercom_provider.api.message import check_version, parse_message

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from intercom_provider.api.message import Message
    from intercom_provider.api.settings import Settings
    from intercom_provider.sending.batch.defaults import CompletedMessage, Defaults
    from intercom_provider.sending.batch.source import InputRow, MessageSource

_MAX_PROBLEMS: Final = 10
_NO_SENDER: Final = (
    "is missing: set it in the message or the defaults, or the default sender admin_id in the connection's extra"
)
_TOO_DEEP: Final = "is nested too deeply"


class Findings:
    """The first ten problems, and how many more there are."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._more = 0
        self._added_once: set[tuple[str, str]] = set()

    def add(self, field: str, text: str) -> None:
        """
        Add a problem.

        :param field: The position.
        :param text: What is wrong and what to do.
        """
        if len(self._problems) < _MAX_PROBLEMS:
            self._problems.append(Problem(field, text))
        else:
            self._more += 1

    def add_once(self, field: str, text: str, first: str = "") -> None:
        """
        Add a problem that several messages share, unless it was added before.

        :param field: The field.
        :param text: What is wrong and what to do.
        :param first: The position of the first message that has it; "" (default) when every message has it.
        """
        if (field, text) not in self._added_once:
            self._added_once.add((field, text))
            self.add(field, f"{text} (first in {first})" if first else text)

    def raise_any(self) -> None:
        """
        Raise the problems as one error.

        :raises InvalidInputError: When there are any.
        """
        if self._more:
            raise InvalidInputError([*self._problems, Problem("messages", f"and {self._more:,} more")])
        if self._problems:
            raise InvalidInputError(self._problems)


class RefusedMessage(NamedTuple):
    """
    A message that is refused alone, because only its own values are at fault.

    :param reason: What is wrong with it.
    :param fields: The fields that are wrong.
    """

    reason: str
    fields: frozenset[str]


def apply_defaults(
    source: MessageSource, row: InputRow, defaults: Defaults, findings: Findings
) -> CompletedMessage | None:
    """
    Complete a message with the defaults, and add its problems to the findings.

    :param source: The source of the row.
    :param row: The message as it came.
    :param defaults: The fields that it leaves out.
    :param findings: The findings.
    :return: The message; None when it has problems.
    """
    if row.fields is None:
        findings.add(source.position(row.number), row.problem)
        return None
    try:
        return defaults.apply_defaults(row.fields)
    except InvalidInputError as error:
        for problem in error.problems:
            findings.add(source.position(row.number, problem.field), problem.text)
    except RecursionError:
        findings.add(source.position(row.number), _TOO_DEEP)
    return None


def build_message(
    source: MessageSource,
    row: InputRow,
    completed: CompletedMessage,
    findings: Findings,
    *,
    settings: Settings | None = None,
    unsure: Collection[str] = (),
) -> Message | RefusedMessage | None:
    """
    Build a message, and add its problems to the findings.

    A field that lacks a param is not a problem of the batch, nor is a value that only this message has: the message
    alone is refused.

    :param source: The source of the row.
    :param row: The message as it came.
    :param completed: The message with all its fields.
    :param findings: The findings.
    :param settings: The API version and the default sender; None (default) while they are not known.
    :param unsure: The fields that are not known yet, and are not checked.
    :return: The message; None when it cannot be built, or why it is refused alone.
    """
    try:
        message = parse_message(completed.fields)
    except RecursionError:
        findings.add(source.position(row.number), _TOO_DEEP)
        return None
    except InvalidInputError as error:
        skipped = {*unsure, *completed.unfilled}
        if "shared_conversation" in skipped:
            skipped.add("to")
        problems = [problem for problem in error.problems if _top_level_field(problem) not in skipped]
        if problems and all(_is_of_message_alone(problem, completed) for problem in problems):
            return RefusedMessage("; ".join(map(str, problems)), frozenset(map(_top_level_field, problems)))
        _add_problems(source, row, completed, findings, problems)
        return None
    if settings is not None:
        _check_against(settings, message, source.position(row.number), findings)
    return message


def _is_of_message_alone(problem: Problem, completed: CompletedMessage) -> bool:
    return problem.is_about_value and _top_level_field(problem) not in completed.shared


def _top_level_field(problem: Problem) -> str:
    return problem.field.partition(".")[0]


def _add_problems(
    source: MessageSource,
    row: InputRow,
    completed: CompletedMessage,
    findings: Findings,
    problems: Iterable[Problem],
) -> None:
    for problem in problems:
        if _top_level_field(problem) in completed.shared:
            # Messages with types of their own may differ in what they accept from the same defaults.
            first = "" if "message_type" in completed.shared else source.position(row.number)
            findings.add_once(f"defaults.{problem.field}", problem.text, first)
        else:
            findings.add(source.position(row.number, problem.field), problem.text)


def _check_against(settings: Settings, message: Message, position: str, findings: Findings) -> None:
    try:
        check_version(message, settings.api_version)
    except InvalidInputError as error:
        for problem in error.problems:
            findings.add_once(problem.field, problem.text, position)
    if message.from_admin_id is None and settings.admin_id is None:
        findings.add_once("from_admin_id", _NO_SENDER, position)
