"""
The interface of a ledger, and the rules by which a message that was attempted before may be sent again.

A request to send cannot be taken back, and Intercom has no idempotency key. So the intent to send is written
before the request and the result after it. An intent without a result means that the message may or may not
have been sent; whether it is sent again is then for the DAG's author to decide (``on_unconfirmed``).

One interface serves one message and many. The contract is the same for each kind of ledger: ``begin_try`` first,
then ``commit`` with the intents before the requests, ``commit`` with the results after them, ``end_try`` last.

The records may be deleted: Airflow 3.4 empties the store of a task that is cleared. So each try begins by leaving a
record, whether or not it comes to send anything. A later try that finds no record at all concludes from Airflow's
counters what that means: a task that was never cleared has not come to send; of a cleared one nothing is known
(:func:`lost_records`), which counts as an intent for every message.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, TypeAlias, get_args

from intercom_provider.api.errors import IntercomError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from intercom_provider.api.models import Receipt

Repeat: TypeAlias = Literal["never", "on_clear", "always"]
OnUnconfirmed: TypeAlias = Literal["fail", "resend", "assume_sent"]

REPEATS: Final = get_args(Repeat)
ON_UNCONFIRMED: Final = get_args(OnUnconfirmed)

MAX_OPEN_INTENTS: Final = 1_000
"""How many messages of a try may be without a result at most, where the ledger sets no lower limit."""

MAX_WAITING_INTENTS: Final = 100
"""How many of them may wait for their turn, where the ledger sets no lower limit."""

RECOVERY_HINT: Final = (
    'When you know whether it arrived, clear the task with on_unconfirmed="resend" to have it sent, or with '
    '"assume_sent" to go on without sending'
)

LOST: Final = "lost"
"""The digest of the one entry that stands for all messages when the records of the earlier tries are gone."""

LOST_HINT: Final = (
    'With repeat="on_clear" a cleared task sends again; to keep the records, choose "Keep task state and resume" '
    "(keep_task_state) when you clear it"
)

BEFORE_CLEAR: Final = -1
"""A max_tries that no attempt has: the entry dates from before the task was cleared."""


class LedgerUnavailableError(IntercomError):
    """The ledger cannot be read or written; what it would have to hold first is not sent."""

    transient = True


class SupersededError(Exception):
    """Another attempt of the same task writes this ledger now; this one must not send any more."""


class Attempt(NamedTuple):
    """
    One try of a task.

    :param number: Airflow's ``try_number``, from 1.
    :param max_tries: Airflow's ``max_tries``, which changes when somebody clears the task, and only then.
    :param retries: The task's ``retries``.
    :param clear_number: How often somebody cleared something in the DAG run. A task that is cleared while it runs
        keeps its ``max_tries``.
    """

    number: int = 1
    max_tries: int = 0
    retries: int = 0
    clear_number: int = 0

    @property
    def is_retry(self) -> bool:
        """Whether another try came before it, since the task was last cleared or began."""
        return self.number > max(1, self.max_tries - self.retries + 1)

    @property
    def may_have_lost_records(self) -> bool:
        """Whether a task without any record may have had some: it was tried before and cleared since."""
        return self.number > 1 and (self.max_tries != self.retries or self.clear_number > 0)


class Ids(NamedTuple):
    """
    What is kept of Intercom's answer to a message: ids and a time, nothing about the recipient.

    :param id: Intercom's message id.
    :param whatsapp_message_id: WhatsApp's id; WhatsApp only.
    :param conversation_id: The conversation, where the message opened one.
    :param created_at: When Intercom created the message, in epoch seconds.
    """

    id: str | None = None
    whatsapp_message_id: str | None = None
    conversation_id: str | None = None
    created_at: int | None = None

    def pack(self) -> list[str | int | None]:
        """
        Pack the ids into JSON.

        :return: The values in order, without the Nones at the end, and at least one.
        """
        packed: list[str | int | None] = [*self]
        while len(packed) > 1 and packed[-1] is None:
            packed.pop()
        return packed


NO_IDS: Final = Ids()


def ids_of(receipt: Receipt) -> Ids:
    """
    Take from a receipt what a ledger keeps.

    :param receipt: The receipt of a message.
    :return: Its ids.
    """
    return Ids(receipt.id, receipt.whatsapp_message_id, receipt.conversation_id, receipt.created_at)


class Result(NamedTuple):
    """
    What came of a message that this try has attempted.

    :param outcome: ``sent``, ``rejected``, ``not_sent``, ``expired`` or ``unconfirmed``.
    :param reason: Why it is not ``sent``; None when it is.
    :param ids: What is kept of Intercom's answer.
    """

    outcome: str
    reason: str | None = None
    ids: Ids = NO_IDS


class Intent(NamedTuple):
    """
    A message that is about to be sent.

    :param key: The user's own id for it; None when it has none.
    :param message_type: Its type as Intercom is sent it.
    """

    key: str | int | None
    message_type: str


def sent_ids(results: Mapping[str, Result | None]) -> dict[str, Ids | None]:
    """
    Reduce results to what a ledger needs that keeps only what holds a message back.

    :param results: The results, by digest; None for a message of which nothing was sent.
    :return: The ids of what was sent, None for what certainly was not. What is unconfirmed stays an intent, and is
        left out.
    """
    return {
        digest: result.ids if result is not None and result.outcome == "sent" else None
        for digest, result in results.items()
        if result is None or result.outcome != "unconfirmed"
    }


class Entry(NamedTuple):
    """
    What is known of one message from earlier attempts.

    :param state: ``sent``; ``intent`` when the message may or may not have been sent; ``claimed`` when another run
        is sending it or does not know, and answers for it.
    :param attempt: The number of the attempt that wrote it.
    :param max_tries: Airflow's ``max_tries`` at that time; another one now means that the task was cleared.
    :param ids: The ids of a message that was sent.
    :param at: When it was written, in epoch seconds; None where that is not recorded.
    :param map_index: The instance of the mapped task that wrote it; None for this one.
    :param run: The DAG, run and task that wrote it, where that is another one; None for this one.
    :param message_type: The type of the message, where that is recorded.
    :param lease_runs: Whether another run holds it now, and may be sending it.
    :param note: Why nothing more is known, where there is no record of this message; "" (default) where there is.
    """

    state: Literal["intent", "sent", "claimed"]
    attempt: int
    max_tries: int
    ids: Ids = NO_IDS
    at: float | None = None
    map_index: int | None = None
    run: str | None = None
    message_type: str | None = None
    lease_runs: bool = False
    note: str = ""

    @property
    def no_result(self) -> str:
        """Why the outcome of an intent is unknown, in words."""
        return self.note or f"{self} left no result"

    def describe_other_type(self, message_type: str | None) -> str:
        """
        Describe that the message was one of another type, which a campaign for each step and channel prevents.

        :param message_type: The type of the message that is to be sent, as Intercom is sent it; None when unknown.
        :return: The end of a reason; empty when both are of one type, or that is not recorded.
        """
        if self.message_type is None or message_type is None or self.message_type == message_type:
            return ""
        return f", as a message of type {self.message_type} and not {message_type}: give each its own campaign or key"

    def __str__(self) -> str:
        run = "" if self.run is None else f"{self.run}, "
        instance = "" if self.map_index is None else f"map index {self.map_index}, "
        day = "%Y-%m-%d " if self.run is not None else ""
        at = "" if self.at is None else f" at {datetime.fromtimestamp(self.at, UTC):{day}%H:%M:%S} UTC"
        return f"{run}{instance}attempt {self.attempt}{at}"


class Ledger(Protocol):
    """The records of what a task instance has sent. A message is named by its digest."""

    @property
    def keeps_records(self) -> bool:
        """Whether anything is kept from one attempt to the next."""

    @property
    def recovery_hint(self) -> str:
        """The advice for a person about a message whose outcome is unknown."""

    @property
    def salt(self) -> str:
        """The salt, by which digests differ between the scopes of ledgers; known once a try began."""

    @property
    def may_send_now(self) -> bool:
        """Whether the commits still hold for as long as a request may take; asked before each request."""

    @property
    def wants_commit(self) -> bool:
        """Whether a commit is due, even of nothing, so that the earlier ones go on holding."""

    @property
    def max_open(self) -> int:
        """How many messages may be intended and without a result at any moment, which a kill leaves unconfirmed."""

    @property
    def max_waiting(self) -> int:
        """How many of them may wait for their turn, before their requests are begun."""

    def begin_try(self, *, read_only: bool = False) -> None:
        """
        Begin a try: take over from an earlier attempt, read its records, publish them to other mapped instances.

        It leaves a record that the try began. Where a later try finds none, :meth:`find` answers for every message
        with :func:`lost_records`, if the task was cleared.

        :param read_only: Whether to leave no record of this try, and to expect none of others (default False).
        """

    def include_mapped_instances(self) -> None:
        """
        Take into account what other instances of the mapped task have sent, unless all may be sent again anyway.

        :raises AirflowException: When an instance may have sent something and cannot be asked; Airflow retries.
        """

    def look_up(self, digests: Collection[str]) -> None:
        """
        Read what is known of messages that :meth:`find` will be asked about.

        :param digests: The messages.
        :raises LedgerUnavailableError: When the ledger cannot be read.
        """

    def find(self, digest: str) -> Entry | None:
        """
        Find what is known of a message from earlier attempts.

        :param digest: The message: see :func:`message_digest`.
        :return: The entry; None when the message was never attempted.
        """

    def may_send(self, entry: Entry, repeat: Repeat | str, on_unconfirmed: OnUnconfirmed | str) -> bool:
        """
        Decide whether a message that was attempted before may be sent now.

        :param entry: What :meth:`find` returned.
        :param repeat: When the same message may be sent again: ``never``, ``on_clear``, ``always``.
        :param on_unconfirmed: Whether an attempt without a known outcome allows it: ``resend``.
        :return: True when it may be sent.
        """

    def commit(self, results: Mapping[str, Result | None], intents: Mapping[str, Intent]) -> Collection[str]:
        """
        Write results and the next intents; when this fails, none of the intents may be sent.

        :param results: What came of messages, by digest; None when nothing was sent and this try will attempt it
            again, or not at all. A message that was intended and is not named here stays an intent.
        :param intents: The messages that are about to be sent, by digest.
        :return: The digests of those that must not be sent after all: another run was faster. :meth:`find` says more.
        :raises SupersededError: When another attempt of the same task has taken over.
        :raises LedgerUnavailableError: When the ledger cannot be written.
        """

    def is_current(self) -> bool:
        """
        Check whether no other attempt of the task has taken over.

        :return: False also when the ledger cannot be read.
        """

    def end_try(self) -> None:
        """End a try: publish to other mapped instances what was sent in it."""


def lost_records(attempt: int, map_index: int | None = None) -> Entry:
    """
    Return the entry that stands for all messages when the records of the earlier tries are gone.

    :param attempt: The number of the last attempt without a record.
    :param map_index: The instance of the mapped task that lost its records; None (default) for this one.
    :return: An intent from before the task was cleared.
    """
    instance = "" if map_index is None else f" of map index {map_index}"
    note = (
        f"no record is left of the earlier tries{instance} (a clear empties Airflow's task state store, unless you "
        "keep the task state)"
    )
    return Entry("intent", attempt, BEFORE_CLEAR, map_index=map_index, note=note)


def may_repeat(entry: Entry, attempt: Attempt, repeat: Repeat | str, on_unconfirmed: OnUnconfirmed | str) -> bool:
    """
    Decide whether a message that was attempted before may be sent again.

    :param entry: What is known of it.
    :param attempt: The attempt that would send it.
    :param repeat: When the same message may be sent again: ``never``, ``on_clear``, ``always``.
    :param on_unconfirmed: Whether an attempt without a known outcome allows it: ``resend``.
    :return: True when it may be sent.
    """
    # The tries of another map index are counted apart, and entries of other indexes are read only after a clear.
    first_after_clear = entry.map_index is not None and not attempt.is_retry
    was_cleared = first_after_clear or entry.max_tries != attempt.max_tries
    if entry.state == "claimed":
        return on_unconfirmed == "resend" and not entry.lease_runs
    if repeat == "always" or (repeat == "on_clear" and was_cleared):
        return True
    return entry.state == "intent" and on_unconfirmed == "resend"


def best_known(entries: Iterable[Entry | None]) -> Entry | None:
    """
    Choose the entry that says most about a message; a recorded result outranks an intent.

    :param entries: What is known of the message; of two equal ones the first counts.
    :return: The entry; None when there is none.
    """
    return max(filter(None, entries), key=lambda entry: entry.state == "sent", default=None)


def message_digest(*, key: object, message_type: str, recipients: object, salt: str) -> str:
    """
    Return the name of a message in a ledger, which reveals nothing about the recipient.

    The content does not count: a body with a fresh time or token in it is the same message.

    :param key: The user's own id for the message; None to go by type and recipients.
    :param message_type: The type as Intercom is sent it.
    :param recipients: The recipients as Intercom is sent them.
    :param salt: The scope of the ledger, so that digests differ between runs.
    :return: A digest, 24 hexadecimal digits.
    """
    identity = ["key", str(key)] if key is not None else [message_type, recipients]
    text = json.dumps(identity, sort_keys=True)
    return blake2b(text.encode(), key=blake2b(salt.encode(), digest_size=32).digest(), digest_size=12).hexdigest()
