"""
The ledger in Airflow's task state store (3.3 and later): of one message, and of the many messages of a batch.

A read or write takes Airflow some milliseconds, and a value should stay below 64 KB.

One message costs a read and three writes of one value, ``intercom/ledger``: the entries by digest, and ``lost``, the
last attempt of which no record was left. Without entries the value says that a try began and nothing was sent.

For a batch, a write per message would cost more time than the messages themselves. So one write carries the results so
far and the next intents. What may be unconfirmed after a kill is then what was under way, what was answered since the
last write, and what was intended and not sent yet. One value for all messages would be written again and again until
it is too large; so an attempt writes parts, and begins the next part when one is full:

====================================  ==================================================================
``intercom/batch``                    who writes now: an attempt that Airflow gave up for dead finds another
                                      name there, and stops; and ``lost``, as above
``intercom/batch/{attempt}``          how many parts the attempt has written
``intercom/batch/{attempt}/{part}``   results and intents; a later part overrides an earlier one
====================================  ==================================================================

A full part is never written again, so intents without a result are carried into the next part. When such a message
turns out not to have been sent, the next part has to say so, or say again what an earlier attempt had recorded.

What somebody has edited so that it makes no sense (``stored.py``) cannot prove that nothing was sent. It counts as an
intent: of one message, or of every message that no other record knows.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.ledger.ledger import (
    LOST,
    LOST_HINT,
    RECOVERY_HINT,
    Entry,
    SupersededError,
    best_known,
    lost_records,
    may_repeat,
    sent_ids,
)
from intercom_provider.ledger.mapped import UNREADABLE
from intercom_provider.ledger.stored import entry_from_json, entry_to_json, is_count, read_part

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from intercom_provider.ledger.ledger import Attempt, Intent, OnUnconfirmed, Repeat, Result
    from intercom_provider.ledger.mapped import MappedInstances
    from intercom_provider.ledger.stored import Store

log = logging.getLogger(__name__)

MESSAGE_KEY: Final = "intercom/ledger"
"""The key in Airflow's task state store of a task instance that sends one message."""

BATCH_KEY: Final = "intercom/batch"
"""The keys in Airflow's task state store of a task instance that sends a batch begin with this one."""

MAX_OPEN_INTENTS: Final = 100
"""How many messages of a batch are intended and without a result at most."""

# Airflow warns above 64 KB. A part is written again at each commit, so two of this size cost less than one.
_FULL_PART_BYTES: Final = 32_000
_EMPTY_PART_BYTES: Final = 100


class _TaskStateLedger:
    """What the ledger of one message and that of a batch have in common."""

    keeps_records = True
    may_send_now = True
    wants_commit = False
    max_open = max_waiting = MAX_OPEN_INTENTS

    def __init__(
        self, store: Store, attempt: Attempt, mapped_instances: MappedInstances | None = None, *, salt: str = ""
    ) -> None:
        self.salt = salt
        self._store = store
        self._attempt = attempt
        self._mapped_instances = mapped_instances
        self._unreadable = Entry(
            "intent",
            attempt.number - 1,
            attempt.max_tries,
            note="the record in Airflow's task state store is unreadable",
        )

    def look_up(self, digests: Collection[str]) -> None:
        """Do nothing: the whole ledger was read when the try began."""

    def may_send(self, entry: Entry, repeat: Repeat | str, on_unconfirmed: OnUnconfirmed | str) -> bool:
        """Decide by :func:`intercom_provider.ledger.ledger.may_repeat`."""
        return may_repeat(entry, self._attempt, repeat, on_unconfirmed)

    def is_current(self) -> bool:
        """Check whether no other attempt of the task has taken over; False also when the store does not answer."""
        try:
            return self._is_current()
        except Exception:  # noqa: BLE001 - whatever the store raises, it cannot confirm this attempt
            return False

    def _is_current(self) -> bool:
        raise NotImplementedError

    def _lost(self, stored: Any) -> dict[str, Entry]:
        """
        Return the entry that stands for all messages when the records of earlier tries are gone, and warn of it.

        :param stored: The value in which each try leaves a record when it begins; None when there is none.
        :return: The entry by its digest; empty when no record is missing.
        """
        lost = self._attempt.number - 1
        if isinstance(stored, dict):
            if LOST not in stored:
                return {}
            lost = stored[LOST] if is_count(stored[LOST]) else lost
        elif stored is None and not self._attempt.may_have_lost_records:
            return {}
        entry = lost_records(lost)
        log.warning(
            "Nobody knows what this task has sent before: %s. Unless repeat lets it be sent again, on_unconfirmed "
            'decides: "fail", "resend" or "assume_sent". %s',
            entry.note,
            LOST_HINT,
        )
        return {LOST: entry}

    def _publish(self, entries: Mapping[str, Entry], *, is_final: bool = True) -> None:
        if self._mapped_instances is not None:
            self._mapped_instances.publish(entries, is_final=is_final)


