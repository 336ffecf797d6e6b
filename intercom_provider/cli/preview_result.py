"""What a preview has found: counts, invalid rows, and the messages that are shown."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from intercom_provider.sending.options import SendOptions

_COUNTS: Final = ("total", "to_send", "already_sent", "claimed", "suppressed", "duplicates", "invalid")
# What Intercom allows an app, and a batch's share of it by default.
_CALLS_PER_SECOND: Final = 10_000 / 60


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
    """
    What became of each message of a batch.

    :param numbered_by: The meaning of the numbers: ``line`` or ``index``.
    """

    def __init__(self, numbered_by: str) -> None:
        self.numbered_by = numbered_by
        self.counts = dict.fromkeys(
            ("total", "to_send", "already_sent", "claimed", "suppressed", "duplicates", "invalid"), 0
        )
        self.invalid: list[Shown] = []
        self.shown: list[Shown] = []

    @property
    def seconds(self) -> float:
        """How long the batch would take at the rate limit of one app."""
        return self.counts["to_send"] / (_CALLS_PER_SECOND * SendOptions().budget)

    def values(self) -> dict[str, Any]:
        """
        Return the preview as JSON has it.

        :return: The counts, the seconds, every invalid row, and the messages.
        """
        return {
            **self.counts,
            "seconds": round(self.seconds, 1),
            "invalid_rows": [{self.numbered_by: each.number, "reason": each.reason} for each in self.invalid],
            "messages": [
                {self.numbered_by: each.number, "message": each.wire, "reason": each.reason} for each in self.shown
            ],
        }
