"""
Delivery statuses, and counting messages by them.

Intercom can list a message more than once, also with different statuses, and a list may hold millions of messages. So
a message counts once, with its highest status, and the counter must stay small. A dictionary of ids needs some 200
bytes a message; :class:`StatusCounter` keeps 62 bits of each id's hash and two bits of rank in one sorted array, which
is eight bytes. Two of a million messages share those 62 bits with a probability of one in ten million.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from intercom_provider.fields import WaitFor

Status: TypeAlias = Literal["sent", "failed", "delivered", "read"]

# A message that is listed with several statuses counts once, with the highest. Failed ranks below delivered: a message
# that is listed as both has arrived, and must not be sent again by another channel.
_RANKS: Final[dict[str, int]] = {"sent": 0, "failed": 1, "delivered": 2, "read": 3}
_STATUSES: Final[tuple[Status, ...]] = ("sent", "failed", "delivered", "read")
_SETTLED: Final[dict[WaitFor, frozenset[str]]] = {
    "delivered": frozenset({"failed", "delivered", "read"}),
    "read": frozenset({"failed", "read"}),
}
_NEVER_ARRIVES: Final = frozenset(
    {"undelivered", "undeliverable", "not_delivered", "deleted", "expired", "rejected", "canceled", "cancelled"}
)
_RANK_BITS: Final = 0b11
_DIGEST_BITS: Final = 2**64 - 1 - _RANK_BITS
_MAX_UNDIVIDED: Final = 10_000
_MAX_UNKNOWN_STATUSES: Final = 20
_MAX_STATUS_CHARS: Final = 50


def rank_of(status: str) -> int:
    """
    Return the rank of a status.

    :param status: The status as Intercom spells it.
    :return: 0 for ``sent`` and for an unknown status, then 1 to 3 for ``failed``, ``delivered``, ``read``.
    """
    return _RANKS.get(status, 0)


def read_status(word: str) -> tuple[str, str | None]:
    """
    Return the status that a word means.

    :param word: The word, in lower case.
    :return: The status, ``failed`` for words that say that a message never arrives, and then the reason; else None.
    """
    return ("failed", f"the status is {word!r}") if word in _NEVER_ARRIVES else (word, None)


def read_statuses(words: list[str]) -> list[str]:
    """
    Return the statuses that words mean.

    :param words: The words, in lower case.
    :return: Their statuses, as :func:`read_status` returns them.
    """
    # Nearly every page has known words only, and a set shows it at once.
    return words if _RANKS.keys() >= set(words) else [read_status(word)[0] for word in words]


def status_of(rank: int) -> Status:
    """
    Return the status that has a rank.

    :param rank: A rank, as :func:`rank_of` returns it.
    :return: The status.
    """
    return _STATUSES[rank]


def settled_statuses(wait_for: WaitFor) -> frozenset[str]:
    """
    Return the statuses of settled messages; a message with any other status is pending.

    :param wait_for: The status that messages have to reach.
    :return: The statuses that reach it, and ``failed``.
    """
    return _SETTLED[wait_for]


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of messages by status; the four statuses add up to ``total``."""

    total: int = 0
    sent: int = 0
    delivered: int = 0
    read: int = 0
    failed: int = 0


class StatusCounter:
    """
    Counts every message once, by its highest status, in about nine bytes a message.

    Sorting puts the entries of one message side by side, the highest rank last. From 10,000 entries on they are kept
    in 256 parts that are sorted one by one, because a sort copies what it sorts.
    """

    def __init__(self) -> None:
        self._parts = [array("Q")]
        self._shift = 64
        self._claimed: list[bytearray] = []
        self.unknown: set[str] = set()
        self.unreadable = 0

    def add(self, message_id: str, status: str) -> None:
        """
        Count a message; calling it again for the same message is allowed.

        :param message_id: An id that no other message has.
        :param status: Its status as Intercom spells it.
        """
        self.add_all((message_id,), (status,))

    def add_all(self, message_ids: Iterable[str], statuses: Iterable[str]) -> None:
        """
        Count messages; see :meth:`add`.

        :param message_ids: Their ids.
        :param statuses: Their statuses, in the same order.
        """
        parts, shift, rank_for, digest_bits = self._parts, self._shift, _RANKS.get, _DIGEST_BITS
        for message_id, status in zip(message_ids, statuses, strict=True):
            rank = rank_for(status)
            if rank is None:
                rank = 0
                if len(self.unknown) < _MAX_UNKNOWN_STATUSES:
                    self.unknown.add(status[:_MAX_STATUS_CHARS])
            # Python salts the hash of a text per process. That is fine, because a counter never leaves its process.
            digest = hash(message_id) & digest_bits
            parts[digest >> shift].append(digest | rank)
        if len(parts) == 1 and len(parts[0]) >= _MAX_UNDIVIDED:
            self._divide()

    def summarize(self) -> Summary:
        """
        Return the counts; nothing may be added afterwards.

        :return: The summary.
        """
        counts = [0, 0, 0, 0]
        for index, part in enumerate(self._parts):
            # Of the entries of one message the last one stays, which has the highest rank.
            kept = {entry & _DIGEST_BITS: entry for entry in sorted(part)}.values()
            ranks = bytes([entry & _RANK_BITS for entry in kept])
            counts = [count + ranks.count(rank) for rank, count in enumerate(counts)]
            self._parts[index] = array("Q", kept)
        self._claimed = [bytearray(len(part)) for part in self._parts]
        return Summary(total=sum(counts), **dict(zip(_STATUSES, counts, strict=True)))

    def _divide(self) -> None:
        (everything,), self._shift = self._parts, 56
        self._parts = [array("Q") for _ in range(256)]
        for entry in everything:
            self._parts[entry >> self._shift].append(entry)

    def counts_as(self, message_id: str, status: str) -> bool:
        """
        Check whether a message was counted with a status; call it after :meth:`summarize`.

        :param message_id: The id that was added.
        :param status: A status that was added with it.
        :return: False when a higher status was added as well.
        """
        return self._find(message_id, status) is not None

    def claim_once(self, message_id: str, status: str) -> bool:
        """
        Claim a message with the status that it was counted with; call it after :meth:`summarize`.

        :param message_id: The id that was added.
        :param status: A status that was added with it.
        :return: True for the first call that has the counted status, else False.
        """
        found = self._find(message_id, status)
        if found is None or self._claimed[found[0]][found[1]]:
            return False
        self._claimed[found[0]][found[1]] = 1
        return True

    def _find(self, message_id: str, status: str) -> tuple[int, int] | None:
        entry = hash(message_id) & _DIGEST_BITS | rank_of(status)
        part = self._parts[entry >> self._shift]
        index = bisect_left(part, entry)
        return (entry >> self._shift, index) if index < len(part) and part[index] == entry else None
