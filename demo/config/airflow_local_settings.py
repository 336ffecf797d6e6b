"""The demo's cluster policy, which Airflow applies to every task."""  # noqa: INP001 - Airflow wants this name alone

from __future__ import annotations

from typing import TYPE_CHECKING

from intercom_provider.sensors.message_status import MessageStatusSensor

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator


def task_policy(task: BaseOperator) -> None:
    """
    Wait in seconds where the examples wait in minutes, as the sandbox's WhatsApp is faster, too.

    :param task: A task of an example, otherwise unchanged.
    """
    if isinstance(task, MessageStatusSensor):
        task.poke_interval = 1.0
        task.settle_for = 4.0
