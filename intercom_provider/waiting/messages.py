"""
Asking for single messages, and what one poll remembers of them for the next.

Intercom reports the status of a single message with one request each. So a poll asks only for messages that are not
settled yet, in turns, and stops when enough of them are still pending: the next poll goes on from there.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from intercom_provider.api import calls
from intercom_provider.api.errors import NotFoundError
from intercom_provider.waiting.list_position import read_count
from intercom_provider.waiting.poll import SeenStatus
from intercom_provider.waiting.statuses import StatusCounter, Summary, rank_of, status_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from intercom_provider.api.flow import Flow
    from intercom_provider.waiting.poll import PollOptions

_RANKS: Final = bytes(range(4))


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
    """The status of a message, and the message's position."""

    position: int
    status: SeenStatus


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
        self._limits = options.first
        self._asked = bytearray(len(ids))
        self._pending = 0

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

    def record_pending(self, seen: _SeenMessage) -> None:
        """Record an answer to :meth:`pending_first`."""
        self.record(seen)
        self._asked[seen.position], self._last_statuses.next = True, (seen.position + 1) % len(self._ids)
        self._pending += self._is_pending(seen.position)

    def rest(self) -> Iterator[Flow[_SeenMessage]]:
        """See the messages that were not asked for yet; settled ones cause a request only where details are needed."""
        for index, asked in enumerate(self._asked):
            if not asked:
                ask = self._is_pending(index) or self._options.needs_details(self._last_statuses.status(index))
                yield self._see(index, ask=ask)

    def record(self, seen: _SeenMessage) -> None:
        """Count the status of a message, and pass it on."""
        self.counter.add(seen.status.whatsapp_message_id, seen.status.status)
        self._options.observe(seen.status)

    def _is_pending(self, index: int) -> bool:
        return self._options.criteria.is_pending(self._last_statuses.status(index))

    def _see(self, index: int, *, ask: bool = True) -> Flow[_SeenMessage]:
        whatsapp_message_id = self._ids[index]
        if not ask:
            return _SeenMessage(index, SeenStatus(whatsapp_message_id, self._last_statuses.status(index)))
        limits, self._limits = self._limits, self._options.others
        try:
            found = yield from calls.whatsapp_status(whatsapp_message_id, limits)
        except NotFoundError:
            if not self._options.unknown_is_pending:
                raise
            return _SeenMessage(index, SeenStatus(whatsapp_message_id, self._last_statuses.update(index, "sent")))
        return _SeenMessage(
            index,
            SeenStatus(
                whatsapp_message_id,
                self._last_statuses.update(index, found.status),
                found.conversation_id,
                None,
                str(found.error) if found.error else None,
                found.template_name,
                found.updated_at,
            ),
        )
