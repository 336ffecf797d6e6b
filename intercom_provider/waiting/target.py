"""
Which messages a wait is for: a ruleset's or single ones, with what one poll remembers of them for the next.

That memory saves requests. Without it a poll reads everything, so a lost or unreadable memory is never an error.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from intercom_provider.api.errors import IntercomError
from intercom_provider.api.parallel import Parallel
from intercom_provider.results.message_ids import StreamedIds
from intercom_provider.waiting.list_position import MAX_PARTIAL_POLLS, ListPosition, read_list, read_part_of_list
from intercom_provider.waiting.messages import LastStatuses, SinglePoll
from intercom_provider.waiting.poll import FullPoll, PartialPoll

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from intercom_provider.api.flow import Flow
    from intercom_provider.api.parallel import ParallelFlow
    from intercom_provider.waiting.poll import PollOptions
    from intercom_provider.waiting.statuses import Summary

Target: TypeAlias = "RulesetTarget | MessagesTarget"

MAX_PENDING_A_POLL: Final = 2_500
"""After so many single messages that are still pending a poll ends: a quarter of what Intercom takes a minute."""


class RulesetTarget:
    """
    The messages of a WhatsApp Outbound message that was made in Intercom; as a string, their description.

    :param ruleset_id: The Outbound message's id.
    :param created_after: Epoch seconds from which on events count; None (default) for all.
    """

    reads_files: Final = False

    def __init__(self, ruleset_id: str, created_after: float | None = None) -> None:
        self.ruleset_id: str = ruleset_id
        self._created_after = created_after
        self._position: ListPosition | None = None

    def __str__(self) -> str:
        return f"WhatsApp ruleset {self.ruleset_id}"

    @property
    def digest(self) -> str:
        """A few characters that differ between targets."""
        return _digest(self.ruleset_id, str(self._created_after))

    def poll(self, options: PollOptions) -> Flow[FullPoll | PartialPoll]:
        """
        Read the ruleset's list: all of it, or as much as shows that the wait goes on.

        :param options: The options of the poll.
        :return: The result.
        :raises IntercomError: When a page could not be read.
        """
        partial = None
        if self._position and not options.full and self._position.partial_polls < MAX_PARTIAL_POLLS:
            try:
                partial = yield from read_part_of_list(self.ruleset_id, self._created_after, self._position, options)
            except IntercomError as error:
                if error.transient:
                    raise
                # Intercom may have refused an old cursor. Any other reason makes the full poll fail as well.
            if partial is None:
                self._position = None
            elif options.may_stop_early or not partial.may_be_settled:
                return partial
            else:
                # The first request of this poll has succeeded, so no other is to end it at once.
                options = replace(options, first=options.others)
        found, self._position = yield from read_list(self.ruleset_id, self._created_after, options)
        return found

    def arguments(self) -> dict[str, object]:
        """
        Return what another process needs to make the same target.

        :return: JSON, for :func:`resume_target`.
        """
        return {"ruleset_id": self.ruleset_id, "created_after": self._created_after}

    def state(self) -> dict[str, object]:
        """
        Return what has to be remembered from one poll to the next.

        :return: JSON, for :meth:`resume`.
        """
        return {"digest": self.digest, "position": self._position.state() if self._position else None}

    def resume(self, state: object) -> None:
        """
        Go on with the position that another process remembered.

        :param state: The result of :meth:`state`.
        """
        self._position = None
        if isinstance(state, dict) and state.get("digest") == self.digest:
            with suppress(ValueError):
                self._position = ListPosition.resume(state.get("position"))


class MessagesTarget:
    """
    Single WhatsApp messages; as a string, their description.

    :param whatsapp_message_ids: Their ids, in an order that stays the same.
    :param never_sent: How many more messages were not sent (default 0); they count as failed.
    :param untrackable: How many more messages may have been sent, but have no WhatsApp id (default 0); they count as
        sent, so they stay pending.
    :param max_pending_a_poll: After how many messages that are still pending a poll ends (default 2,500).
    """

    ruleset_id: Final = None

    def __init__(
        self,
        whatsapp_message_ids: Sequence[str],
        *,
        never_sent: int = 0,
        untrackable: int = 0,
        max_pending_a_poll: int = MAX_PENDING_A_POLL,
    ) -> None:
        self._ids = whatsapp_message_ids
        self._never_sent = never_sent
        self._untrackable = untrackable
        self._max_pending_a_poll = max_pending_a_poll
        self._last_statuses = LastStatuses(bytearray(len(whatsapp_message_ids)))
        self.reads_files = isinstance(whatsapp_message_ids, StreamedIds)

    def __str__(self) -> str:
        return f"{self.total} WhatsApp message{'' if self.total == 1 else 's'}"

    @property
    def total(self) -> int:
        """How many messages there are."""
        return len(self._ids) + self._never_sent + self._untrackable

    @property
    def digest(self) -> str:
        """A few characters that differ between targets."""
        return _digest(*([str(self._ids.state())] if isinstance(self._ids, StreamedIds) else self._ids))

    def poll(self, options: PollOptions) -> ParallelFlow[FullPoll | PartialPoll]:
        """
        Ask for the pending messages, and for all others when the messages may be settled.

        They are asked for one by one until one is answered. When none of the first is, the others would fail as well.

        :param options: The options of the poll.
        :return: The result.
        :raises IntercomError: When a message could not be asked for.
        """
        asking = SinglePoll(self._ids, self._last_statuses, options, None if options.full else self._max_pending_a_poll)
        try:
            pending_first = asking.pending_first()
            yield from asking.until_answered(pending_first)
            yield Parallel(pending_first, asking.record_pending)
            asking.record_unanswered()
            summary = self._summary()
            may_be_settled = options.criteria.is_settled(summary, options.growth, options.now)
            if not options.full and (options.may_stop_early or not may_be_settled):
                return PartialPoll(
                    may_be_settled=may_be_settled,
                    total=summary.total,
                    counter=asking.counter,
                    summary=summary,
                    unasked=asking.unasked,
                )
            yield Parallel(asking.rest(), asking.record)
            asking.record_unanswered()
            asking.counter.summarize()
            return FullPoll(self._summary(), asking.counter)
        finally:
            if isinstance(self._ids, StreamedIds):
                self._ids.close()

    def arguments(self) -> dict[str, object]:
        """
        Return what another process needs to make the same target: ids, or the files that hold them, and numbers.

        :return: JSON, for :func:`resume_target`.
        """
        return {
            "whatsapp_message_ids": self._ids.state() if isinstance(self._ids, StreamedIds) else list(self._ids),
            "never_sent": self._never_sent,
            "untrackable": self._untrackable,
        }

    def state(self) -> dict[str, object]:
        """
        Return what has to be remembered from one poll to the next.

        :return: JSON, for :meth:`resume`.
        """
        return {"digest": self.digest, "last_statuses": self._last_statuses.state()}

    def resume(self, state: object) -> None:
        """
        Go on with the statuses that another process remembered.

        :param state: The result of :meth:`state`.
        """
        self._last_statuses = LastStatuses(bytearray(len(self._ids)))
        if isinstance(state, dict) and state.get("digest") == self.digest:
            with suppress(ValueError):
                self._last_statuses = LastStatuses.resume(state.get("last_statuses"), len(self._ids))

    def _summary(self) -> Summary:
        return self._last_statuses.summary(never_sent=self._never_sent, untrackable=self._untrackable)


def resume_target(arguments: Mapping[str, Any]) -> Target:
    """
    Make the target that another process had.

    :param arguments: The result of the target's ``arguments``.
    :return: The target, which remembers nothing yet.
    """
    if "ruleset_id" in arguments:
        return RulesetTarget(**arguments)
    ids = arguments["whatsapp_message_ids"]
    read = StreamedIds.resume(ids) if isinstance(ids, dict) else tuple(ids)
    return MessagesTarget(**{**arguments, "whatsapp_message_ids": read})


def _digest(*parts: str) -> str:
    return blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()
