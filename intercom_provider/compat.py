"""The differences between Airflow 3.1, 3.2 and 3.3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferred,
    )
except ImportError:  # before 3.2
    from airflow.exceptions import (  # type: ignore[no-redef,attr-defined]
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferred,
    )

try:
    from airflow.sdk.configuration import conf
except ImportError:  # before 3.2
    from airflow.configuration import conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "TaskDeferred",
    "TaskStateStore",
    "add_to_outlet_events",
    "conf",
    "is_unmapped",
    "push_before_raising",
    "set_trigger_xcom",
    "task_state_store",
]


class TaskStateStore:
    """
    Airflow's ``task_state_store``, with values that never expire.

    :param store: The ``task_state_store`` of the task's context.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    def get(self, key: str) -> Any:
        """Read a value; None when the key has no value."""
        return self._store.get(key)

    def set(self, key: str, value: object) -> None:
        """Write a JSON value; it is durable on return."""
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        self._store.set(key, value, retention=NEVER_EXPIRE)


def is_unmapped(operator: object) -> bool:
    """
    Check whether an operator is made from a mapped operator, which Airflow does when the task runs.

    :param operator: An operator, in its constructor.
    :return: False while a DAG is parsed.
    """
    return bool(getattr(operator, "_BaseOperator__from_mapped", False))


def task_state_store(context: Context) -> TaskStateStore | None:
    """
    Return the task state store, whose values outlive a try of the task.

    :param context: The task's context.
    :return: The store; None before Airflow 3.3.
    """
    store = context.get("task_state_store")
    return None if store is None else TaskStateStore(store)


def push_before_raising(operator: BaseOperator, context: Context, values: dict[str, Any]) -> None:
    """
    Push the result of a task that fails; Airflow itself pushes results of successful tasks only.

    :param operator: The operator that is about to raise.
    :param context: The task's context.
    :param values: The task's result, key by key.
    """
    if operator.do_xcom_push:
        each = values if operator.multiple_outputs else {}
        for key, value in {**each, "return_value": values}.items():
            context["ti"].xcom_push(key=key, value=value)


def add_to_outlet_events(operator: BaseOperator, context: Context, counts: dict[str, Any]) -> None:
    """
    Add counts to the events of a task's outlets, which Airflow creates when the task succeeds.

    :param operator: The operator that is about to return.
    :param context: The task's context.
    :param counts: The counts by name.
    """
    from airflow.sdk import Asset

    for outlet in operator.outlets or ():
        if isinstance(outlet, Asset):
            try:
                context["outlet_events"][outlet].extra.update(counts)
            except Exception:
                # What was sent must not fail for a count.
                operator.log.warning("The counts could not be added to the event of %s", outlet.name, exc_info=True)


async def set_trigger_xcom(task_instance: Any, key: str, value: object) -> None:
    """
    Write an XCom from a trigger; Airflow supports it from 3.3 on, and before that nothing is written.

    :param task_instance: The trigger's task instance; None when the trigger does not belong to a task.
    :param key: The XCom's key.
    :param value: A JSON value.
    """
    from airflow.sdk.execution_time.xcom import XCom

    if task_instance is None or not hasattr(XCom, "aset"):
        return
    await XCom.aset(
        key=key,
        value=value,
        dag_id=task_instance.dag_id,
        task_id=task_instance.task_id,
        run_id=task_instance.run_id,
        map_index=task_instance.map_index,
    )