class MessageLedger(_TaskStateLedger):
    """
    The ledger of a task instance that sends one message.

    An entry keeps the state of the last attempt only, so this ledger cannot raise SupersededError: an attempt that
    Airflow gave up for dead is noticed only before it would withdraw the intent of a later one.

    :param store: Airflow's ``task_state_store``.
    :param attempt: The attempt.
    :param mapped_instances: The other instances of a mapped task; None (default) when it is not mapped.
    :param salt: What digests are salted with.
    :param key: The key in the store (default ``intercom/ledger``).
    """

    def __init__(
        self,
        store: Store,
        attempt: Attempt,
        mapped_instances: MappedInstances | None = None,
        *,
        salt: str = "",
        key: str = MESSAGE_KEY,
    ) -> None:
        super().__init__(store, attempt, mapped_instances, salt=salt)
        self._key = key
        self._at_begin: dict[str, Entry] = {}
        self._entries: dict[str, Entry] = {}
        self._asks_others = False

    @property
    def recovery_hint(self) -> str:
        """What a person can do about a message whose outcome is unknown."""
        return f"{RECOVERY_HINT}. {LOST_HINT}" if LOST in self._at_begin else RECOVERY_HINT

    def begin_try(self, *, read_only: bool = False) -> None:
        """Read the entries, leave a record that the try began, and publish the entries."""
        stored = self._store.get(self._key)
        self._at_begin = self._unpack(stored)
        if not read_only:
            self._at_begin |= self._lost(stored)
            if stored is None:
                self._write(self._at_begin)
        self._entries = dict(self._at_begin)
        self._publish(self._entries)

    def include_mapped_instances(self) -> None:
        """Let :meth:`find` ask the other instances about a message that is not known here."""
        self._asks_others = True

    def find(self, digest: str) -> Entry | None:
        """Find what is known of a message, here or else in another instance of the mapped task."""
        known = self._at_begin.get(digest) or self._at_begin.get(UNREADABLE)
        if known is None and self._mapped_instances is not None and self._asks_others:
            # Entries of another recipient at this index show that the mapped list has changed.
            known = self._mapped_instances.look_up(digest, changed=bool(self._at_begin))
        return known or self._at_begin.get(LOST)

    def commit(self, results: Mapping[str, Result | None], intents: Mapping[str, Intent]) -> Collection[str]:
        """Write results and intents; a later attempt's entry is left alone by a message that was not sent."""
        now, number, max_tries = time.time(), self._attempt.number, self._attempt.max_tries
        before = self._entries
        entries = dict(before)
        for digest, ids in sent_ids(results).items():
            if ids is not None:
                entries[digest] = Entry("sent", number, max_tries, ids, now)
            elif self._is_own_intent(digest):
                entries.pop(digest, None)
                entries |= {name: entry for name, entry in self._at_begin.items() if name == digest}
        entries |= {digest: Entry("intent", number, max_tries, at=now) for digest in intents}
        if entries == before:
            return ()
        self._write(entries)
        self._entries = entries
        self._publish(entries)
        return ()

    def end_try(self) -> None:
        """Do nothing: each commit has published all there is."""

    def _is_current(self) -> bool:
        return all(entry.attempt <= self._attempt.number for entry in self._unpack(self._store.get(self._key)).values())

    def _is_own_intent(self, digest: str) -> bool:
        entry = self._unpack(self._store.get(self._key)).get(digest)
        return entry is not None and entry.attempt == self._attempt.number

    def _write(self, entries: Mapping[str, Entry]) -> None:
        value = {digest: entry.attempt if digest == LOST else entry_to_json(entry) for digest, entry in entries.items()}
        self._store.set(self._key, value)

    def _unpack(self, stored: Any) -> dict[str, Entry]:
        if stored is None:
            return {}
        if not isinstance(stored, dict):
            return {UNREADABLE: self._unreadable}
        return {digest: entry_from_json(each) or self._unreadable for digest, each in stored.items() if digest != LOST}


