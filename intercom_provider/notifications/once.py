"""
One alert a task instance, not one a retry.

The ledger remembers what a task instance has alerted about, so that a retry and a cleared task find it. It is in the
table that is configured, else in Airflow's task state store. The callback of a retry cannot read that store: the try is
over by then, and Airflow 3.3 does not know it any more. So a rule that needs no record decides first
(:func:`reason_to_skip`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from intercom_provider.compat import task_state_store
from intercom_provider.ledger.configuration import ledger_connection, open_ledger_database
from intercom_provider.ledger.stateless import StatelessLedger
from intercom_provider.sending.task_instance import read_attempt, read_owner, scope_salt

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import TypeVar

    from airflow.sdk import Context

    from intercom_provider.ledger.ledger import Attempt, Entry, Intent, Ledger, OnUnconfirmed, Repeat, Result
    from intercom_provider.notifications.alert import Alert

    T = TypeVar("T")

ALERTS_KEY: Final = "intercom/alerts"
"""The key in Airflow's task state store of the alerts of a task instance."""

MAX_DATABASE_SECONDS: Final = 2.0
"""How long an alert waits for an answer of the ledger's database at most."""

_UNRECORDED: Final = "This alert cannot be recorded, so it may be sent once more: %s"


def reason_to_skip(alert: Alert, attempt: Attempt, *, is_covered: bool) -> str:
    """
    Return why a try must not alert, as far as that is known without a record.

    :param alert: What happened.
    :param attempt: The try.
    :param is_covered: Whether the same person is alerted when the task has failed for good.
    :return: The reason; "" when the try may alert.
    """
    if alert.kind == "up_for_retry" and is_covered:
        if not alert.from_dag_processor:
            return "the task is tried again, and on_failure_callback alerts when it has failed for good"
        if attempt.number == attempt.max_tries:
            # If the process of the last try is killed as well, Airflow (3.3) calls nobody.
            return ""
    if alert.kind in ("up_for_retry", "running") and attempt.is_retry:
        return "the first try was the one to alert"
    return ""


def alert_ledger(context: Context, alert: Alert, log: Any) -> Ledger:
    """
    Open the ledger of a task instance's alerts.

    :param context: The callback's context.
    :param alert: What happened.
    :param log: The log of the callback.
    :return: The ledger; its try has begun.
    """
    try:
        ledger = _open_ledger(context, alert)
    except Exception as error:  # noqa: BLE001 - the alert is worth more than its record
        log.warning(_UNRECORDED, error)
        return StatelessLedger()
    if ledger is None:
        return StatelessLedger()
    guarded = AlertLedger(ledger, log)
    # A try that ends without an alert leaves no record, so a missing one means nothing.
    guarded.begin_try(read_only=True)
    return guarded


def _open_ledger(context: Context, alert: Alert) -> Ledger | None:
    if (conn_id := ledger_connection()) is not None:
        from intercom_provider.ledger.sql import SqlLedger

        owner, attempt = read_owner(context), read_attempt(context)
        # Apart from the messages that the task sends, and each instance of a mapped task alerts about itself.
        scope = f"a:{owner.dag_id}/{owner.run_id}/{owner.task_id}/{owner.map_index}/{alert.kind}"
        database = open_ledger_database(conn_id)
        return SqlLedger(database, owner, attempt, limit=MAX_DATABASE_SECONDS, scope=scope)
    store = task_state_store(context)
    # After a try is over, and in the DAG processor, Airflow has a store that refuses every call.
    if store is None or alert.kind == "up_for_retry" or alert.from_dag_processor:
        return None
    from intercom_provider.ledger.task_state import MessageLedger

    return MessageLedger(store, read_attempt(context), salt=f"{scope_salt(context)}/{alert.kind}", key=ALERTS_KEY)


class AlertLedger:
    """
    A ledger for alerts: an error of its store does not keep an alert back.

    An alert that nobody gets is worse than one too many. After an error the ledger knows nothing and records nothing,
    and a warning in the log says so.

    :param ledger: The ledger that keeps the records.
    :param log: The log of the callback.
    """

    def __init__(self, ledger: Ledger, log: Any) -> None:
        self._ledger = ledger
        self._log = log

    @property
    def keeps_records(self) -> bool:
        """Whether anything is kept from one attempt to the next."""
        return self._ledger.keeps_records

    @property
    def recovery_hint(self) -> str:
        """The advice for a person about an alert whose outcome is unknown."""
        return self._ledger.recovery_hint

    @property
    def salt(self) -> str:
        """The salt of the digests."""
        return self._ledger.salt

    @property
    def may_send_now(self) -> bool:
        """Return True: an alert that nobody gets is worse than one too many."""
        return True

    @property
    def wants_commit(self) -> bool:
        """Return False: an alert takes half a minute at most."""
        return False

    @property
    def max_open(self) -> int:
        """How many alerts may be intended and without a result."""
        return self._ledger.max_open

    @property
    def max_waiting(self) -> int:
        """How many of them may wait for their turn."""
        return self._ledger.max_waiting

    def begin_try(self, *, read_only: bool = False) -> None:
        """Read the records."""
        self._guard(lambda: self._ledger.begin_try(read_only=read_only))

    def include_mapped_instances(self) -> None:
        """Do nothing: each instance of a mapped task alerts about itself."""

    def look_up(self, digests: Collection[str]) -> None:
        """Read what is known of the alert."""
        self._guard(lambda: self._ledger.look_up(digests))

    def find(self, digest: str) -> Entry | None:
        """Find what is known of the alert; None also when the store does not answer."""
        return self._guard(lambda: self._ledger.find(digest))

    def may_send(self, entry: Entry, repeat: Repeat | str, on_unconfirmed: OnUnconfirmed | str) -> bool:
        """Decide whether the alert may be given again."""
        return self._ledger.may_send(entry, repeat, on_unconfirmed)

    def commit(self, results: Mapping[str, Result | None], intents: Mapping[str, Intent]) -> Collection[str]:
        """Write the intent, whose failure is only logged, or the result, whose failure the sender logs."""
        if results:
            return self._ledger.commit(results, intents)
        return self._guard(lambda: self._ledger.commit(results, intents)) or ()

    def is_current(self) -> bool:
        """Check whether no other attempt of the task has taken over."""
        return self._ledger.is_current()

    def end_try(self) -> None:
        """End the try."""
        self._ledger.end_try()

    def _guard(self, action: Callable[[], T]) -> T | None:
        try:
            return action()
        except Exception as error:  # noqa: BLE001 - the alert is worth more than its record
            self._ledger = StatelessLedger()
            self._log.warning(_UNRECORDED, error)
            return None
