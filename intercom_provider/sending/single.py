"""
Sending one message under a ledger: what the operator, the notifier and the command line have in common.

The order is always the same: find what earlier attempts have left, write the intent, send, write the result. What
differs between a worker and the triggerer is only who makes the requests, so :class:`SingleSend` decides everything
and is run by either client. It cannot be a flow of its own (``api/flow.py``): a stop, a time-out of the task and a
cancellation end a client from outside, and the flow that it runs does not get to see them.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from intercom_provider.api import calls
from intercom_provider.api.errors import (
    ExpiredError,
    IntercomError,
    RateLimitedError,
    StoppedError,
    UnconfirmedError,
    UnreachableError,
    is_about_message,
)
from intercom_provider.api.flow import RetryLimits
from intercom_provider.api.models import Receipt
from intercom_provider.api.stepper import Stepper
from intercom_provider.compat import AirflowException, AirflowTaskTimeout
from intercom_provider.exceptions import IntercomRefusedError, MessageUnconfirmedError
from intercom_provider.ledger.ledger import NO_IDS, Ids, Intent, LedgerUnavailableError, Result, ids_of, message_digest
from intercom_provider.ledger.stateless import StatelessLedger
from intercom_provider.metrics import report_messages, type_of
from intercom_provider.sending.options import SendOptions
from intercom_provider.sending.window import WindowClosedError

if TYPE_CHECKING:
    from intercom_provider.api.client import AsyncIntercomClient, IntercomClient
    from intercom_provider.api.flow import Flow
    from intercom_provider.api.message import Message
    from intercom_provider.api.models import Outcome
    from intercom_provider.api.settings import Settings
    from intercom_provider.ledger.ledger import Entry, Ledger

log = logging.getLogger(__name__)

_DEFAULT_OPTIONS: Final = SendOptions()


class SendResult(NamedTuple):
    """
    The result of sending one message.

    :param receipt: The outcome, with the reason and the ids that are known.
    :param error: The error with which a task has to end; None when it succeeds.
    :param cause: The error of the request; None when there is none, or no request was made.
    :param entry: The entry of the ledger because of which no request was made; None when one was made.
    """

    receipt: Receipt
    error: Exception | None = None
    cause: IntercomError | None = None
    entry: Entry | None = None


class SingleSend:
    """
    Sends one message, unless the ledger knows that it was sent. Is run once, by :meth:`run` or :meth:`arun`.

    A dry run sends nothing, and neither reads nor writes the ledger.

    :param message: The message.
    :param settings: The connection's settings.
    :param options: How to send.
    :param ledger: The ledger, whose try has begun; None (default) to send whatever was sent before.
    :param salt: The scope of the ledger, so that digests differ between runs.
    :param request_timeout: Seconds that one request may take; None (default) for the connection's time-out.
    :raises InvalidInputError: When the message needs what the API version lacks, or has no sender.
    """

    def __init__(
        self,
        message: Message,
        settings: Settings,
        options: SendOptions = _DEFAULT_OPTIONS,
        ledger: Ledger | None = None,
        *,
        salt: str = "",
        request_timeout: float | None = None,
    ) -> None:
        limits = RetryLimits(contact_wait=options.contact_wait, deadline=options.not_after, timeout=request_timeout)
        flow = calls.send_message(message, settings, limits)
        self._message = message
        self._options = options
        self._ledger: Ledger = StatelessLedger() if ledger is None or settings.dry_run else ledger
        self._flow = flow if settings.dry_run else self._while_it_holds(flow)
        self._is_dry_run = settings.dry_run
        self._digest = message_digest(
            key=message.key, message_type=message.wire_type, recipients=message.recipients, salt=salt
        )

    def run(self, client: IntercomClient) -> SendResult:
        """
        Send the message from a task, a callback or a command, and report the outcome as a metric.

        :param client: Makes the requests.
        :return: The result.
        :raises WindowClosedError: When the window of the message is closed; it was not sent.
        :raises AirflowTaskTimeout: When the task's time is up, and the message certainly was not sent.
        """
        result = self._run(client)
        report_messages({(type_of(self._message), result.receipt.outcome): 1})
        return result

    def _run(self, client: IntercomClient) -> SendResult:
        try:
            known = self._begin()
        except LedgerUnavailableError as error:
            return SendResult(self._receipt("not_sent", str(error)), error, error)
        except ExpiredError as error:
            return SendResult(self._receipt("expired", str(error)), error, error)
        if known is not None:
            return known
        try:
            receipt = client.run(self._flow)
        except WindowClosedError:
            self._record(None)
            raise
        except IntercomError as error:
            return self._end_with_error(error)
        except AirflowTaskTimeout:
            if not client.may_have_sent:
                self._record(None)
                raise
            return self._end_with_error(UnconfirmedError("execution_timeout passed while the message was being sent"))
        return self._end(receipt)

    async def arun(self, client: AsyncIntercomClient) -> SendResult:
        """
        Send the message where nothing may block; the ledger has to be one that does not block either.

        :param client: Makes the requests.
        :return: The result.
        """
        try:
            known = self._begin()
        except LedgerUnavailableError as error:
            return SendResult(self._receipt("not_sent", str(error)), error, error)
        if known is not None:
            return known
        try:
            receipt = await client.run(self._flow)
        except IntercomError as error:
            return self._end_with_error(error)
        return self._end(receipt)

    def _begin(self) -> SendResult | None:
        """Write the intent; return a result instead when the message must not be sent."""
        if self._is_dry_run:
            log.warning("The connection has dry_run set: nothing is sent")
            return None
        repeat, on_unconfirmed = self._options.repeat, self._options.on_unconfirmed
        if repeat != "always":
            self._ledger.include_mapped_instances()
        self._ledger.look_up([self._digest])
        entry = self._ledger.find(self._digest)
        if entry is not None and not self._ledger.may_send(entry, repeat, on_unconfirmed):
            return self._answer_from(entry)
        if entry is not None:
            before = entry.no_result if entry.state == "intent" else f"{entry} has sent it"
            log.warning("Sending again: %s; repeat is %s, on_unconfirmed %s", before, repeat, on_unconfirmed)
        self._check_window()
        if self._ledger.commit({}, {self._digest: Intent(self._message.key, self._message.wire_type)}):
            entry = self._ledger.find(self._digest)
            return self._answer_from(entry) if entry else self._claimed("another run was sending it at the same moment")
        return None

    def _check_window(self, seconds: float = 0.0) -> None:
        """Raise an error when the message must not go out now, or in so many seconds."""
        window = self._options.send_window
        if window is None:
            return
        due = datetime.now(UTC) + timedelta(seconds=seconds)
        opens_at = window.opens_at(due)
        if opens_at <= due:
            return
        if self._options.not_after is not None and opens_at.timestamp() >= self._options.not_after:
            raise ExpiredError(
                f"not_after comes before the window opens ({opens_at.isoformat(timespec='minutes')}). The message was "
                "not sent"
            )
        raise WindowClosedError(opens_at)

    def _while_it_holds(self, flow: Flow[Receipt]) -> Flow[Receipt]:
        """Make the requests of a call only as long as the ledger holds the message for this try."""
        steps = Stepper(flow)
        steps.begin()
        while steps.asked is not None:
            if self._ledger.wants_commit:
                self._ledger.commit({}, {})
            # The client first waits for the contact or the rate limit, and that may end in the night.
            self._check_window(steps.asked.after)
            if not self._ledger.may_send_now:
                raise UnreachableError("the ledger no longer holds the message for this try. The message was not sent")
            steps.answer((yield steps.asked))
        return steps.result

    def _end(self, receipt: Receipt) -> SendResult:
        """Write the result of a message that Intercom has accepted."""
        if receipt.outcome == "rejected":
            self._record(Result("rejected", receipt.reason, ids_of(receipt)))
            refusal = IntercomRefusedError(f"message {receipt.id}: {receipt.reason}")
            return SendResult(receipt, None if self._options.on_rejected == "report" else refusal)
        if not self._is_dry_run:
            try:
                self._ledger.commit({self._digest: Result("sent", None, ids_of(receipt))}, {})
            except (Exception, AirflowTaskTimeout):
                # Failing now would call a sent message failed; the intent keeps a rerun from sending it again.
                log.exception("Message %s was sent, and the ledger could not be written", receipt.id)
        return SendResult(receipt)

    def _end_with_error(self, error: IntercomError) -> SendResult:
        if isinstance(error, UnconfirmedError):
            self._record(Result("unconfirmed", error.why))
            return self._unconfirmed(str(error), cause=error)
        receipt = self._receipt(outcome_of(error), str(error))
        self._record(Result(receipt.outcome, receipt.reason))
        is_reported = self._options.on_rejected == "report" and is_about_message(error)
        return SendResult(receipt, None if is_reported else error, error)

    def _answer_from(self, entry: Entry) -> SendResult:
        """Return what the ledger knows of a message that must not be sent again."""
        other_type = entry.describe_other_type(self._message.wire_type)
        if other_type:
            log.warning("The campaign has this message already: %s%s", entry, other_type)
        if entry.state == "claimed":
            state = "sending" if entry.lease_runs else "unconfirmed"
            return self._claimed(f"{entry} answers for it: {state}{other_type}", entry)
        if entry.state == "intent":
            reason = f"{entry.no_result}: the message may have been sent or not{other_type}"
            return self._unconfirmed(reason, entry=entry)
        reason = f"already sent by {entry} as message {entry.ids.id}; not sending again{other_type}"
        if entry.map_index is not None:
            reason += ". If these are two messages to one person, give each a key of its own"
        return SendResult(self._receipt("already_sent", reason, entry.ids), entry=entry)

    def _claimed(self, reason: str, entry: Entry | None = None) -> SendResult:
        return SendResult(self._receipt("claimed", reason), entry=entry)

    def _unconfirmed(
        self, reason: str, *, cause: IntercomError | None = None, entry: Entry | None = None
    ) -> SendResult:
        error: Exception | None = None
        if self._options.on_unconfirmed == "assume_sent":
            reason = f"assumed to be sent, as on_unconfirmed says; {reason}"
        elif self._options.on_unconfirmed == "resend":
            error = AirflowException(f"{reason.rstrip('.')}. The next try sends it again, as on_unconfirmed says")
        else:
            error = MessageUnconfirmedError(f"{reason.rstrip('.')}. {self._ledger.recovery_hint}.")
        return SendResult(self._receipt("unconfirmed", reason), error, cause, entry)

    def _record(self, result: Result | None) -> None:
        """Record what came of a message that was not accepted; None when no request was made."""
        try:
            self._ledger.commit({self._digest: result}, {})
        except Exception:
            # Why it was not sent matters more than the record, which a rerun takes for an unconfirmed message.
            log.exception("The message was not sent, and the ledger could not be written")

    def _receipt(self, outcome: Outcome, reason: str, ids: Ids = NO_IDS) -> Receipt:
        message = self._message
        return Receipt(
            outcome=outcome,
            reason=reason,
            message_type=message.message_type,
            key=message.key,
            **ids._asdict(),
        )


def outcome_of(error: IntercomError) -> Outcome:
    """
    Return the outcome of a message that was not sent because of an error.

    :param error: The error of the request; not an UnconfirmedError.
    :return: ``expired``; ``not_sent`` when Intercom has not read the message; else ``rejected``.
    """
    if isinstance(error, ExpiredError):
        return "expired"
    return "not_sent" if isinstance(error, UnreachableError | RateLimitedError | StoppedError) else "rejected"
