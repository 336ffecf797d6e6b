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

import logging
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import sqlalchemy as sa

from intercom_provider.api.errors import IntercomError
from intercom_provider.ledger.database_thread import DatabaseThread

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from intercom_provider.ledger.database import Database

log = logging.getLogger(__name__)

T = TypeVar("T")

LEASE_SECONDS: Final = 600.0
"""How long a claim holds a message without being renewed."""

RENEW_AFTER_SECONDS: Final = 120.0
"""Claims are renewed at the latest so long after the last commit, while anything is under way."""

MAX_LOOKED_UP: Final = 500
"""How many messages one query looks up."""

_MAX_REPEATS: Final = 4
_REPEAT_PAUSE_SECONDS: Final = 0.05
# What another attempt of the same transaction may well get through: deadlock, serialization, a lost connection.
_REPEATED_STATES: Final = frozenset({"40P01", "40001"})
_NO_RESULT: Final = "the try that claimed it left no result: it may have been sent or not"
# A request may take half a minute, and what a proxy holds back as long again.
LEASE_MARGIN_SECONDS: Final = 90.0
_HOLDS_NOBODY: Final = frozenset({"rejected", "not_sent", "expired"})


class LedgerUnavailableError(IntercomError):
    """The database of the ledger cannot be used; what it would have to hold first is not sent."""

    transient = True


class SupersededError(Exception):
    """A later try of the same task instance has taken over; this one must not send any more."""


class Result(NamedTuple):
    """
    What came of a message that was claimed: columns of its row.

    :param outcome: ``sent``, ``rejected``, ``not_sent``, ``expired`` or ``unconfirmed``.
    :param reason: Why it is not ``sent``.
    :param message_id: Intercom's id.
    :param conversation_id: The conversation's id.
    :param whatsapp_message_id: WhatsApp's id.
    """

    outcome: str
    reason: str | None = None
    message_id: str | None = None
    conversation_id: str | None = None
    whatsapp_message_id: str | None = None


class Claim(NamedTuple):
    """
    A message that is about to be sent.

    :param key: The user's own id for it.
    :param message_type: Its type on the wire.
    """

    key: str | None
    message_type: str


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


@dataclass(frozen=True, slots=True)
class Row:
    """The newest attempt to send one message."""

    attempt: int
    outcome: str | None
    reason: str | None
    message_type: str | None
    message_id: str | None
    conversation_id: str | None
    whatsapp_message_id: str | None
    owner: Owner
    claimed_at: datetime
    lease_runs: bool
    finished_at: datetime | None


