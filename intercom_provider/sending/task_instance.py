"""Read from Airflow's context what a sender needs: its attempt, its place in the run, and its ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from intercom_provider.compat import conf, task_state_store
from intercom_provider.ledger.ledger import Attempt
from intercom_provider.ledger.stateless import StatelessLedger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from airflow.sdk import BaseOperator, Context

    from intercom_provider.compat import TaskStateStore
    from intercom_provider.ledger.ledger import Ledger
    from intercom_provider.ledger.mapped import MappedInstances
    from intercom_provider.ledger.sql import Owner
    from intercom_provider.sending.options import SendOptions


def read_attempt(context: Context) -> Attempt:
    """
    Read which try of a task this is.

    :param context: The task's context.
    :return: The attempt.
    """
    ti, task = context["ti"], context["task"]
    clear_number = getattr(context.get("dag_run"), "clear_number", 0)
    return Attempt(ti.try_number, ti.max_tries, task.retries or 0, clear_number or 0)


def scope_salt(context: Context) -> str:
    """
    Return the salt of the task's ledger, so that digests differ between DAG runs and tasks.

    :param context: The task's context.
    :return: The salt, the same for all instances of a mapped task.
    """
    ti = context["ti"]
    return f"{ti.dag_id}/{ti.run_id}/{ti.task_id}"


def is_mapped(context: Context) -> bool:
    """
    Check whether a task instance is one of several of a mapped task.

    :param context: The task's context.
    :return: True when it is.
    """
    map_index = getattr(context.get("ti"), "map_index", None)
    return map_index is not None and map_index >= 0


def was_cleared(context: Context) -> bool:
    """
    Check whether anything in the DAG run was cleared; until then no mapped list can have changed.

    :param context: The task's context.
    :return: True also where Airflow does not count clears.
    """
    return bool(getattr(context["dag_run"], "clear_number", 1))


def message_ledger(context: Context, log: Any) -> Ledger:
    """
    Make the ledger of a task instance that sends one message, in Airflow's own store where there is one.

    :param context: The task's context.
    :param log: The task's log.
    :param stopped: Returns True when the task was told to stop.
    :return: The ledger; its try has not begun.
    """
    attempt, store, salt = read_attempt(context), _open_store(context, log), scope_salt(context)
    if store is None:
        return StatelessLedger(attempt, salt=salt)
    from intercom_provider.ledger.task_state import MessageLedger

    return MessageLedger(store, attempt, _mapped_instances(context), salt=salt)


def begin_in_store(context: Context, log: Any) -> Ledger:
    """
    Open the ledger of a task instance that sends a batch, in Airflow's own store where there is one, and begin the try.

    :param context: The task's context.
    :param log: The task's log.
    :return: The ledger.
    """
    attempt, store, salt = read_attempt(context), _open_store(context, log), scope_salt(context)
    if store is None:
        return StatelessLedger(attempt, salt=salt)
    from intercom_provider.ledger.task_state_batch import BatchLedger

    ledger = BatchLedger(store, attempt, _mapped_instances(context), salt=salt)
    ledger.begin_try()
    return ledger


def defer_until(operator: BaseOperator, opens_at: datetime) -> NoReturn:
    """
    Let a task go on in its ``execute_in_window`` when a window opens, and hold no worker until then.

    :param operator: The task.
    :param opens_at: When the window opens.
    :raises TaskDeferred: Always; it is how Airflow defers.
    """
    from airflow.providers.standard.triggers.temporal import DateTimeTrigger

    operator.defer(trigger=DateTimeTrigger(moment=opens_at), method_name="execute_in_window")


def read_owner(context: Context) -> Owner:
    """
    Read which try of which task instance this is, as a table records it.

    :param context: The task's context.
    :return: The owner of the rows that the try writes.
    """
    from intercom_provider.ledger.sql import Owner

    ti = context["ti"]
    return Owner(
        dag_id=ti.dag_id,
        run_id=str(ti.run_id),
        task_id=ti.task_id,
        map_index=-1 if ti.map_index is None else ti.map_index,
        try_number=ti.try_number,
        max_tries=ti.max_tries,
    )


def begin_in_table(context: Context, options: SendOptions, stopped: Callable[[], bool]) -> Ledger:
    """
    Open the ledger in the database that the options name, and begin the try there, too.

    :param context: The task's context.
    :param options: The connection of the database, and the campaign.
    :param stopped: Returns True when the task was told to stop.
    :return: The ledger.
    :raises InvalidInputError: When a ledger cannot be in that database.
    :raises LedgerUnavailableError: When the database cannot be used; Airflow retries.
    """
    from intercom_provider.ledger.configuration import open_ledger_database
    from intercom_provider.ledger.sql import SqlLedger

    ledger = SqlLedger(
        open_ledger_database(options.ledger_conn_id or ""),
        read_owner(context),
        read_attempt(context),
        campaign=options.campaign,
        repeat_after=options.repeat_after,
        stopped=stopped,
    )
    ledger.begin_try()
    return ledger


def _open_store(context: Context, log: Any) -> TaskStateStore | None:
    """Return Airflow's store, None before Airflow 3.3; warn when Airflow is configured to empty it."""
    store = task_state_store(context)
    if store is not None and conf.getboolean("state_store", "clear_on_success", fallback=False):
        log.warning(
            "[state_store] clear_on_success is on: Airflow deletes the record of what was sent when this task "
            "succeeds. If you clear it after that, on_unconfirmed decides whether it sends again"
        )
    return store


def _mapped_instances(context: Context) -> MappedInstances | None:
    if not is_mapped(context):
        return None
    from intercom_provider.ledger.mapped import MappedInstances

    return MappedInstances(context["ti"], was_cleared=was_cleared(context))
