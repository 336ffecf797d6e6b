"""The fields that every sender has beside the message, read and checked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, TypeAlias

from intercom_provider.api.characters import strip_invisible
from intercom_provider.api.errors import InvalidInputError, Problem
from intercom_provider.api.values import is_missing
from intercom_provider.fields import read_not_after
from intercom_provider.ledger.configuration import ledger_connection
from intercom_provider.ledger.ledger import ON_UNCONFIRMED, REPEATS, OnUnconfirmed, Repeat
from intercom_provider.ledger.repeat_after import RepeatAfter, read_repeat_after

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from intercom_provider.sending.window import SendWindow

OnRejected: TypeAlias = Literal["fail", "report"]

Choices: TypeAlias = "Mapping[str, tuple[str, ...]]"
"""The words that a field may hold, by the field's name."""

MAX_CAMPAIGN_CHARS: Final = 200

# A template of these may render to nothing, which means the first word.
_WITH_DEFAULT: Final = {"repeat": REPEATS, "on_unconfirmed": ON_UNCONFIRMED}


class SendOptions(NamedTuple):
    """
    How to send one message or many.

    :param contact_wait: Seconds for which a contact may be missing (default 30).
    :param not_after: Epoch seconds after which nothing is sent; None (default) for no limit.
    :param repeat: When a message that was sent may be sent again (default ``never``).
    :param on_unconfirmed: What to do with an earlier attempt without a known outcome (default ``fail``).
    :param on_rejected: Whether a refused message is an error; of one message only (default ``fail``).
    :param campaign: Within which a message goes out once, whoever sends it; None (default) for the task in its run.
    :param repeat_after: After what time a message of the campaign may go out again; None (default) for never.
    :param ledger_conn_id: The connection of the database with the ledger; None (default) for Airflow's own store.
    :param send_window: The local times between which the message goes out; None (default) for any time.
    :param budget: The share of the rate limit that a batch may use (default 0.8).
    :param concurrency: The maximum number of requests of a batch in flight; None (default) for as many as needed.
    """

    contact_wait: float = 30.0
    not_after: float | None = None
    repeat: Repeat | str = "never"
    on_unconfirmed: OnUnconfirmed | str = "fail"
    on_rejected: OnRejected = "fail"
    campaign: str | None = None
    repeat_after: RepeatAfter | None = None
    ledger_conn_id: str | None = None
    send_window: SendWindow | None = None
    budget: float = 0.8
    concurrency: int | None = None


class SenderFields(Protocol):
    """The fields of an operator that say how to send."""

    @property
    def contact_wait(self) -> object:
        """Seconds."""

    @property
    def not_after(self) -> object:
        """A moment; None for no limit."""

    @property
    def repeat(self) -> object:
        """One of ``REPEATS``, or missing."""

    @property
    def on_unconfirmed(self) -> object:
        """One of ``ON_UNCONFIRMED``, or missing."""

    @property
    def campaign(self) -> object:
        """A name, or missing."""

    @property
    def repeat_after(self) -> object:
        """A time, or missing."""

    @property
    def timezone(self) -> object:
        """The name of a time zone, or missing."""

    @property
    def ledger_conn_id(self) -> object:
        """The id of a connection, or missing."""


def find_problems(sender: SenderFields, choices: Choices, unrendered: Collection[str] = ()) -> Iterator[Problem]:
    """
    Find the problems of the fields that say how to send; ``repeat`` and ``on_unconfirmed`` may be missing.

    :param sender: The sender.
    :param choices: The sender's other fields that hold one of some words.
    :param unrendered: The names of fields that still hold a template, which are not checked.
    :return: The problems.
    """
    for name, words in {**_WITH_DEFAULT, **choices}.items():
        value = _word(getattr(sender, name))
        is_default = name in _WITH_DEFAULT and is_missing(value)
        if name not in unrendered and not is_default and value not in words:
            yield Problem(name, f"must be one of {', '.join(words)}")
    wait = sender.contact_wait
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 <= wait < math.inf:
        yield Problem("contact_wait", "must be seconds, from 0 on")
    if "not_after" not in unrendered:
        try:
            read_not_after(sender.not_after)
        except InvalidInputError as error:
            yield from error.problems
    yield from _find_ledger_problems(sender, unrendered)


def _find_ledger_problems(sender: SenderFields, unrendered: Collection[str]) -> Iterator[Problem]:
    if not {"repeat_after", "timezone"}.intersection(unrendered):
        try:
            read_repeat_after(sender.repeat_after, sender.timezone)
        except InvalidInputError as error:
            yield from error.problems
    if "campaign" in unrendered:
        return
    if is_missing(sender.campaign):
        if not is_missing(sender.repeat_after):
            yield Problem("repeat_after", "needs a campaign, within which a message is known: set campaign")
        return
    if not isinstance(sender.campaign, str) or len(sender.campaign.strip()) > MAX_CAMPAIGN_CHARS:
        yield Problem("campaign", f"must be a name, as text of at most {MAX_CAMPAIGN_CHARS} characters")
    if "repeat" not in unrendered and _word(sender.repeat) == "always":
        yield Problem("repeat", "cannot be always within a campaign, which sends once: use repeat_after")
    if "ledger_conn_id" not in unrendered and ledger_connection(sender.ledger_conn_id) is None:
        yield Problem(
            "campaign",
            "needs a ledger that all runs share: set ledger_conn_id, or [intercom] ledger_conn_id in Airflow's "
            "configuration, to the connection of a PostgreSQL or SQLite database",
        )


def _word(value: object) -> object:
    return strip_invisible(value) if isinstance(value, str) else value


def read_options(sender: SenderFields, choices: Choices | None = None) -> SendOptions:
    """
    Read the fields that say how to send.

    :param sender: The sender, its templates rendered.
    :param choices: The sender's other fields that hold one of some words, to be checked as well; None for none.
    :return: The options; those that not every sender has are left at their defaults.
    :raises InvalidInputError: With all problems of these fields.
    """
    if problems := list(find_problems(sender, choices or {})):
        raise InvalidInputError(problems)
    repeat, on_unconfirmed = (
        str(words[0] if is_missing(getattr(sender, name)) else _word(getattr(sender, name)))
        for name, words in _WITH_DEFAULT.items()
    )
    return SendOptions(
        contact_wait=float(str(sender.contact_wait)),
        not_after=read_not_after(sender.not_after),
        repeat=repeat,
        on_unconfirmed=on_unconfirmed,
        campaign=None if is_missing(sender.campaign) else str(sender.campaign).strip(),
        repeat_after=read_repeat_after(sender.repeat_after, sender.timezone),
        ledger_conn_id=ledger_connection(sender.ledger_conn_id),
    )
