"""
The ledger as a table in the user's database: once per campaign and recipient, whichever task, run or DAG sends.

The problem: several tasks want to send the same message at the same moment, any of them may be killed between two
steps, and no request may go out twice. The idea: a row is one attempt, its number is part of what is unique, and
whoever may send inserts the number after the newest. Of two that try, the database lets one win, before either sends.
A claim holds a message only for the time of a lease, by the database's clock, so that a killed task blocks nobody for
ever. The rows that a transaction wrote carry its token. So when the answer to a commit is lost, the same transaction is
made again, and reading by token shows what was won in either case.

Rejected: row locks, which end with the connection that a request outlives; counting affected rows, which drivers do not
agree on; asking after a lost answer what became of a commit, which may still be on its way.
"""

from __future__ import annotations

import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from intercom_provider.ledger.claims import Claim, Claims, Finished
from intercom_provider.ledger.database_thread import DEFAULT_LIMIT_SECONDS, Transactions
from intercom_provider.ledger.ledger import (
    MAX_OPEN_INTENTS,
    RECOVERY_HINT,
    Entry,
    Ids,
    Result,
    SupersededError,
    may_repeat,
)
from intercom_provider.ledger.texts import check_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from intercom_provider.ledger.database import Database
    from intercom_provider.ledger.ledger import Attempt, Intent, OnUnconfirmed, Repeat
    from intercom_provider.ledger.repeat_after import RepeatAfter

MAX_WAITING_CLAIMS: Final = 25
"""How many claims of a batch wait for their turn at most: a commit is quick enough for so few."""

MAX_LOOKED_UP: Final = 500
"""How many messages one query looks up."""

_NO_RESULT: Final = "the try that claimed it left no result: it may have been sent or not"
# Claims are renewed with any commit that comes after this share of the time, and not with each of ten a second.
_RENEWED_FROM: Final = 0.1
_HOLDS_NOBODY: Final = frozenset({"rejected", "not_sent", "expired"})


class Lease(NamedTuple):
    """
    How long a claim holds a message, by the database's clock.

    :param seconds: Without being renewed (default 600).
    :param renew_after: Seconds after the last commit at which claims are renewed, while anything is under way
        (default 120).
    :param margin: Seconds before its end in which nothing is sent any more (default 90): a request may take half a
        minute, and what a proxy holds back as long again.
    """

    seconds: float = 600.0
    renew_after: float = 120.0
    margin: float = 90.0


DEFAULT_LEASE: Final = Lease()


