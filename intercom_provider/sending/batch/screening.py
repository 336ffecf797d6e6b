"""Decide which messages of a batch need no request: duplicates, what the ledger holds back, what must not go out."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from intercom_provider.api.message import Message
    from intercom_provider.ledger.ledger import Entry, Ledger
    from intercom_provider.sending.batch.input import Item
    from intercom_provider.sending.batch.recorder import Recorder
    from intercom_provider.sending.options import SendOptions

_LOOKED_UP_AT_ONCE: Final = 500


class Screening:
    """
    Knows which messages need no request.

    :param options: The options of the batch.
    :param ledger: The ledger, whose try has begun; None for a dry run, which touches none.
    :param reason_to_suppress: Returns why a message must not be sent; None when it may be.
    """

    def __init__(
        self,
        options: SendOptions,
        ledger: Ledger | None,
        reason_to_suppress: Callable[[Message], str | None] = lambda _: None,
    ) -> None:
        self._options = options
        self._ledger = ledger
        self._reason_to_suppress = reason_to_suppress

    def looked_up(self, items: Iterable[Item]) -> Iterator[Item]:
        """
        Let the ledger look up a few hundred messages at a time, as a query for each would take too long.

        :param items: The messages.
        :return: The same messages.
        :raises LedgerUnavailableError: When the ledger cannot be read.
        """
        items = iter(items)
        while group := list(islice(items, _LOOKED_UP_AT_ONCE)):
            if self._ledger is not None:
                self._ledger.look_up({item.digest for item in group})
            yield from group

    def find_earlier(self, item: Item) -> Entry | None:
        """
        Find the earlier attempt that holds a message back.

        :param item: The message.
        :return: Its entry in the ledger; None when it may be sent.
        """
        found = None if self._ledger is None else self._ledger.find(item.digest)
        if found is None or self._ledger is None:
            return None
        may_send = self._ledger.may_send(found, self._options.repeat, self._options.on_unconfirmed)
        return None if may_send else found

    def record_known_outcome(self, item: Item, recorder: Recorder) -> bool:
        """
        Record the outcome of a message that needs no request.

        :param item: The message.
        :param recorder: Records it.
        :return: False for a message that needs one.
        """
        if item.duplicate_of is not None:
            recorder.add(item, "duplicate", f"the same as index {item.duplicate_of}")
        elif (found := self.find_earlier(item)) is not None:
            recorder.add_earlier(item, found)
        elif item.message is None:
            recorder.add(item, "rejected", item.refusal)
        elif (reason := self._reason_to_suppress(item.message)) is not None:
            recorder.add(item, "suppressed", f"{reason}{self._describe_earlier(item)}", shared_reason=reason)
        elif self._options.not_after is not None and time.time() >= self._options.not_after:
            recorder.add(item, "expired", "not_after passed: the message was not sent")
        else:
            return False
        return True

    def _describe_earlier(self, item: Item) -> str:
        """Return what an earlier try did with a message that may be sent again, and is not."""
        found = None if self._ledger is None else self._ledger.find(item.digest)
        if found is None:
            return ""
        if found.state == "sent":
            return f"; it was sent before by {found}"
        return f"; it may have been sent before: {found.no_result}"
