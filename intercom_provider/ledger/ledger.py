"""
What this task instance has already sent, kept where a retry, a killed worker and a cleared task find it.

The intent is written before a request and the result after it. So an intent without a result means that
a message may have been sent or not, and what to do then is for people to say.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias, get_args

Repeat: TypeAlias = Literal["never", "on_clear", "always"]
OnUnconfirmed: TypeAlias = Literal["fail", "resend", "assume_sent"]

REPEATS: Final = get_args(Repeat)
ON_UNCONFIRMED: Final = get_args(OnUnconfirmed)

KEY: Final = "intercom/ledger"
"""Where in Airflow's task state store the ledger of a task instance is: entries by what names the message."""

Entries: TypeAlias = dict[str, dict[str, Any]]

UNREADABLE: Final = "unreadable"
"""What names the entry of a ledger that somebody has edited beyond recognition."""


class Store(Protocol):
    """Where entries are kept: what is written is durable on return, and never expires."""

    def get(self, key: str) -> Any:
        """Read a value; None when there is none."""

    def set(self, key: str, value: Any) -> None:
        """Write a value, JSON."""


class MappedInstances(Protocol):
    """The other instances of a mapped task, each with a ledger of its own."""

    def publish(self, entries: Entries) -> None:
        """Tell them what this instance's ledger holds."""

    def look_up(self, digest: str, *, changed: bool) -> dict[str, Any] | None:
        """Ask them for a message; None when nobody knows it."""


class Attempt(NamedTuple):
    """
    Which try of a task this is.

    :param number: Airflow's ``try_number``, from 1.
    :param max_tries: Airflow's ``max_tries``, which changes when somebody clears the task, and only then.
    :param retries: The task's ``retries``.
    """

    number: int
    max_tries: int
    retries: int

    @property
    def is_retry(self) -> bool:
        """Whether a try came before it since the task was cleared, or at all."""
        return self.number > max(1, self.max_tries - self.retries + 1)


class Entry(NamedTuple):
    """
    What the ledger holds of one message: no recipient, no content.

    :param state: ``intent`` until the result is known, then ``sent``.
    :param attempt: The try that wrote it.
    :param max_tries: Airflow's ``max_tries`` at the time, by which a cleared task is told from a retry.
    :param at: When, in epoch seconds.
    :param receipt: What Intercom answered (ids and times), once it is known.
    :param map_index: Whose entry it was, when another instance of the mapped task sent the message.
    """

    state: Literal["intent", "sent"]
    attempt: int
    max_tries: int
    at: float
    receipt: dict[str, Any] | None = None
    map_index: int | None = None

    def __str__(self) -> str:
        whose = "" if self.map_index is None else f"map index {self.map_index}, "
        return f"{whose}attempt {self.attempt} at {datetime.fromtimestamp(self.at, UTC):%H:%M:%S} UTC"


