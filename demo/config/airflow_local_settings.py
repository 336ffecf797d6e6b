"""The demo's cluster policy, which Airflow applies to every task."""  # noqa: INP001 - Airflow imports it by this name

from __future__ import annotations

from typing import TYPE_CHECKING

from intercom_provider.sensors.message_status import MessageStatusSensor

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator


def task_policy(task: BaseOperator) -> None:
    """
    Make the examples' sensors poll every second, because the sandbox delivers in seconds instead of minutes.

    :param task: A task of an example.
    """
    if isinstance(task, MessageStatusSensor):
        task.poke_interval = 1.0
        task.settle_for = 4.0
