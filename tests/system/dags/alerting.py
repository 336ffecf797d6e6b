"""A DAG whose run fails and is late, with alerts to several people."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

from airflow.sdk import (  # type: ignore[attr-defined]  # Airflow's stub lacks these names
    DAG,
    AsyncCallback,
    DeadlineAlert,
    DeadlineReference,
    task,
)

from intercom_provider.notifications.message import IntercomNotifier


def alert_to(user_id: str) -> IntercomNotifier:
    """Return a notifier that alerts one person."""
    return IntercomNotifier(message_type="in_app", to={"type": "user", "user_id": user_id})


with DAG(
    "alerting",
    schedule=None,
    params={"die": False},
    on_failure_callback=alert_to("dag-owner"),
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=2),
        callback=AsyncCallback(
            IntercomNotifier,
            kwargs={
                "message_type": "in_app",
                "to": {"type": "user", "user_id": "whoever-waits"},
                "body": "{{ dag_run.dag_run_id }} was due at {{ deadline.deadline_time }}",
            },
        ),
    ),
):

    @task(
        retries=3,
        retry_delay=timedelta(seconds=0.1),
        on_retry_callback=[alert_to("data-on-call"), alert_to("curious")],
        on_failure_callback=alert_to("data-on-call"),
    )
    def load(params: dict[str, bool] | None = None) -> None:
        if params and params["die"]:
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("rows < 10")

    load()
