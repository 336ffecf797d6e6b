"""
What a batch has already sent: many messages under few writes.

One write carries the results so far and the next intents. So what may be unconfirmed after a kill is what
was under way, what was answered since the last write, and what was intended and not yet sent.

In Airflow's task state store, below ``intercom/batch``:

====================================  ==================================================================
``intercom/batch``                    who writes now: an attempt that Airflow gave up for dead finds
                                      another's name there, and stops
``intercom/batch/{attempt}``          how many parts the attempt has written
``intercom/batch/{attempt}/{part}``   results and intents, at most 64 KB; what stands later counts
====================================  ==================================================================
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from intercom_provider.ledger.ledger import UNREADABLE, may_repeat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from intercom_provider.ledger.ledger import Attempt, OnUnconfirmed, Repeat, Store

KEY: Final = "intercom/batch"
"""Where in Airflow's task state store the ledger of a batch begins."""

# Airflow warns above 64 KB. A part is written again at each commit, so two of this size cost less than one.
_FULL: Final = 32_000
_OVERHEAD: Final = 100
# A max_tries that no attempt has: what it stands with was sent before the task was cleared.
_ANOTHER: Final = -1

Ids: TypeAlias = tuple[str | None, str | None]
"""Of a message that was sent: Intercom's id and WhatsApp's."""


class SupersededError(Exception):
    """Another attempt of the same task writes this ledger now; this one must not send any more."""


@dataclass(frozen=True, slots=True)
class Record:
    """
    What an earlier attempt has left of one message.

    :param state: ``sent``; or ``intent``: it may have been sent or not.
    :param ids: The ids of a message that was sent.
    :param attempt: The attempt that wrote it.
    :param max_tries: Airflow's ``max_tries`` at the time, by which a cleared task is told from a retry.
    :param map_index: Whose record it is, when another instance of the mapped task sent the message.
    """

    state: Literal["intent", "sent"]
    ids: Ids
    attempt: int
    max_tries: int
    map_index: int | None = None

    def __str__(self) -> str:
        return f"attempt {self.attempt}" if self.map_index is None else f"map index {self.map_index}"


@dataclass(slots=True)
class _Part:
    # What another attempt has left and stands again also tells that attempt's number and max_tries.
    sent: dict[str, list[str | int | None]] = field(default_factory=dict)
    intents: dict[str, tuple[int, int] | None] = field(default_factory=dict)
    not_sent: dict[str, None] = field(default_factory=dict)
    size: int = _OVERHEAD
    is_there: bool = False
    """Whether it was written; a part that is counted and not there makes all the ledger unreadable."""

    def __post_init__(self) -> None:
        self.size += sum(map(_size, self.intents))

    def value(self, max_tries: int) -> dict[str, Any]:
        return {
            "max_tries": max_tries,
            "sent": self.sent,
            "intents": [name if whose is None else [name, *whose] for name, whose in self.intents.items()],
            "not_sent": list(self.not_sent),
        }


def _size(value: object) -> int:
    return len(json.dumps(value)) + 4


