"""What a preview has found: counts, invalid rows, and the messages that are shown."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from intercom_provider.sending.options import SendOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_COUNTS: Final = ("total", "to_send", "held", "already_sent", "claimed", "suppressed", "duplicates", "invalid")
# What Intercom allows an app, and a batch's share of it by default.
_CALLS_PER_SECOND: Final = 10_000 / 60
_SAID_IN_SECONDS: Final = 120
_MAX_ZONES: Final = 3


class Shown(NamedTuple):
    """
    A message that is shown.

    :param number: Its line or index.
    :param wire: The body of its request; None when it would not be sent.
    :param reason: Why it would not be sent; else None.
    """

    number: int
    wire: dict[str, Any] | None
    reason: str | None


class Preview:
    """What would become of each message of a batch."""

    def __init__(self) -> None:
        self.numbered_by = "line"
        """The meaning of the numbers: ``line`` or ``index``."""

        self.counts = dict.fromkeys(_COUNTS, 0)
        self.shown: list[Shown] = []
        self._held: dict[datetime, Counter[str]] = {}
        # A text for each row would be most of the memory, where all of them are invalid.
        self._invalid: dict[str, list[int]] = {}

    def add(self, number: int, name: str, reason: str | None) -> None:
        """
        Count a message.

        :param number: Its line or index.
        :param name: The count to which it belongs.
        :param reason: Why it would not be sent; else None.
        """
        self.counts["total"] += 1
        self.counts[name] += 1
        if name == "invalid":
            self._invalid.setdefault(reason or "", []).append(number)

    def hold(self, number: int, opens_at: datetime, timezone: str) -> str:
        """
        Count a message that waits for its window.

        :param number: Its line or index.
        :param opens_at: When the window opens.
        :param timezone: The time zone of the window.
        :return: Why it would not be sent now.
        """
        reason = f"held until {write_moment(opens_at)}"
        self.add(number, "held", reason)
        self._held.setdefault(opens_at, Counter())[timezone] += 1
        return reason

    @property
    def held(self) -> list[tuple[datetime, Counter[str]]]:
        """When windows open, the earliest first, and how many messages wait for it by time zone."""
        return sorted(self._held.items(), key=lambda each: each[0])

    @property
    def seconds(self) -> float:
        """How long the batch would take at the rate limit of one app."""
        return (self.counts["to_send"] + self.counts["held"]) / (_CALLS_PER_SECOND * SendOptions().budget)

    @property
    def duration(self) -> str:
        """The same as a sentence."""
        seconds = round(self.seconds)
        waits = ", the wait for windows aside" if self._held else ""
        if not seconds:
            return f"It would take less than a second{waits}."
        hours, minutes = divmod(round(seconds / 60), 60)
        text = f"{hours} h {minutes} min" if hours else f"{minutes} min"
        if seconds <= _SAID_IN_SECONDS:
            text = f"{seconds} s"
        return f"It would take about {text} at the rate limit of one app{waits}."

    @property
    def causes(self) -> list[tuple[str, list[int]]]:
        """Why rows are invalid, and which ones, the most frequent cause first."""
        return sorted(self._invalid.items(), key=lambda each: (-len(each[1]), each[1]))

    def values(self) -> dict[str, Any]:
        """
        Return the preview as JSON has it.

        :return: The counts, the seconds, when windows open, the causes, every invalid row, and the messages.
        """
        by = self.numbered_by
        rows = sorted((number, reason) for reason, numbers in self._invalid.items() for number in numbers)
        return {
            **self.counts,
            "seconds": round(self.seconds, 1),
            "held_until": [
                {"at": opens_at.isoformat(), "count": zones.total(), "timezones": dict(zones.most_common())}
                for opens_at, zones in self.held
            ],
            "reasons": [
                {"reason": reason, "count": len(numbers), "first": numbers[:3]} for reason, numbers in self.causes
            ],
            "invalid_rows": [{by: number, "reason": reason} for number, reason in rows],
            "messages": [{by: each.number, "message": each.wire, "reason": each.reason} for each in self.shown],
        }


def write_moment(moment: datetime) -> str:
    """
    Write when a window opens.

    :param moment: The moment, in UTC.
    :return: Such as ``2026-11-28 09:00 UTC``; with seconds where it has some.
    """
    return f"{moment:%Y-%m-%d %H:%M{':%S' if moment.second else ''}} UTC"


def write_zones(zones: Counter[str]) -> str:
    """
    Write the time zones of messages.

    :param zones: How many messages each has.
    :return: Up to three names, those with the most messages first.
    """
    names = [name for name, _ in zones.most_common(_MAX_ZONES)]
    more = len(zones) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def write_numbers(numbers: Sequence[int]) -> str:
    """
    Write numbers in a short form.

    :param numbers: The numbers, in their order.
    :return: The numbers, three or more in a row as the first and the last one.
    """
    breaks = [0, *(at for at, (one, other) in enumerate(pairwise(numbers), 1) if other != one + 1), len(numbers)]
    runs = [numbers[start:end] for start, end in pairwise(breaks)]
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)  # noqa: PLR2004 - two are as short
