"""
Asking for single messages, and what one poll remembers of them for the next.

Intercom reports the status of a single message with one request each. So a poll asks only for messages that are not
settled yet, in turns, and stops when enough of them are still pending: the next poll goes on from there.

One message must not end the wait for all others. So an error of one request is an error of the poll only when nothing
else is answered: a token or a server that is down fails every request. Otherwise a message that Intercom does not know,
or refuses to report, has failed; one whose request fails for a reason that may pass stays as it was.
"""

from __future__ import annotations

import logging
import time
import zlib
from base64 import b64decode, b64encode
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from intercom_provider.api import calls
from intercom_provider.api.errors import (
    IntercomError,
    NotFoundError,
    RefusedError,
    ServerError,
    UnreachableError,
)
from intercom_provider.waiting.list_position import read_count
from intercom_provider.waiting.poll import SeenStatus
from intercom_provider.waiting.statuses import StatusCounter, Summary, rank_of, read_status, status_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from intercom_provider.api.flow import Flow
    from intercom_provider.api.models import WhatsAppStatus
    from intercom_provider.waiting.poll import PollOptions

log = logging.getLogger(__name__)

_RANKS: Final = bytes(range(4))
# So many requests have to fail before a poll does.
_MAX_UNANSWERED_AT_FIRST: Final = 3
# After so many failed requests in a row it is no longer about single messages, and asking for more would take long.
_MAX_FAILED_IN_A_ROW: Final = 40
_WRONG_VERSION: Final = "intercom_version_invalid"


@dataclass(slots=True)
class LastStatuses:
    """
    The last status of every single message.

    :param ranks: The rank of the highest status that each message was seen with.
    :param next: The index of the message to ask for next; the messages behind it were asked for longest ago.
    """

    ranks: bytearray
    next: int = 0

    def status(self, index: int) -> str:
        """Return the highest status that a message was seen with."""
        return status_of(self.ranks[index])

    def update(self, index: int, status: str) -> str:
        """
        Record the status of a message.

        :param index: The message's index.
        :param status: Its status as Intercom spells it.
        :return: The status that counts; a message never goes back to a lower one.
        """
        if rank_of(status) < self.ranks[index]:
            return self.status(index)
        self.ranks[index] = rank_of(status)
        return status

    def round_robin(self) -> Iterator[int]:
        """Return the indexes of all messages, beginning with the one that was asked for longest ago."""
        return chain(range(self.next, len(self.ranks)), range(min(self.next, len(self.ranks))))

    def summary(self, *, never_sent: int, untrackable: int) -> Summary:
        """
        Count the messages.

        :param never_sent: How many more messages were not sent; they count as failed.
        :param untrackable: How many more messages may have been sent, but have no WhatsApp id; they count as sent.
        :return: The counts.
        """
        counts = {status_of(rank): self.ranks.count(rank) for rank in range(len(_RANKS))}
        return Summary(
            total=len(self.ranks) + never_sent + untrackable,
            sent=counts["sent"] + untrackable,
            delivered=counts["delivered"],
            read=counts["read"],
            failed=counts["failed"] + never_sent,
        )

    def state(self) -> dict[str, object]:
        """
        Return the statuses as JSON, compressed: Airflow's task state store takes 64 KB.

        :return: A dictionary for :meth:`resume`.
        """
        return {"ranks": b64encode(zlib.compress(self.ranks)).decode(), "next": self.next}

    @classmethod
    def resume(cls, state: object, number: int) -> Self:
        """
        Read statuses from JSON.

        :param state: The result of :meth:`state`.
        :param number: How many messages there are.
        :return: The statuses.
        :raises ValueError: When the state is something else, or that of another number of messages.
        """
        ranks = state.get("ranks") if isinstance(state, dict) else None
        if not isinstance(state, dict) or not isinstance(ranks, str):
            raise ValueError("not the statuses of messages")  # noqa: TRY004 - a stored value of any type
        try:
            read = bytearray(zlib.decompressobj().decompress(b64decode(ranks, validate=True), number + 1))
        except zlib.error as error:
            raise ValueError(str(error)) from None
        if len(read) != number or read.translate(None, _RANKS):
            raise ValueError("not the statuses of these messages")
        return cls(read, read_count(state.get("next")))


class _SeenMessage(NamedTuple):
    """A message's position, and its status; None when Intercom has not reported it."""

    position: int
    status: SeenStatus | None


