"""The ledger where nothing can be kept: Airflow before 3.3 without a table, dry runs, the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from intercom_provider.ledger.ledger import (
    BEFORE_CLEAR,
    MAX_OPEN_INTENTS,
    MAX_WAITING_INTENTS,
    RECOVERY_HINT,
    Attempt,
    Entry,
    may_repeat,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from intercom_provider.ledger.ledger import Intent, OnUnconfirmed, Repeat, Result


class StatelessLedger:
    """
    A ledger that keeps nothing from one attempt to the next: Airflow before 3.3, dry runs, the command line.

    :param attempt: The attempt; None (default) for the only one. A second one has to assume that the first may have
        sent any message.
    :param salt: What digests are salted with.
    """

    keeps_records = False
    recovery_hint = (
        f"{RECOVERY_HINT}. Airflow before 3.3 keeps no record between two tries, so every try counts as such an attempt"
    )

    may_send_now = True
    wants_commit = False
    # There is nothing that a kill could leave.
    max_open = MAX_OPEN_INTENTS
    max_waiting = MAX_WAITING_INTENTS

    def __init__(self, attempt: Attempt | None = None, *, salt: str = "") -> None:
        self._attempt = attempt or Attempt()
        self.salt = salt

    def begin_try(self, *, read_only: bool = False) -> None:
        """Do nothing: there are no records."""

    def include_mapped_instances(self) -> None:
        """Do nothing: no instance has records."""

    def look_up(self, digests: Collection[str]) -> None:
        """Do nothing: nothing is known of any message."""

    def find(self, digest: str) -> Entry | None:  # noqa: ARG002 - the same is true of each message
        """Return None in the first attempt, and an intent of the attempt before in later ones."""
        attempt = self._attempt
        if attempt.number == 1:
            return None
        return Entry("intent", attempt.number - 1, attempt.max_tries if attempt.is_retry else BEFORE_CLEAR)

    def may_send(self, entry: Entry, repeat: Repeat | str, on_unconfirmed: OnUnconfirmed | str) -> bool:
        """Decide by :func:`intercom_provider.ledger.ledger.may_repeat`."""
        return may_repeat(entry, self._attempt, repeat, on_unconfirmed)

    def commit(self, results: Mapping[str, Result | None], intents: Mapping[str, Intent]) -> Collection[str]:  # noqa: ARG002 - there is no place to write to
        """Return nothing: whatever is intended may be sent."""
        return ()

    def is_current(self) -> bool:
        """Return True: another attempt would leave no trace."""
        return True

    def end_try(self) -> None:
        """Do nothing: there is nothing to publish."""