class Ledger:
    """
    The ledger of one task instance that sends one message.

    :param store: Airflow's ``task_state_store``; None where there is none, before Airflow 3.3.
    :param attempt: The try that asks.
    :param mapped_instances: The other instances of a mapped task; None when it is not mapped.
    :param key: Where in the store it is (default ``intercom/ledger``).
    """

    def __init__(
        self, store: Store | None, attempt: Attempt, mapped_instances: MappedInstances | None = None, *, key: str = KEY
    ) -> None:
        self._store = store
        self._attempt = attempt
        self._mapped_instances = mapped_instances
        self._key = key
        self._identity = ""
        self._entries: Entries = {}
        self._from_sibling = False

    def open(self) -> None:
        """Read what there is, and tell the siblings before anything else can go wrong."""
        if self._store is None:
            return
        entries = self._store.get(self._key)
        # Somebody may have edited it. What makes no sense cannot say that nothing was sent.
        self._entries = entries if isinstance(entries, dict) else {} if entries is None else {UNREADABLE: {}}
        if self._mapped_instances is not None:
            self._mapped_instances.publish(self._entries)

    def find(self, digest: str, now: float, *, ask: bool = True) -> Entry | None:
        """
        Look up what is known of the message, which is the one that this ledger is about from now on.

        Without a store nothing is known, and a retry has to take the try before it for an intent.

        :param digest: What names the message: see :func:`message_digest`.
        :param now: Epoch seconds.
        :param ask: Whether the siblings are asked about a message that is not known here.
        :return: The entry; None when the message was never attempted.
        """
        self._identity = digest
        before = Entry("intent", self._attempt.number - 1, self._attempt.max_tries, now)
        if self._store is None:
            return before if self._attempt.number > 1 else None
        if UNREADABLE in self._entries and digest not in self._entries:
            return before
        if self._mapped_instances is not None and ask and digest not in self._entries:
            # Whoever stood at this index before is a sign that the list has changed.
            known = self._mapped_instances.look_up(digest, changed=bool(self._entries))
            if known is not None:
                self._keep(known)
                self._from_sibling = True
        if digest not in self._entries:
            return None
        try:
            entry = Entry(**self._entries[digest])
        except TypeError:
            return before
        return entry if entry.state == "intent" or isinstance(entry.receipt, dict) else before

    def may_send(self, found: Entry, repeat: Repeat | str, on_unconfirmed: OnUnconfirmed | str) -> bool:
        """
        Decide whether a message that was attempted before may be sent now.

        :param found: What :meth:`find` found.
        :param repeat: When the same message may be sent again: ``never``, ``on_clear``, ``always``.
        :param on_unconfirmed: Whether an attempt without a known outcome lets it be sent: ``resend``.
        :return: True when it may.
        """
        return may_repeat(found.state, repeat, on_unconfirmed, was_cleared=self._was_cleared_since(found))

    @property
    def recovery_hint(self) -> str:
        """What a person can do about an attempt without a known outcome."""
        text = (
            'When you know whether it arrived, clear the task with on_unconfirmed="resend" to have it sent, or with '
            '"assume_sent" to go on without sending'
        )
        if self._store is None:
            return (
                f"{text}. Airflow before 3.3 keeps no record between two tries, so every try counts as such an attempt"
            )
        return (
            f"{text}; or delete {self._key} in the task instance's Task State tab and clear the task, to have it sent"
        )

    def record_intent(self, now: float) -> None:
        """
        Write that the message is about to be sent; where that fails, nothing may be sent.

        :param now: Epoch seconds.
        """
        self._keep(Entry("intent", self._attempt.number, self._attempt.max_tries, now)._asdict())

    def record(self, receipt: dict[str, Any], now: float) -> None:
        """
        Write that the message was sent.

        :param receipt: What Intercom answered: ids and times only.
        :param now: Epoch seconds.
        """
        self._keep(Entry("sent", self._attempt.number, self._attempt.max_tries, now, receipt)._asdict())

    def withdraw_intent(self, found: Entry | None) -> None:
        """
        Take the intent back: this try certainly sent nothing.

        :param found: What stood there before, and stands there again; None for nothing.
        """
        if self._store is None:
            return
        # A try that Airflow gave up for dead may still be here, after the next one has sent.
        entries = self._store.get(self._key)
        standing = entries.get(self._identity) if isinstance(entries, dict) else None
        if isinstance(standing, dict) and standing.get("attempt") == self._attempt.number:
            self._keep(found._asdict() if found is not None else None)

    def _was_cleared_since(self, found: Entry) -> bool:
        if self._store is None:
            return not self._attempt.is_retry
        # Another index's tries say nothing about this one's; but siblings are asked only after a change.
        return (self._from_sibling and not self._attempt.is_retry) or found.max_tries != self._attempt.max_tries

    def _keep(self, entry: dict[str, Any] | None) -> None:
        if self._store is None:
            return
        others = {digest: kept for digest, kept in self._entries.items() if digest != self._identity}
        self._entries = others if entry is None else {**others, self._identity: entry}
        self._store.set(self._key, self._entries)
        if self._mapped_instances is not None:
            self._mapped_instances.publish(self._entries)


def may_repeat(
    state: Literal["intent", "sent"], repeat: Repeat | str, on_unconfirmed: OnUnconfirmed | str, *, was_cleared: bool
) -> bool:
    """
    Decide whether a message that was attempted before may be sent again.

    :param state: What is known of it: ``sent``, or ``intent`` when its outcome is not known.
    :param repeat: When the same message may be sent again: ``never``, ``on_clear``, ``always``.
    :param on_unconfirmed: Whether an attempt without a known outcome lets it be sent: ``resend``.
    :param was_cleared: Whether somebody has cleared the task since.
    :return: True when it may.
    """
    if repeat == "always" or (repeat == "on_clear" and was_cleared):
        return True
    return state == "intent" and on_unconfirmed == "resend"


def message_digest(*, key: object, message_type: str, recipients: object, salt: str) -> str:
    """
    Name a message in a way that tells nothing about whom it goes to.

    The content does not count: a body with a fresh time or token in it is the same message.

    :param key: The user's own id for the message; None to go by type and recipients.
    :param message_type: The type on the wire.
    :param recipients: Whom it goes to, as on the wire.
    :param salt: What makes the name another one in another run.
    :return: A digest.
    """
    named = ["key", str(key)] if key is not None else [message_type, recipients]
    text = json.dumps(named, sort_keys=True)
    return blake2b(text.encode(), key=blake2b(salt.encode(), digest_size=32).digest(), digest_size=12).hexdigest()