class SqlLedger:
    """
    The ledger of one try of a task, in a table.

    :param database: The database, with its tables.
    :param owner: Which try of which task instance.
    :param campaign: Within which a message goes out once; None (default) for the task in its run.
    :param may_repeat_after: Whether a message that was sent at the first moment may be sent again at the second one;
        None (default) for never.
    :param thread: Talks to the database; None (default) for a thread of its own.
    """

    def __init__(
        self,
        database: Database,
        owner: Owner,
        *,
        campaign: str | None = None,
        may_repeat_after: Callable[[datetime, datetime], bool] | None = None,
        thread: DatabaseThread | None = None,
    ) -> None:
        self.campaign = campaign
        self.scope = f"c:{campaign}" if campaign is not None else f"t:{owner.dag_id}/{owner.run_id}/{owner.task_id}"
        self._database = database
        self._table = database.tables.messages
        self._owner = owner
        self._owner_id = uuid.uuid4().hex
        self._may_repeat_after = may_repeat_after
        self._thread = thread or DatabaseThread()
        self._salt = ""
        # The number of each claim that is held, and of the newest attempt of each message that was looked up.
        self._claims: dict[str, int] = {}
        self._newest: dict[str, int] = {}
        self._renewed_at = _clock()

    @property
    def salt(self) -> str:
        """What the digests of messages are salted with: the same for all who share the scope."""
        return f"{self._salt}/{self.scope}"

    @property
    def lease_holds(self) -> bool:
        """Whether the claims are certain to be this try's for as long as a request may take."""
        return not self._claims or _clock() - self._renewed_at < LEASE_SECONDS - LEASE_MARGIN_SECONDS

    @property
    def wants_commit(self) -> bool:
        """Whether claims are held that should be renewed."""
        return bool(self._claims) and _clock() - self._renewed_at >= RENEW_AFTER_SECONDS

    def begin_try(self) -> None:
        """
        Set up the table where it is missing, and end the claims of this task instance's earlier tries.

        For the task instance itself its earlier tries are over, whatever their leases say. One that lives on finds its
        claims taken with its next commit.

        :raises LedgerUnavailableError: When the database cannot be used; nothing was sent.
        :raises InvalidInputError: When a ledger cannot be there.
        """
        self._salt = self._run(self._database.set_up)
        self._transact(self._take_over)

    def find_all(self, digests: Iterable[str]) -> dict[str, Row]:
        """
        Look up the newest attempt of each message.

        :param digests: The messages.
        :return: The attempts that hold their message back, by digest; a message without one may be sent.
        :raises LedgerUnavailableError: When the database cannot be used.
        """
        wanted = sorted(set(digests))
        found: dict[str, Row] = {}
        for start in range(0, len(wanted), MAX_LOOKED_UP):
            chunk = wanted[start : start + MAX_LOOKED_UP]
            found |= self._transact(partial(self._read, digests=chunk))
        return found

    def commit(self, results: Mapping[str, Result | None], claims: Mapping[str, Claim]) -> Collection[str]:
        """
        Record results, renew what is held and claim what comes next, in one transaction.

        :param results: By digest, what came of messages that this try had claimed; None releases a claim of which
            nothing was sent.
        :param claims: By digest, the messages that are about to be sent. Nothing may be sent before this returns.
        :return: The digests that could not be claimed: another task has, in the meantime.
        :raises LedgerUnavailableError: When the database cannot be used; nothing of ``claims`` may be sent.
        :raises SupersededError: When a later try of this task instance has taken over.
        """
        token = uuid.uuid4().hex
        # A claim that is released in the same breath keeps its number: nobody can have taken it in between.
        numbers = {digest: self._claims.get(digest, self._newest.get(digest, 0) + 1) for digest in claims}
        begun = _clock()
        won, held = self._transact(lambda connection: self._write(connection, token, results, claims, numbers))
        self._renewed_at = begun
        for digest, result in results.items():
            if (number := self._claims.pop(digest, None)) is not None:
                self._newest[digest] = number - (result is None)
        self._claims |= {digest: numbers[digest] for digest in won}
        if held < len(self._claims):
            raise SupersededError("another try of this task has taken over")
        return claims.keys() - won

    def _write(
        self,
        connection: sa.Connection,
        token: str,
        results: Mapping[str, Result | None],
        claims: Mapping[str, Claim],
        numbers: Mapping[str, int],
    ) -> tuple[set[str], int]:
        table, columns = self._table, self._table.c
        now = self._database.now(connection)
        lease_until = now + timedelta(seconds=LEASE_SECONDS)
        # In the order of their digests, or two transactions could each wait for a row of the other.
        finished = sorted((digest, result) for digest, result in results.items() if digest in self._claims)
        own = sa.and_(
            columns.scope == self.scope,
            columns.digest == sa.bindparam("the_digest"),
            columns.attempt == sa.bindparam("the_attempt"),
            columns.owner == self._owner_id,
        )
        if recorded := [(digest, result) for digest, result in finished if result is not None]:
            values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in Result._fields}
            connection.execute(
                sa.update(table).where(own).values(**values, token=token, finished_at=now, lease_until=None),
                [
                    {
                        "the_digest": digest,
                        "the_attempt": self._claims[digest],
                        **{f"new_{name}": value for name, value in result._asdict().items()},
                    }
                    for digest, result in recorded
                ],
            )
        if released := [digest for digest, result in finished if result is None]:
            connection.execute(
                sa.delete(table).where(own, columns.outcome.is_(None)),
                [{"the_digest": digest, "the_attempt": self._claims[digest]} for digest in released],
            )
        still_held = sa.and_(columns.owner == self._owner_id, columns.outcome.is_(None))
        connection.execute(sa.update(table).where(still_held).values(lease_until=lease_until))
        if claims:
            connection.execute(
                self._database.insert_new(table),
                [
                    {
                        "scope": self.scope,
                        "digest": digest,
                        "attempt": numbers[digest],
                        "campaign": self.campaign,
                        "key": claim.key,
                        "message_type": claim.message_type,
                        **self._owner._asdict(),
                        "owner": self._owner_id,
                        "token": token,
                        "claimed_at": now,
                        "lease_until": lease_until,
                    }
                    for digest, claim in sorted(claims.items())
                ],
            )
        won = self._written(connection, token, claims.keys())
        held = connection.execute(sa.select(sa.func.count()).select_from(table).where(still_held)).scalar_one()
        return won, held

    def _written(self, connection: sa.Connection, token: str, digests: Collection[str]) -> set[str]:
        """Read which of the rows exist as this transaction wrote them: its token tells, whoever asks how often."""
        columns = self._table.c
        found: set[str] = set()
        wanted = sorted(digests)
        for start in range(0, len(wanted), MAX_LOOKED_UP):
            query = sa.select(columns.digest).where(
                columns.scope == self.scope,
                columns.digest.in_(wanted[start : start + MAX_LOOKED_UP]),
                columns.token == token,
            )
            found.update(connection.execute(query).scalars())
        return found

    def _read(self, connection: sa.Connection, digests: Collection[str]) -> dict[str, Row]:
        table, columns = self._table, self._table.c
        now = self._database.now(connection)
        newest = (
            sa.select(columns.digest, sa.func.max(columns.attempt).label("attempt"))
            .where(columns.scope == self.scope, columns.digest.in_(digests))
            .group_by(columns.digest)
            .subquery()
        )
        same = sa.and_(columns.digest == newest.c.digest, columns.attempt == newest.c.attempt)
        rows = connection.execute(sa.select(table).join(newest, same).where(columns.scope == self.scope)).mappings()
        found = {}
        for each in rows:
            row = _row(dict(each), now)
            self._newest[each["digest"]] = row.attempt
            if not self._is_free(row, now):
                found[each["digest"]] = row
        return found

    def _is_free(self, row: Row, now: datetime) -> bool:
        if row.outcome == "sent" and self._may_repeat_after is not None and row.finished_at is not None:
            return self._may_repeat_after(row.finished_at, now)
        return row.outcome in _HOLDS_NOBODY

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

    def _transact(self, work: Callable[[sa.Connection], T]) -> T:
        """Run a transaction in the database's thread; one that a database asks to repeat is repeated as it was."""

        def run() -> T:
            for repeats in range(_MAX_REPEATS):
                try:
                    with self._database.engine.begin() as connection:
                        return work(connection)
                except sa.exc.DBAPIError as error:
                    if repeats + 1 == _MAX_REPEATS or not _may_be_repeated(error):
                        raise
                    time.sleep(_REPEAT_PAUSE_SECONDS * (1 + repeats))
            raise AssertionError("unreachable")

        return self._run(run)

    def _run(self, function: Callable[[], T]) -> T:
        try:
            return self._thread.call(function)
        except IntercomError:
            raise
        except Exception as error:
            log.debug("The ledger's database", exc_info=error)
            raise LedgerUnavailableError(
                f"the ledger cannot be used: the database of connection {self._database.conn_id} failed "
                f"({_cause(error)}). What is not in the ledger is not sent"
            ) from None


