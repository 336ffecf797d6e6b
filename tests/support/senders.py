"""Airflow classes and operators that tests of several rooms use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from intercom_provider.operators.message import SendMessageOperator

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:  # before 3.2
    from airflow.exceptions import TaskDeferred  # type: ignore[no-redef]

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["FailsAfterwards", "TaskDeferred"]


class FailsAfterwards(SendMessageOperator):
    """Sends, and then its first try fails for a reason of its own."""

    def execute(self, context: Context) -> dict[str, Any]:
        values = super().execute(context)
        if context["ti"].try_number == 1:
            raise RuntimeError("the disk is full")
        return values
