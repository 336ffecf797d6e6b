"""Count the messages of a batch: by outcome, by reason, and where in the input each reason came up first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from intercom_provider.api.models import Outcome

COUNT_NAMES: Final = (
    "sent",
    "already_sent",
    "claimed",
    "rejected",
    "not_sent",
    "unconfirmed",
    "expired",
    "suppressed",
    "duplicates",
    "dry_run",
)
"""The counts that add up to a batch's total."""

MAX_WHATSAPP_IDS: Final = 1_000
MAX_REASONS: Final = 10
MAX_FIRST_NUMBERS: Final = 3

# Outcomes that have a reason and are no failure.
_NO_FAILURE: Final = ("claimed", "suppressed", "dry_run")
# Reasons hold Intercom's words, so their number is bounded only here.
_MAX_KEPT_REASONS: Final = 1_000


@dataclass(slots=True)
class Counts:
    """The outcomes of a batch's messages; the counts in ``COUNT_NAMES`` add up to ``total`` when the run is over."""

    total: int = 0
    sent: int = 0
    already_sent: int = 0
    claimed: int = 0
    rejected: int = 0
    not_sent: int = 0
    unconfirmed: int = 0
    expired: int = 0
    suppressed: int = 0
    duplicates: int = 0
    dry_run: int = 0
    transient: int = 0
    """How many of those that failed a retry may send."""

    is_any_accepted: bool = False
    """Whether Intercom has accepted a message of this task instance, in this try or in an earlier one."""

    reasons: Counter[str] = field(default_factory=Counter)
    outcomes: dict[str, str] = field(default_factory=dict)
    """The outcome of the first message with each reason."""

    first_numbers: dict[str, list[int]] = field(default_factory=dict)
    """The positions of the first messages with each reason: indexes in a list, line numbers in a file."""

    whatsapp_message_ids: list[str] = field(default_factory=list)
    """At most one more than ``MAX_WHATSAPP_IDS``, which shows that they are too many."""

    @property
    def done(self) -> int:
        """How many messages have an outcome."""
        return sum(getattr(self, name) for name in COUNT_NAMES)

    def add(
        self,
        outcome: Outcome | str,
        *,
        whatsapp_message_id: str | None = None,
        reason: str | None = None,
        number: int | None = None,
        count: int = 1,
    ) -> None:
        """
        Count messages that have the same outcome.

        :param outcome: The outcome; ``duplicate`` for a message that is in the input before.
        :param whatsapp_message_id: WhatsApp's id.
        :param reason: Why it is not ``sent``, in words that are the same for every message with this reason.
        :param number: The message's index or line number.
        :param count: How many messages (default 1).
        """
        name = "duplicates" if outcome == "duplicate" else outcome
        setattr(self, name, getattr(self, name) + count)
        self.is_any_accepted |= outcome == "sent"
        if whatsapp_message_id is not None and len(self.whatsapp_message_ids) <= MAX_WHATSAPP_IDS:
            self.whatsapp_message_ids.append(whatsapp_message_id)
        if reason is None or (reason not in self.reasons and len(self.reasons) >= _MAX_KEPT_REASONS):
            return
        self.reasons[reason] += count
        self.outcomes.setdefault(reason, outcome)
        first = self.first_numbers.setdefault(reason, [])
        if number is not None and len(first) < MAX_FIRST_NUMBERS:
            first.append(number)

    @property
    def failure_reasons(self) -> list[tuple[str, int]]:
        """The reasons for which messages count as failed, the most frequent first, and how many they are."""
        return [each for each in self.reasons.most_common() if self.outcomes[each[0]] not in _NO_FAILURE]

    def failed(self, on_unconfirmed: str) -> int:
        """
        Return how many messages count against ``max_failed``.

        :param on_unconfirmed: With ``assume_sent``, unconfirmed messages do not count.
        :return: The number.
        """
        failed = self.rejected + self.not_sent + self.expired
        return failed if on_unconfirmed == "assume_sent" else failed + self.unconfirmed

    def values(self) -> dict[str, Any]:
        """
        Return the counts under the names that they have in XCom.

        :return: ``total``, the counts, ``reasons`` and ``whatsapp_message_ids``.
        """
        ids, most_common = self.whatsapp_message_ids, self.reasons.most_common(MAX_REASONS)
        return {
            "total": self.total,
            **{name: getattr(self, name) for name in COUNT_NAMES},
            "reasons": [
                {
                    "reason": reason,
                    "outcome": self.outcomes[reason],
                    "count": count,
                    "first": self.first_numbers[reason],
                }
                for reason, count in most_common
            ],
            "whatsapp_message_ids": ids if len(ids) <= MAX_WHATSAPP_IDS else None,
        }

    def in_words(self) -> str:
        """
        Return the counts that are not 0 as text.

        :return: Such as ``9 sent, 1 already sent``; ``sent`` is always there.
        """
        numbers = [(name.replace("_", " "), getattr(self, name)) for name in COUNT_NAMES]
        return ", ".join(f"{number} {name}" for name, number in numbers if number or name == "sent")
