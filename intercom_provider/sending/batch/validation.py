"""Say what is wrong with the messages of a batch: by its place, each thing once, and not all of a thousand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from intercom_provider.api.errors import InvalidInputError, Problem
from intercom_provider.api.message import check_version, parse_message

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from intercom_provider.api.message import Message
    from intercom_provider.api.settings import Settings
    from intercom_provider.sending.batch.defaults import CompletedMessage, Defaults
    from intercom_provider.sending.batch.source import Record, Source

_MOST_PROBLEMS: Final = 10
_NO_SENDER: Final = (
    "is missing: set it in the message or the defaults, or the default sender admin_id in the connection's extra"
)
_TOO_DEEP: Final = "is nested too deeply"


class Findings:
    """What is wrong: the first ten things, and how many more there are."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._more = 0
        self._once: set[tuple[str, str]] = set()

    def add(self, field: str, text: str) -> None:
        """
        Add a thing.

        :param field: Its place.
        :param text: What is wrong and what to do.
        """
        if len(self._problems) < _MOST_PROBLEMS:
            self._problems.append(Problem(field, text))
        else:
            self._more += 1

    def add_once(self, field: str, text: str, first: str = "") -> None:
        """
        Add what messages have in common, unless it was added before.

        :param field: Its place.
        :param text: What is wrong and what to do.
        :param first: The first message that has it; "" (default) when every message has.
        """
        if (field, text) not in self._once:
            self._once.add((field, text))
            self.add(field, f"{text} (first in {first})" if first else text)

    def raise_any(self) -> None:
        """
        Raise what there is.

        :raises InvalidInputError: When there is anything.
        """
        if self._more:
            raise InvalidInputError([*self._problems, Problem("messages", f"and {self._more:,} more")])
        if self._problems:
            raise InvalidInputError(self._problems)


def apply_defaults(source: Source, record: Record, defaults: Defaults, findings: Findings) -> CompletedMessage | None:
    """
    Complete a message.

    :param source: Knows its place.
    :param record: The message as it came.
    :param defaults: Fill what it leaves out.
    :param findings: Take what is wrong.
    :return: The message; None when something is wrong.
    """
    if record.fields is None:
        findings.add(source.where(record.number), record.problem)
        return None
    try:
        return defaults.apply_defaults(record.fields)
    except InvalidInputError as error:
        for problem in error.problems:
            findings.add(source.where(record.number, problem.field), problem.text)
    except RecursionError:
        findings.add(source.where(record.number), _TOO_DEEP)
    return None


def build_message(
    source: Source,
    record: Record,
    filled: CompletedMessage,
    findings: Findings,
    *,
    settings: Settings | None = None,
    unsure: Collection[str] = (),
) -> Message | None:
    """
    Build a message.

    :param source: Knows its place.
    :param record: The message as it came.
    :param filled: The message with all its fields.
    :param findings: Take what is wrong, save with the fields that lack a param: that is a refusal of this message.
    :param settings: The API version and the default sender; None (default) while they are not known.
    :param unsure: The fields of which nothing is known yet.
    :return: The message; None when it cannot be built.
    """
    try:
        message = parse_message(filled.fields)
    except RecursionError:
        findings.add(source.where(record.number), _TOO_DEEP)
        return None
    except InvalidInputError as error:
        skipped = {*unsure, *filled.unfilled}
        if "shared_conversation" in skipped:
            skipped.add("to")
        problems = (one for one in error.problems if _field(one) not in skipped)
        _tell(source, record, filled, findings, problems)
        return None
    if settings is not None:
        _judge_with(settings, message, source.where(record.number), findings)
    return message


def _field(problem: Problem) -> str:
    return problem.field.partition(".")[0]


def _tell(
    source: Source, record: Record, filled: CompletedMessage, findings: Findings, problems: Iterable[Problem]
) -> None:
    here = source.where(record.number)
    for problem in problems:
        if _field(problem) in filled.shared:
            # With a type of its own, another message may well get along with the same defaults.
            first = "" if "message_type" in filled.shared else here
            findings.add_once(f"defaults.{problem.field}", problem.text, first)
        else:
            findings.add(source.where(record.number, problem.field), problem.text)


def _judge_with(settings: Settings, message: Message, here: str, findings: Findings) -> None:
    try:
        check_version(message, settings.api_version)
    except InvalidInputError as error:
        for problem in error.problems:
            findings.add_once(problem.field, problem.text, here)
    if message.from_admin_id is None and settings.admin_id is None:
        findings.add_once("from_admin_id", _NO_SENDER, here)
