"""Record the outcome of each message of a batch: in its counts, and as a line of its results."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

from intercom_provider.api.errors import (
    ApiError,
    ExpiredError,
    InvalidInputError,
    RateLimitedError,
    StoppedError,
    UnreachableError,
)
from intercom_provider.ledger.ledger import NO_IDS, ids_of
from intercom_provider.metrics import UNKNOWN_TYPE, report_messages, type_of

if TYPE_CHECKING:
    from intercom_provider.api.errors import IntercomError, UnconfirmedError
    from intercom_provider.api.models import Outcome, Receipt
    from intercom_provider.ledger.ledger import Entry, Ids
    from intercom_provider.results.writer import ResultsWriter
    from intercom_provider.sending.batch.input import Item
    from intercom_provider.sending.batch.try_record import TryRecord

log = logging.getLogger(__name__)

STOPPED_BEFORE: Final = "the batch stopped before this message was sent"

# What of Intercom's answer is in a line of the results.
_IDS: Final = ("id", "whatsapp_message_id", "conversation_id")


class Recorder:
    """
    Records outcomes.

    :param record: What the try has done so far.
    :param results: The writer of its results.
    :param may_resend: Whether a retry sends unconfirmed messages again.
    """

    def __init__(self, record: TryRecord, results: ResultsWriter, *, may_resend: bool) -> None:
        self._record = record
        self._counts = record.counts
        self._results = results
        self._may_resend = may_resend
        self._warned_of_other_type = False
        self._unreported: Counter[tuple[str, str]] = Counter()

    def report(self) -> None:
        """Report the outcomes since the last report as metrics."""
        unreported, self._unreported = self._unreported, Counter()
        report_messages(unreported)

    def add_receipt(self, item: Item, receipt: Receipt) -> None:
        """
        Record a receipt.

        :param item: The message.
        :param receipt: The receipt.
        """
        ids = ids_of(receipt)
        self.add(item, receipt.outcome, receipt.reason, ids=ids)

    def add_earlier(self, item: Item, found: Entry | None) -> None:
        """
        Record a message that an earlier try or another run has sent, or may have sent.

        :param item: The message.
        :param found: Its entry in the ledger; None when another run had claimed it for a moment.
        """
        if found is None:
            self.add(item, "claimed", "another run was sending it at the same moment")
            return
        other_type = found.describe_other_type(None if item.message is None else item.message.wire_type)
        if other_type and not self._warned_of_other_type:
            self._warned_of_other_type = True
            log.warning("Index %s: %s%s", item.index, found, other_type)
        if found.state == "sent":
            # Another run may have had another template or sender.
            self._counts.is_any_accepted |= found.run is None
            self.add(item, "already_sent", f"already sent by {found}{other_type}", ids=found.ids)
        elif found.state == "claimed":
            state = "sending" if found.lease_runs else "unconfirmed"
            self.add(item, "claimed", f"{found} answers for it: {state}{other_type}")
        else:
            self._add_unconfirmed(item, f"{found.no_result}{other_type}")

    def add_error(self, item: Item, error: IntercomError) -> Outcome:
        """
        Record a message that was certainly not sent.

        :param item: The message.
        :param error: The error that its call ended with.
        :return: The outcome.
        """
        if isinstance(error, StoppedError):
            self.add_not_sent(item)
            return "not_sent"
        outcome: Outcome = "rejected"
        if isinstance(error, ExpiredError):
            outcome = "expired"
        elif isinstance(error, UnreachableError | RateLimitedError | InvalidInputError):
            # Intercom has not read it. (The input was checked before: what is invalid here is the way to Intercom.)
            outcome = "not_sent"
        self._counts.transient += error.transient
        self.add(item, outcome, str(error), shared_reason=error.summary if isinstance(error, ApiError) else None)
        return outcome

    def add_unconfirmed(self, item: Item, error: UnconfirmedError) -> None:
        """
        Record a message whose outcome is unknown.

        :param item: The message.
        :param error: The error that its call ended with.
        """
        cause = error.__cause__
        self._add_unconfirmed(item, error.why, cause.summary if isinstance(cause, ApiError) else None)

    def add_unanswered(self, item: Item) -> None:
        """
        Record a message whose request was made, and whose answer was not waited for.

        :param item: The message.
        """
        self._add_unconfirmed(item, "the batch ended before its answer came")

    def add_not_sent(self, item: Item) -> None:
        """
        Record a message that a stopped batch did not send.

        :param item: The message.
        """
        self._counts.transient += 1
        self.add(item, "not_sent", STOPPED_BEFORE)

    def count_rest(self) -> None:
        """Count all messages without an outcome as ``not_sent``, without a line in the results, and report them."""
        rest = self._counts.total - self._counts.done
        if rest > 0:
            self._counts.transient += rest
            self._counts.add("not_sent", reason=STOPPED_BEFORE, count=rest)
            self._unreported[UNKNOWN_TYPE, "not_sent"] += rest
        self.report()

    def add(
        self,
        item: Item,
        outcome: str,
        reason: str | None,
        *,
        shared_reason: str | None = None,
        ids: Ids = NO_IDS,
    ) -> None:
        """
        Record an outcome.

        :param item: The message.
        :param outcome: The outcome.
        :param reason: Why it is not ``sent``; for the results.
        :param shared_reason: The reason in words that other messages share, for the counts (default ``reason``).
        :param ids: Intercom's ids.
        """
        self._record.add(item.index)
        self._unreported[type_of(item.message), outcome] += 1
        is_counted_by_reason = outcome not in ("sent", "already_sent", "duplicate")
        self._counts.add(
            outcome,
            whatsapp_message_id=ids.whatsapp_message_id,
            reason=(shared_reason or reason) if is_counted_by_reason else None,
            number=item.number,
        )
        self._results.add(
            {
                "index": item.index,
                "key": item.key,
                "outcome": outcome,
                "id": ids.id,
                "conversation_id": ids.conversation_id,
                "whatsapp_message_id": ids.whatsapp_message_id,
                "reason": reason,
            }
        )

    def _add_unconfirmed(self, item: Item, why: str, shared: str | None = None) -> None:
        self._counts.transient += self._may_resend
        prefix = "it may have been sent or not: "
        self.add(item, "unconfirmed", prefix + why, shared_reason=prefix + (shared or why))