@dataclass(slots=True)
class _Part:
    # An entry of an earlier attempt that is written again carries the number and max_tries of that attempt.
    sent: dict[str, list[Any]] = field(default_factory=dict)
    intents: dict[str, tuple[int, int] | None] = field(default_factory=dict)
    not_sent: dict[str, None] = field(default_factory=dict)
    size: int = _EMPTY_PART_BYTES
    is_written: bool = False
    """Whether it is in the store; when a part is counted and missing, the whole ledger is unreadable."""

    def __post_init__(self) -> None:
        self.size += sum(map(_json_size, self.intents))

    def value(self, max_tries: int) -> dict[str, Any]:
        return {
            "max_tries": max_tries,
            "sent": self.sent,
            "intents": [digest if earlier is None else [digest, *earlier] for digest, earlier in self.intents.items()],
            "not_sent": list(self.not_sent),
        }


def _json_size(value: object) -> int:
    return len(json.dumps(value)) + 4


class BatchLedger(_TaskStateLedger):
    """
    The ledger of a task instance that sends many messages.

    :param store: Airflow's ``task_state_store``.
    :param attempt: The attempt.
    :param mapped_instances: The other instances of a mapped task; None (default) when it is not mapped.
    :param salt: What digests are salted with.
    """

    recovery_hint = RECOVERY_HINT

    def __init__(
        self, store: Store, attempt: Attempt, mapped_instances: MappedInstances | None = None, *, salt: str = ""
    ) -> None:
        super().__init__(store, attempt, mapped_instances, salt=salt)
        self._writer = uuid.uuid4().hex
        self._known: dict[str, Entry] = {}
        self._known_elsewhere: dict[str, Entry] = {}
        # The number of the part that was written last, by whichever process; the part itself once this one writes.
        self._number = 0
        self._part: _Part | None = None
        # Intents that are in an earlier part, or may be in one whose write failed: they have to be withdrawn by name.
        self._carried: set[str] = set()
        self._has_published_intents = False

    def begin_try(self, *, read_only: bool = False) -> None:
        """Take over from the process that wrote before, then read and publish what it has left."""
        if not read_only:
            lost = self._lost(self._store.get(BATCH_KEY))
            # In this order: a process that still writes finds this name; what it wrote before that is read now.
            numbers = {digest: entry.attempt for digest, entry in lost.items()}
            self._store.set(BATCH_KEY, {"writer": self._writer, **numbers})
            self._known |= lost
        self._read_all()
        self._publish(self._known)

    def include_mapped_instances(self) -> None:
        """Read what all other instances of the mapped task have published."""
        if self._mapped_instances is not None:
            self._known_elsewhere = self._mapped_instances.look_up_all()

    def find(self, digest: str) -> Entry | None:
        """Find what is known of a message, here or in another instance of the mapped task."""
        here, elsewhere = self._known, self._known_elsewhere
        known = best_known((here.get(digest), elsewhere.get(digest)))
        return known or here.get(UNREADABLE) or here.get(LOST) or elsewhere.get(LOST)

    def commit(self, results: Mapping[str, Result | None], intents: Mapping[str, Intent]) -> Collection[str]:
        """Write results and intents with one call; raise SupersededError when another process has taken over."""
        next_intents = dict.fromkeys(intents)
        if next_intents and not self._has_published_intents:
            # From here on more may be sent than was published; if this process is killed, the others must know that.
            self._publish(self._known, is_final=False)
            self._has_published_intents = True
        packed = {digest: None if ids is None else ids.pack() for digest, ids in sent_ids(results).items()}
        growth = sum(map(_json_size, packed.items())) + sum(map(_json_size, next_intents))
        part = self._part
        if part is None or (part.is_written and part.size + growth > _FULL_PART_BYTES):
            part = self._begin_part(part)
        intents_before = set(part.intents)
        for digest, ids in packed.items():
            part.size += _json_size((digest, ids)) - _json_size(digest) * (digest in part.intents)
            self._put(part, digest, ids)
        part.size += sum(map(_json_size, next_intents))
        part.intents |= next_intents
        try:
            self._store.set(f"{BATCH_KEY}/{self._attempt.number}/{self._number}", part.value(self._attempt.max_tries))
        except BaseException:
            # Whether the part was written is unknown.
            self._carried |= intents_before | next_intents.keys()
            raise
        part.is_written = True
        if not self._is_current():
            raise SupersededError("another attempt of this task has taken over")
        return ()

    def end_try(self) -> None:
        """Publish what was sent, unless another process has taken over, which publishes itself."""
        if self._mapped_instances is not None and self.is_current():
            self._publish(self.entries())

    def entries(self) -> dict[str, Entry]:
        """
        Read all that the store holds now.

        :return: The entries by digest; one of the digest ``unreadable`` when there is more that cannot be read.
        """
        now = BatchLedger(self._store, self._attempt)
        now._known = {digest: entry for digest, entry in self._known.items() if digest == LOST}
        now._read_all()
        return now._known

    def _is_current(self) -> bool:
        # For an attempt that it has given up for dead, Airflow finds no value at all.
        stored = self._store.get(BATCH_KEY)
        return isinstance(stored, dict) and stored.get("writer") == self._writer

    def _put(self, part: _Part, digest: str, ids: list[Any] | None) -> None:
        part.intents.pop(digest, None)
        if ids is not None:
            part.sent[digest] = ids
        elif digest in self._carried:
            # An earlier part says that it may have been sent. What stood there before this attempt stands again.
            before = self._known.get(digest)
            if before is None:
                part.not_sent[digest] = None
            elif before.state == "sent":
                part.sent[digest] = [before.attempt, before.max_tries, before.ids.pack()]
            else:
                part.intents[digest] = (before.attempt, before.max_tries)

    def _begin_part(self, last: _Part | None) -> _Part:
        number = self._number + 1
        # The count first, so that no part is ever in the store without being counted.
        self._store.set(f"{BATCH_KEY}/{self._attempt.number}", number)
        self._number = number
        self._part = _Part(intents={} if last is None else dict(last.intents))
        self._carried |= self._part.intents.keys()
        return self._part

    def _read_all(self) -> None:
        for number in range(1, self._attempt.number + 1):
            self._number = self._read_attempt(number)

    def _read_attempt(self, attempt: int) -> int:
        """Read the parts of an attempt, also when their count is wrong; return the number of the last one."""
        count = self._store.get(f"{BATCH_KEY}/{attempt}")
        expected = count if is_count(count) else 0
        last = missing = 0
        number = 1
        # One more than were counted, because a count may have been edited; and not a million, for the same reason.
        while number <= max(expected, last) + 1 and number <= last + 2:
            value = self._store.get(f"{BATCH_KEY}/{attempt}/{number}")
            if value is not None:
                missing += number - last - 1
                last = number
                self._add_part(value, attempt)
            number += 1
        # A part is counted before it is written, so the last one may be missing, and only the last.
        is_consistent = (
            last == 0 if count is None else count in (max(last, 1), last + 1) and not isinstance(count, bool)
        )
        if missing or not is_consistent:
            self._known[UNREADABLE] = self._unreadable
        return last

    def _add_part(self, value: Any, attempt: int) -> None:
        part = read_part(value, attempt)
        if part is None:
            self._known[UNREADABLE] = self._unreadable
            return
        for digest in part.not_sent:
            self._known.pop(digest, None)
        for digest, entry in part.entries.items():
            # An entry that makes no sense says less than what an earlier attempt has written.
            self._known[digest] = entry or self._known.get(digest, self._unreadable)