class Owner(NamedTuple):
    """
    Which try of which task instance uses the ledger.

    :param dag_id: Its DAG.
    :param run_id: Its run.
    :param task_id: Its task.
    :param map_index: Its map index; -1 where the task is not mapped.
    :param try_number: Airflow's ``try_number``.
    :param max_tries: Airflow's ``max_tries``, which changes when somebody clears the task, and only then.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    max_tries: int

    @property
    def instance(self) -> tuple[str, str, str, int]:
        """The task instance, whichever try."""
        return self[:4]


class SqlLedger:
    """
    The ledger of one try of a task, in a table.

    :param database: The database, with its tables.
    :param owner: Which try of which task instance.
    :param attempt: The same, as other ledgers know it.
    :param campaign: Within which a message goes out once; None (default) for the task in its run.
    :param repeat_after: After what time a message of the campaign may be sent again; None (default) for never.
    :param lease: How long its claims hold.
    :param stopped: Returns True when the task was told to stop; then the database is not waited for any longer.
    :param limit: Seconds for which the database is waited for at most (default 10).
    :param scope: Within which a message goes out once; None (default) for the campaign, or the task in its run.
    """

    keeps_records = True
    recovery_hint = RECOVERY_HINT
    max_open = MAX_OPEN_INTENTS
    max_waiting = MAX_WAITING_CLAIMS

    def __init__(
        self,
        database: Database,
        owner: Owner,
        attempt: Attempt,
        *,
        campaign: str | None = None,
        repeat_after: RepeatAfter | None = None,
        lease: Lease = DEFAULT_LEASE,
        stopped: Callable[[], bool] = lambda: False,
        limit: float = DEFAULT_LIMIT_SECONDS,
        scope: str | None = None,
    ) -> None:
        self.campaign = campaign
        own_scope = f"c:{campaign}" if campaign is not None else f"t:{owner.dag_id}/{owner.run_id}/{owner.task_id}"
        self.scope = scope or own_scope
        self._database = database
        self._table = database.tables.messages
        self._owner = owner
        self._attempt = attempt
        self._owner_id = uuid.uuid4().hex
        self._repeat_after = repeat_after
        self._lease = lease
        constants = {"scope": self.scope, "campaign": campaign, **owner._asdict()}
        self._rows = Claims(database, self._owner_id, constants)
        self._transactions = Transactions(database, stopped, limit)
        self._salt = ""
        # The number of each claim that is held, and of the newest attempt of each message that was looked up.
        self._claims: dict[str, int] = {}
        self._possible_claims: dict[str, int] = {}
        self._newest: dict[str, int] = {}
        self._entries: dict[str, Entry] = {}
        self._looked_up: set[str] = set()
        self._renewed_at = _clock()

    @property
    def salt(self) -> str:
        """The salt of the digests, the same for all who share the scope; known once a try began."""
        return f"{self._salt}/{self.scope}"

    @property
    def may_send_now(self) -> bool:
        """Whether the claims are certain to be this try's for as long as a request may take."""
        return not self._claims or _clock() - self._renewed_at < self._lease.seconds - self._lease.margin

    @property
    def wants_commit(self) -> bool:
        """Whether claims are held that should be renewed."""
        return bool(self._claims) and _clock() - self._renewed_at >= self._lease.renew_after

    def begin_try(self, *, read_only: bool = False) -> None:
        """
        Set up the table where it is missing, and end the claims of this task instance's earlier tries.

        For the task instance itself its earlier tries are over, whatever their leases say. One that lives on finds its
        claims taken with its next commit.

        :param read_only: Whether to end no claims of earlier tries (default False).
        :raises LedgerUnavailableError: When the database cannot be used; nothing was sent.
        :raises InvalidInputError: When a ledger cannot be there.
        """
        self._salt = self._transactions.call(self._database.set_up)
        if not read_only:
            self._transactions.run(self._take_over)

    def include_mapped_instances(self) -> None:
        """Do nothing: all instances of a mapped task share the scope."""

    def look_up(self, digests: Collection[str]) -> None:
        """
        Read the newest attempt of each message, in few queries.

        :param digests: The messages.
        :raises LedgerUnavailableError: When the database cannot be used.
        """
        wanted = sorted(set(digests))
        for start in range(0, len(wanted), MAX_LOOKED_UP):
            chunk = wanted[start : start + MAX_LOOKED_UP]
            found = self._transactions.run(partial(self._read, digests=chunk))
            for digest in chunk:
                self._entries.pop(digest, None)
            self._entries |= found
            self._looked_up.update(chunk)

    def find(self, digest: str) -> Entry | None:
        """Find what holds a message back; it is read now unless :meth:`look_up` was asked before."""
        if digest not in self._looked_up:
            self.look_up([digest])
        return self._entries.get(digest)

    def may_send(self, entry: Entry, repeat: Repeat | str, on_unconfirmed: OnUnconfirmed | str) -> bool:
        """Decide by :func:`intercom_provider.ledger.ledger.may_repeat`; a clear holds for what this instance sent."""
        is_own = entry.run is None and entry.map_index is None
        allowed = "never" if repeat == "on_clear" and not is_own else repeat
        return may_repeat(entry, self._attempt, allowed, on_unconfirmed)

    def commit(self, results: Mapping[str, Result | None], intents: Mapping[str, Intent]) -> Collection[str]:
        """
        Record results, renew what is held and claim what comes next, in one transaction.

        :param results: By digest, what came of messages that this try had claimed; None releases a claim.
        :param intents: By digest, the messages that are about to be sent. None may be sent before this returns.
        :return: The digests that could not be claimed: another task has, in the meantime.
        :raises LedgerUnavailableError: When the database cannot be used; none of ``intents`` may be sent.
        :raises SupersededError: When a later try of this task instance has taken over.
        """
        check_keys(intents.values())
        token = uuid.uuid4().hex
        # A claim that is released in the same breath keeps its number: nobody can have taken it in between.
        numbers = {digest: self._claims.get(digest, self._newest.get(digest, 0) + 1) for digest in intents}
        claims = self._possible_claims | self._claims
        begun = _clock()
        renews = begun - self._renewed_at >= self._lease.renew_after * _RENEWED_FROM or not self._claims
        try:
            won, held = self._transactions.run(
                partial(
                    self._rows.write,
                    token=token,
                    finished=[
                        Finished(digest, claims[digest], result)
                        for digest, result in results.items()
                        if digest in claims
                    ],
                    claimed=[
                        Claim(digest, numbers[digest], None if each.key is None else str(each.key), each.message_type)
                        for digest, each in intents.items()
                    ],
                    lease_seconds=self._lease.seconds,
                    renews=renews,
                )
            )
        except BaseException:
            # Whether they were claimed is unknown; none is sent, and the next commit releases those in its list.
            self._possible_claims |= {digest: numbers[digest] for digest in intents if digest not in self._claims}
            raise
        if renews:
            self._renewed_at = begun
        for digest, result in results.items():
            self._possible_claims.pop(digest, None)
            if (number := self._claims.pop(digest, None)) is not None:
                self._newest[digest] = number - (result is None)
        self._claims |= {digest: numbers[digest] for digest in won}
        if held < len(self._claims):
            raise SupersededError("another try of this task has taken over")
        refused = intents.keys() - won
        self.look_up(refused)
        return refused

    def is_current(self) -> bool:
        """Check whether no later try of the task instance has taken over; False also when it cannot be read."""
        try:
            return self._transactions.run(self._rows.count) >= len(self._claims)
        except Exception:  # noqa: BLE001 - whatever the database says, it does not confirm this try
            return False

    def end_try(self) -> None:
        """Do nothing: the last commit has recorded and released all that is known."""

    def _read(self, connection: sa.Connection, digests: Collection[str]) -> dict[str, Entry]:
        now = self._database.now(connection)
        query = self._database.select_newest(self.scope, digests)
        rows = connection.execute(query).mappings()
        found = {}
        for row in rows:
            self._newest[row["digest"]] = row["attempt"]
            entry = self._entry(row, now)
            if entry is not None:
                found[row["digest"]] = entry
        return found

    def _entry(self, row: sa.RowMapping, now: datetime) -> Entry | None:
        """Read from the newest attempt of a message what holds it back; None when nothing does."""
        outcome, finished_at = row["outcome"], row["finished_at"]
        if outcome in _HOLDS_NOBODY:
            return None
        if outcome == "sent" and self._repeat_after is not None and self._repeat_after.allows(finished_at, now):
            return None
        owner = Owner(*(row[name] for name in Owner._fields))
        is_own = owner.instance == self._owner.instance
        is_own_run = owner[:3] == self._owner[:3]
        return Entry(
            state="sent" if outcome == "sent" else "intent" if is_own else "claimed",
            attempt=owner.try_number,
            # The clears of another task instance say nothing about this one.
            max_tries=owner.max_tries if is_own else self._attempt.max_tries,
            ids=Ids(row["message_id"], row["whatsapp_message_id"], row["conversation_id"]),
            at=(finished_at or row["claimed_at"]).timestamp(),
            map_index=owner.map_index if is_own_run and not is_own else None,
            run=None if is_own_run else f"DAG {owner.dag_id}, run {owner.run_id}, task {owner.task_id}",
            message_type=row["message_type"],
            lease_runs=outcome is None and row["lease_until"] is not None and row["lease_until"] > now,
        )

    def _take_over(self, connection: sa.Connection) -> None:
        columns = self._table.c
        earlier = [
            getattr(columns, name) == value for name, value in zip(Owner._fields, self._owner.instance, strict=False)
        ]
        connection.execute(
            sa.update(self._table)
            .where(*earlier, columns.outcome.is_(None), columns.owner != self._owner_id)
            .values(outcome="unconfirmed", reason=_NO_RESULT, lease_until=None)
        )


def _clock() -> float:
    """Read a clock that goes on while the machine is suspended, as the database's does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