def _row(values: Mapping[str, Any], now: datetime) -> Row:
    return Row(
        attempt=values["attempt"],
        outcome=values["outcome"],
        reason=values["reason"],
        message_type=values["message_type"],
        message_id=values["message_id"],
        conversation_id=values["conversation_id"],
        whatsapp_message_id=values["whatsapp_message_id"],
        owner=Owner(*(values[name] for name in Owner._fields)),
        claimed_at=values["claimed_at"],
        lease_runs=values["lease_until"] is not None and values["lease_until"] > now,
        finished_at=values["finished_at"],
    )


def _may_be_repeated(error: sa.exc.DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    is_locked = "database is locked" in str(error.orig)
    # A connection that broke has no state, or one of class 08 or 57P; its commit may have arrived.
    is_lost = error.connection_invalidated or (isinstance(error, sa.exc.OperationalError) and state is None)
    return state in _REPEATED_STATES or is_locked or is_lost or str(state).startswith(("08", "57P"))


def _cause(error: BaseException) -> str:
    # The first line alone: those behind it repeat the statement and its values.
    original = getattr(error, "orig", None) or error
    lines = str(original).strip().splitlines() or [""]
    return f"{type(original).__name__}: {lines[0][:200]}"


def _clock() -> float:
    """Read a clock that goes on while the machine is suspended, as the database's does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