class SinglePoll:
    """
    One poll of single messages: which are asked for, in what order, and what their answers mean.

    :param ids: The messages.
    :param last_statuses: Their last statuses; updated with every answer.
    :param options: The options of the poll.
    :param max_pending: After how many messages that are still pending :meth:`pending_first` ends; None for no limit.
    """

    def __init__(
        self, ids: Sequence[str], last_statuses: LastStatuses, options: PollOptions, max_pending: int | None
    ) -> None:
        self.counter = StatusCounter()
        self._ids = ids
        self._last_statuses = last_statuses
        self._options = options
        self._max_pending = max_pending
        self._asked = bytearray(len(ids))
        self._pending = 0
        self._is_answered = False
        self._failed_in_a_row = self._failed_requests = 0
        self._unanswered: list[tuple[int, str, IntercomError]] = []

    @property
    def unasked(self) -> int:
        """How many messages are pending and were not asked for."""
        return sum(self._is_pending(index) for index, asked in enumerate(self._asked) if not asked)

    def pending_first(self) -> Iterator[Flow[_SeenMessage]]:
        """Ask for pending messages in turns, until ``max_pending`` of them are still pending."""
        for index in self._last_statuses.round_robin():
            if self._max_pending is not None and self._pending >= self._max_pending:
                return
            if self._is_pending(index):
                yield self._see(index)

    def until_answered(self, pending_first: Iterator[Flow[_SeenMessage]]) -> Flow[None]:
        """Make the first calls one by one until one is answered; raise their error when none is."""
        for call in pending_first:
            self.record_pending((yield from call))
            if self._is_answered or len(self._unanswered) >= _MAX_UNANSWERED_AT_FIRST:
                break
        settled = (index for index in range(len(self._ids)) if not self._is_pending(index))
        if self._unanswered and not self._is_answered and (known := next(settled, None)) is not None:
            # Each pending message may be refused for its own sake. One that Intercom has reported before shows it.
            yield from self._see(known)
        self._raise_unless_answered()

    def record_pending(self, seen: _SeenMessage) -> None:
        """Record an answer to :meth:`pending_first`."""
        self.record(seen)
        self._asked[seen.position], self._last_statuses.next = True, (seen.position + 1) % len(self._ids)
        self._pending += seen.status is not None and self._is_pending(seen.position)

    def rest(self) -> Iterator[Flow[_SeenMessage]]:
        """See the messages that were not asked for yet; settled ones cause a request only where details are needed."""
        observer = self._options.observer
        for index, asked in enumerate(self._asked):
            if not asked:
                needs_details = observer is not None and observer.needs_details(self._last_statuses.status(index))
                ask = self._is_pending(index) or needs_details
                yield self._see(index, ask=ask)

    def record(self, seen: _SeenMessage) -> None:
        """Count the status of a message, and pass it on."""
        if seen.status is not None:
            self.counter.add(seen.status.whatsapp_message_id, seen.status.status)
            observer = self._options.observer
            if observer is not None and observer.wants(seen.status.status):
                observer.add(seen.status)

    def record_unanswered(self) -> None:
        """Record the messages whose requests failed before any was answered; raise their error when none was."""
        self._raise_unless_answered()
        for index, message_id, error in self._unanswered:
            self.record(_SeenMessage(index, self._unreported(index, message_id, error)))
        self._unanswered = []
        if self._failed_requests:
            log.warning("%d messages stay as they were, because their requests failed", self._failed_requests)
            self._failed_requests = 0

    def _raise_unless_answered(self) -> None:
        if self._unanswered and not self._is_answered:
            errors = [error for *_, error in self._unanswered]
            raise next((error for error in errors if error.transient), errors[0])

    def _is_pending(self, index: int) -> bool:
        return self._options.criteria.is_pending(self._last_statuses.status(index))

    def _see(self, index: int, *, ask: bool = True) -> Flow[_SeenMessage]:
        whatsapp_message_id = self._ids[index]
        if not ask:
            return _SeenMessage(index, SeenStatus(whatsapp_message_id, self._last_statuses.status(index)))
        limits = self._options.others if self._is_answered else self._options.first
        try:
            found = yield from calls.whatsapp_status(whatsapp_message_id, limits)
        except IntercomError as error:
            if self._options.unknown_is_pending and isinstance(error, NotFoundError):
                self._answered()
                return _SeenMessage(index, SeenStatus(whatsapp_message_id, self._last_statuses.update(index, "sent")))
            if is_unknown(error):
                self._answered()
                return _SeenMessage(index, self._unreported(index, whatsapp_message_id, error))
            over = limits.deadline is not None and time.time() >= limits.deadline
            self._failed_in_a_row += 1
            if over or self._failed_in_a_row > _MAX_FAILED_IN_A_ROW or not _may_concern_one_message(error):
                raise
            if self._is_answered:
                return _SeenMessage(index, self._unreported(index, whatsapp_message_id, error))
            self._unanswered.append((index, whatsapp_message_id, error))
            return _SeenMessage(index, None)
        self._answered()
        status, _ = read_status(found.status)
        return _SeenMessage(
            index,
            SeenStatus(
                whatsapp_message_id,
                self._last_statuses.update(index, status),
                found.conversation_id,
                None,
                reason_of(found),
                found.template_name,
                found.updated_at,
            ),
        )

    def _answered(self) -> None:
        self._is_answered, self._failed_in_a_row = True, 0

    def _unreported(self, index: int, whatsapp_message_id: str, error: IntercomError) -> SeenStatus:
        if error.transient:
            log.info("The status of a message could not be asked for: %s", error)
            self._failed_requests += 1
            return SeenStatus(whatsapp_message_id, self._last_statuses.status(index))
        status = self._last_statuses.update(index, "failed")
        return SeenStatus(whatsapp_message_id, status, reason=why_unknown(error) if status == "failed" else None)


def is_unknown(error: IntercomError) -> bool:
    """
    Check whether an error says that Intercom does not know a message.

    :param error: The error of its request.
    :return: Whether it does; a 404 without a code of Intercom's comes from something else at its address.
    """
    return isinstance(error, NotFoundError) and bool(error.code)


def reason_of(found: WhatsAppStatus) -> str | None:
    """
    Return why a message has not arrived.

    :param found: Its status.
    :return: The reason; None when there is none.
    """
    _, reason = read_status(found.status)
    return ": ".join(str(part) for part in (reason, found.error) if part) or None


def why_unknown(error: IntercomError) -> str:
    """
    Return why Intercom does not report the status of a message.

    :param error: The error of its request.
    :return: The reason, the same for all messages that are refused for the same reason.
    """
    said = f"{error.summary}. {error.advice}" if isinstance(error, NotFoundError | RefusedError) else str(error)
    return f"{'Intercom does not know this message' if is_unknown(error) else 'not known'}: {said}"


def _may_concern_one_message(error: IntercomError) -> bool:
    if isinstance(error, NotFoundError | RefusedError):
        return error.code != _WRONG_VERSION
    return isinstance(error, ServerError | UnreachableError)
