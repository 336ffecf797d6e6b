"""
The ledger of a batch in Airflow's task state store (3.3 and later).

A write per message would cost more time than the messages themselves. So one write carries the results so far and the
next intents. What may be unconfirmed after a kill is then what was under way, what was answered since the last write,
and what was intended and not sent yet. One value for all messages would be written again and again until it is too
large; so an attempt writes parts, and begins the next part when one is full:

====================================  ==================================================================
``intercom/batch``                    who writes now: an attempt that Airflow gave up for dead finds another
                                      name there, and stops; and ``lost``, the last attempt of which no
                                      record was left
``intercom/batch/{attempt}``          how many parts the attempt has written
``intercom/batch/{attempt}/{part}``   results and intents; a later part overrides an earlier one
====================================  ==================================================================

A full part is never written again, so intents without a result are carried into the next part. When such a message
turns out not to have been sent, the next part has to say so, or say again what an earlier attempt had recorded.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.ledger.ledger import LOST, RECOVERY_HINT, SupersededError, best_known, sent_ids
from intercom_provider.ledger.mapped import UNREADABLE
from intercom_provider.ledger.stored import is_count, read_part
from intercom_provider.ledger.task_state import TaskStateLedger

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from intercom_provider.ledger.ledger import Attempt, Entry, Intent, Result
    from intercom_provider.ledger.mapped import MappedInstances
    from intercom_provider.ledger.stored import Store

BATCH_KEY: Final = "intercom/batch"
"""The keys in Airflow's task state store of a task instance that sends a batch begin with this one."""

# Airflow warns above 64 KB. A part is written again at each commit, so two of this size cost less than one.
_FULL_PART_BYTES: Final = 32_000
_EMPTY_PART_BYTES: Final = 100


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


class BatchLedger(TaskStateLedger):
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
