"""
Read and write the values of a ledger in Airflow's task state store.

People and other versions of this provider may have edited a value. Fields that are unknown here are ignored. What
makes no sense is None, and never an error: the ledger takes it for a message that may have been sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from intercom_provider.ledger.ledger import NO_IDS, Entry, Ids

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_EPOCH_SECONDS: Final = 100_000_000_000


class Store(Protocol):
    """A key-value store whose values are durable when ``set`` returns, and never expire."""

    def get(self, key: str) -> Any:
        """Read a value; None when there is none."""

    def set(self, key: str, value: Any) -> None:
        """Write a value, JSON."""


def is_count(value: object) -> bool:
    """
    Check whether a value is a whole number from 0 on.

    :param value: Any JSON.
    :return: True when it is; True and False are not.
    """
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def entry_to_json(entry: Entry) -> dict[str, Any]:
    """
    Return the value of one message's entry.

    :param entry: The entry.
    :return: JSON.
    """
    value: dict[str, Any] = {
        "state": entry.state,
        "attempt": entry.attempt,
        "max_tries": entry.max_tries,
        "at": entry.at,
    }
    if entry.state == "sent":
        value["ids"] = {name: each for name, each in entry.ids._asdict().items() if each is not None}
    return value


def entry_from_json(value: Any) -> Entry | None:
    """
    Read the value of one message's entry.

    :param value: Any JSON.
    :return: The entry; None when the value makes no sense.
    """
    if not isinstance(value, dict):
        return None
    state, at = value.get("state"), value.get("at")
    written_by: tuple[Any, Any] = value.get("attempt"), value.get("max_tries")
    if state not in ("intent", "sent") or not all(map(is_count, written_by)):
        return None
    ids: Ids | None = NO_IDS
    if state == "sent":
        stored = value.get("ids")
        ids = read_ids([stored.get(name) for name in Ids._fields]) if isinstance(stored, dict) else None
    is_time = isinstance(at, int | float) and 0 <= at < _MAX_EPOCH_SECONDS
    return None if ids is None else Entry(state, *written_by, ids, at if is_time else None)


class Part(NamedTuple):
    """
    A part of a batch's ledger.

    :param entries: The entries by digest; None for one that makes no sense.
    :param not_sent: The digests of messages whose intent was withdrawn.
    """

    entries: dict[str, Entry | None]
    not_sent: list[str]


def read_part(value: Any, attempt: int) -> Part | None:
    """
    Read a part of a batch's ledger.

    :param value: Any JSON.
    :param attempt: The attempt that wrote it.
    :return: The part; None when the value makes no sense.
    """
    if not isinstance(value, dict) or not is_count(value.get("max_tries")):
        return None
    written_by = attempt, value["max_tries"]
    sent, intents, not_sent = (value.get(name) for name in ("sent", "intents", "not_sent"))
    if not isinstance(sent, dict) or not isinstance(intents, list) or not isinstance(not_sent, list):
        return None
    entries = {digest: _read_sent(packed, written_by) for digest, packed in sent.items()}
    for packed in intents:
        # A digest alone; in front of the attempt and max_tries of an intent that an earlier attempt wrote.
        digest, *earlier = packed if isinstance(packed, list) and packed else [packed]
        if not isinstance(digest, str):
            return None
        by = earlier[:2] or written_by
        entries[digest] = Entry("intent", *by) if len(by) == len(written_by) and all(map(is_count, by)) else None
    return Part(entries, not_sent) if all(isinstance(digest, str) for digest in not_sent) else None


def _read_sent(packed: Any, written_by: tuple[int, int]) -> Entry | None:
    # Ids begin with text; an entry that an earlier attempt wrote begins with its attempt and max_tries.
    if isinstance(packed, list) and packed and is_count(packed[0]):
        attempt, max_tries, packed = [*packed, None, None][:3]
        written_by = attempt, max_tries
    ids = read_ids(packed) if isinstance(packed, list) and packed else None
    return None if ids is None or not all(map(is_count, written_by)) else Entry("sent", *written_by, ids)


def read_ids(values: Sequence[Any]) -> Ids | None:
    """
    Read ids in the order of :class:`Ids`.

    :param values: Any JSON array; more values than there are ids are a newer version's.
    :return: The ids; None when one makes no sense.
    """
    ids = Ids(*values[: len(Ids._fields)])
    *texts, created_at = ids
    is_sensible = all(isinstance(each, str | None) for each in texts) and (created_at is None or is_count(created_at))
    return ids if is_sensible else None
