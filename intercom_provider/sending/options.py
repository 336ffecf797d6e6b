"""The fields that every sender has beside the message, read and checked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, TypeAlias

from intercom_provider.api.errors import InvalidInputError, Problem
from intercom_provider.api.values import is_missing
from intercom_provider.fields import read_not_after
from intercom_provider.ledger.ledger import ON_UNCONFIRMED, REPEATS, OnUnconfirmed, Repeat

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

OnRejected: TypeAlias = Literal["fail", "report"]

Choices: TypeAlias = "Mapping[str, tuple[str, ...]]"
"""The words that a field may hold, by the field's name."""

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
    :param budget: The share of the rate limit that a batch may use (default 0.8).
    :param concurrency: The maximum number of requests of a batch in flight; None (default) for as many as needed.
    """

    contact_wait: float = 30.0
    not_after: float | None = None
    repeat: Repeat | str = "never"
    on_unconfirmed: OnUnconfirmed | str = "fail"
    on_rejected: OnRejected = "fail"
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


def find_problems(sender: SenderFields, choices: Choices, unrendered: Collection[str] = ()) -> Iterator[Problem]:
    """
    Find the problems of the fields that say how to send; ``repeat`` and ``on_unconfirmed`` may be missing.

    :param sender: The sender.
    :param choices: The sender's other fields that hold one of some words.
    :param unrendered: The names of fields that still hold a template, which are not checked.
    :return: The problems.
    """
    for name, words in {**_WITH_DEFAULT, **choices}.items():
        value = getattr(sender, name)
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
        str(words[0] if is_missing(getattr(sender, name)) else getattr(sender, name))
        for name, words in _WITH_DEFAULT.items()
    )
    return SendOptions(
        contact_wait=float(str(sender.contact_wait)),
        not_after=read_not_after(sender.not_after),
        repeat=repeat,
        on_unconfirmed=on_unconfirmed,
    )
