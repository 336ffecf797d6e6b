"""What a sender reads from Airflow's context: its attempt, its place in the run, and its ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from intercom_provider.compat import conf, task_state_store
from intercom_provider.ledger.ledger import Attempt, StatelessLedger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from intercom_provider.compat import TaskStateStore
    from intercom_provider.ledger.ledger import Ledger
    from intercom_provider.ledger.mapped import MappedInstances
    from intercom_provider.sending.options import SendOptions


def read_attempt(context: Context) -> Attempt:
    """
    Read which try of a task this is.

    :param context: The task's context.
    :return: The attempt.
    """
    ti, task = context["ti"], context["task"]
    return Attempt(number=ti.try_number, max_tries=ti.max_tries, retries=task.retries or 0)


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


def message_ledger(context: Context, options: SendOptions, log: Any) -> Ledger:
    """
    Make the ledger of a task instance that sends one message.

    :param context: The task's context.
    :param options: Which ledger, and what it is for.
    :param log: The task's log.
    :return: The ledger; its try has not begun.
    :raises InvalidInputError: When a ledger cannot be in the database that the options name.
    """
    if options.ledger_conn_id is not None:
        return _sql_ledger(context, options)
    attempt, store, salt = read_attempt(context), _open_store(context, log), scope_salt(context)
    if store is None:
        return StatelessLedger(attempt, salt=salt)
    from intercom_provider.ledger.task_state import MessageLedger  # noqa: PLC0415 - not when a DAG is parsed

    return MessageLedger(store, attempt, _mapped_instances(context), salt=salt)


def batch_ledger(context: Context, options: SendOptions, log: Any, *, dry_run: bool = False) -> Ledger:
    """
    Make the ledger of a task instance that sends a batch.

    :param context: The task's context.
    :param options: Which ledger, and what it is for.
    :param log: The task's log.
    :param dry_run: Whether nothing is sent, so that nothing is recorded either.
    :return: The ledger; its try has not begun.
    :raises InvalidInputError: When a ledger cannot be in the database that the options name.
    """
    attempt, salt = read_attempt(context), scope_salt(context)
    if dry_run:
        return StatelessLedger(attempt, salt=salt)
    if options.ledger_conn_id is not None:
        return _sql_ledger(context, options)
    store = _open_store(context, log)
    if store is None:
        return StatelessLedger(attempt, salt=salt)
    from intercom_provider.ledger.task_state import BatchLedger  # noqa: PLC0415 - not when a DAG is parsed

    return BatchLedger(store, attempt, _mapped_instances(context), salt=salt)


def _sql_ledger(context: Context, options: SendOptions) -> Ledger:
    from intercom_provider.ledger.configuration import open_ledger_database  # noqa: PLC0415 - not when a DAG is parsed
    from intercom_provider.ledger.sql import Owner, SqlLedger  # noqa: PLC0415

    ti = context["ti"]
    owner = Owner(
        dag_id=ti.dag_id,
        run_id=str(ti.run_id),
        task_id=ti.task_id,
        map_index=-1 if ti.map_index is None else ti.map_index,
        try_number=ti.try_number,
        max_tries=ti.max_tries,
    )
    return SqlLedger(
        open_ledger_database(options.ledger_conn_id or ""),
        owner,
        read_attempt(context),
        campaign=options.campaign,
        repeat_after=options.repeat_after,
    )


def _open_store(context: Context, log: Any) -> TaskStateStore | None:
    """Return Airflow's store, None before Airflow 3.3; warn when Airflow is configured to empty it."""
    store = task_state_store(context)
    if store is not None and conf.getboolean("state_store", "clear_on_success", fallback=False):
        log.warning(
            "[state_store] clear_on_success is on: Airflow forgets what was sent when this task succeeds, "
            "so clearing it afterwards sends the message again"
        )
    return store


def _mapped_instances(context: Context) -> MappedInstances | None:
    if not is_mapped(context):
        return None
    from intercom_provider.ledger.mapped import MappedInstances  # noqa: PLC0415 - not when a DAG is parsed

    return MappedInstances(context["ti"], was_cleared=was_cleared(context))