class BatchLedger:
    """
    The ledger of one task instance that sends many messages.

    :param store: Airflow's ``task_state_store``; None where there is none, before Airflow 3.3.
    :param attempt: The try that asks.
    """

    def __init__(self, store: Store | None, attempt: Attempt) -> None:
        self._store = store
        self._attempt = attempt
        self._name = uuid.uuid4().hex
        self._known: dict[str, Record] = {}
        self._unreadable = False
        # Of the part that was written last; none by this ledger yet.
        self._number = 0
        self._part: _Part | None = None
        # Intents that stand in an earlier part, or may stand where a write failed: they are taken back by name.
        self._carried: set[str] = set()

    @property
    def records(self) -> bool:
        """Whether anything is kept from one attempt to the next."""
        return self._store is not None

    def open(self) -> None:
        """Take over from whoever wrote before, then read what they have left."""
        if self._store is None:
            return
        # In this order: whoever still writes afterwards finds this name, whatever they wrote before is read now.
        self._store.set(KEY, {"writer": self._name})
        self._read_all()

    def is_current(self) -> bool:
        """
        Tell whether this is the attempt that Airflow knows of, and no other one has taken over since.

        :return: False also when the ledger cannot be read.
        """
        if self._store is None:
            return True
        try:
            return self._is_writer()
        except Exception:  # noqa: BLE001 - whatever keeps it from being read, nothing is known
            return False

    def entries(self) -> dict[str, list[str | None] | None]:
        """
        Read what there is now, for the other instances of a mapped task.

        :return: By identity, the ids of what was sent, None for what may have been; the whole as ``unreadable``
            when it is.
        """
        now = BatchLedger(self._store, self._attempt)
        now._read_all()
        if now._unreadable:
            return {UNREADABLE: None}
        return {digest: list(record.ids) if record.state == "sent" else None for digest, record in now._known.items()}

    def merge_from(self, entries: Mapping[str, Any], map_index: int) -> None:
        """
        Take in what another instance of a mapped task has told of its ledger.

        :param entries: What :meth:`entries` gave there.
        :param map_index: Whose they are.
        """
        # Another index's tries say nothing about this one's; but siblings are asked only after a clear.
        max_tries = self._attempt.max_tries if self._attempt.is_retry else _ANOTHER
        for digest, ids in entries.items():
            known = self._known.get(digest)
            if known is None or (known.state == "intent" and ids is not None):
                self._known[digest] = Record(
                    "intent" if ids is None else "sent",
                    (None, None) if ids is None else (ids[0], ids[1]),
                    self._attempt.number,
                    max_tries,
                    map_index,
                )

    def find(self, digest: str) -> Record | None:
        """
        Look up what is known of a message from earlier attempts.

        :param digest: What names the message.
        :return: The record; None when the message was never attempted.
        """
        known = self._known.get(digest)
        if known is None and (self._unreadable or (self._store is None and self._attempt.number > 1)):
            return Record("intent", (None, None), self._attempt.number - 1, self._attempt.max_tries)
        return known

    def may_send(self, found: Record, repeat: Repeat | str, on_unconfirmed: OnUnconfirmed | str) -> bool:
        """
        Decide whether a message that was attempted before may be sent now.

        :param found: What :meth:`find` found.
        :param repeat: When the same message may be sent again: ``never``, ``on_clear``, ``always``.
        :param on_unconfirmed: Whether an attempt without a known outcome lets it be sent: ``resend``.
        :return: True when it may.
        """
        cleared = not self._attempt.is_retry if self._store is None else found.max_tries != self._attempt.max_tries
        return may_repeat(found.state, repeat, on_unconfirmed, was_cleared=cleared)

    def commit(self, results: Mapping[str, Ids | None], intents: Iterable[str]) -> None:
        """
        Write results and the next intents, at once; where that fails, nothing of them may be sent.

        :param results: By identity, the ids of what was sent; None for what certainly was not. What is not
            here and was intended stays an intent.
        :param intents: What is about to be sent.
        :raises SupersededError: When another attempt of the same task has taken over.
        """
        if self._store is None:
            return
        next_intents = dict.fromkeys(intents)
        growth = sum(map(_size, results.items())) + sum(map(_size, next_intents))
        part = self._part
        if part is None or (part.is_there and part.size + growth > _FULL):
            part = self._begin_part(part)
        held = set(part.intents)
        for digest, ids in results.items():
            part.size += _size((digest, ids)) - _size(digest) * (digest in part.intents)
            self._put(part, digest, ids)
        part.size += sum(map(_size, next_intents))
        part.intents |= next_intents
        try:
            self._store.set(f"{KEY}/{self._attempt.number}/{self._number}", part.value(self._attempt.max_tries))
        except BaseException:
            # Whether it was written is not known.
            self._carried |= held | next_intents.keys()
            raise
        part.is_there = True
        if not self._is_writer():
            raise SupersededError("another attempt of this task has taken over")

    def _is_writer(self) -> bool:
        assert self._store is not None  # noqa: S101 - the caller has looked
        # Airflow finds nothing at all for an attempt that it has given up for dead.
        writer = self._store.get(KEY)
        return isinstance(writer, dict) and writer.get("writer") == self._name

    def _put(self, part: _Part, digest: str, ids: Ids | None) -> None:
        part.intents.pop(digest, None)
        if ids is not None:
            part.sent[digest] = [*ids]
        elif digest in self._carried:
            # It was not sent, and an earlier part says that it may have been: what stood before stands again.
            before = self._known.get(digest)
            if before is None:
                part.not_sent[digest] = None
            elif before.state == "sent":
                part.sent[digest] = [*before.ids, before.attempt, before.max_tries]
            else:
                part.intents[digest] = (before.attempt, before.max_tries)

    def _begin_part(self, last: _Part | None) -> _Part:
        assert self._store is not None  # noqa: S101 - the caller has looked
        number = self._number + 1
        # First, so that a part is never there without being counted.
        self._store.set(f"{KEY}/{self._attempt.number}", number)
        self._number = number
        self._part = _Part(intents={} if last is None else dict(last.intents))
        self._carried |= self._part.intents.keys()
        return self._part

    def _read_all(self) -> None:
        for number in range(1, self._attempt.number + 1):
            self._number = self._read(number)

    def _read(self, attempt: int) -> int:
        assert self._store is not None  # noqa: S101 - the caller has looked
        parts = self._store.get(f"{KEY}/{attempt}")
        if parts is None:
            return 0
        if isinstance(parts, bool) or not isinstance(parts, int):
            self._unreadable = True
            return 0
        value = None
        for number in range(1, parts + 1):
            value = self._store.get(f"{KEY}/{attempt}/{number}")
            # The last part is counted before it is written; none before it can be missing.
            if value is not None or number < parts:
                self._take(value, attempt)
        return parts if value is not None else parts - 1

    def _take(self, value: Any, attempt: int) -> None:
        try:
            usual = (attempt, int(value["max_tries"]))
            intents = [(entry, *usual) if isinstance(entry, str) else tuple(entry) for entry in value["intents"]]
            records = {
                **{
                    digest: Record("sent", (ids[0], ids[1]), *(ids[2:] or usual))
                    for digest, ids in value["sent"].items()
                },
                **{digest: Record("intent", (None, None), number, tries) for digest, number, tries in intents},
            }
            not_sent = list(value["not_sent"])
        except (TypeError, KeyError, ValueError, IndexError, AttributeError):
            # Somebody has edited it. What makes no sense cannot say that nothing was sent.
            self._unreadable = True
            return
        for digest in not_sent:
            self._known.pop(digest, None)
        self._known.update(records)
