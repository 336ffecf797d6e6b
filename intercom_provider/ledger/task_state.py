"""
The ledger in Airflow's task state store (3.3 and later) for one message, and what it shares with that of a batch.

A read or write takes Airflow some milliseconds, and a value should stay below 64 KB.

One message costs a read and three writes of one value, ``intercom/ledger``: the entries by digest, and ``lost``, the
last attempt of which no record was left. Without entries the value says that a try began and nothing was sent.

What somebody has edited so that it makes no sense (``stored.py``) cannot prove that nothing was sent. It counts as an
intent: of one message, or of every message that no other record knows.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.ledger.ledger import (
    LOST,
    LOST_HINT,
    RECOVERY_HINT,
    Entry,
    lost_records,
    may_repeat,
    sent_ids,
)
from intercom_provider.ledger.mapped import UNREADABLE
from intercom_provider.ledger.stored import entry_from_json, entry_to_json, is_count

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from intercom_provider.ledger.ledger import Attempt, Intent, OnUnconfirmed, Repeat, Result
    from intercom_provider.ledger.mapped import MappedInstances
    from intercom_provider.ledger.stored import Store

log = logging.getLogger(__name__)

MESSAGE_KEY: Final = "intercom/ledger"
"""The key in Airflow's task state store of a task instance that sends one message."""
MAX_OPEN_INTENTS: Final = 100
"""How many messages of a batch are intended and without a result at most."""


class TaskStateLedger:
    """The common part of the ledgers of one message and of a batch."""

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


class MessageLedger(TaskStateLedger):
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
        """The advice for a person about a message whose outcome is unknown."""
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
