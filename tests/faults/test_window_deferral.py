"""A window that opens later than within a minute is waited for without a worker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.operators.message import SendMessageOperator
from intercom_provider.sending.window import MAX_SLEEP_SECONDS

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox

USER = {"type": "user", "id": "6762f2391bb69f9f2193bc19"}


@pytest.mark.needs("task_state_store")
def test_the_task_defers_until_the_window_opens_and_sends_once(
    run_dag: Any, sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    opens = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=MAX_SLEEP_SECONDS + 20)
    closes = opens + timedelta(hours=1)
    with DAG("deferred_window") as dag:
        SendMessageOperator(
            task_id="send",
            message_type="in_app",
            to=USER,
            body="Good morning",
            timezone="UTC",
            send_window=(opens.time().isoformat(), closes.time().isoformat()),
        )
    run = run_dag(dag)
    assert run.states == {"send": "success"}
    assert run.xcom("send", "outcome") == "sent"
    (message,) = sandbox.messages
    assert message.time >= opens.timestamp()
    assert "DateTimeTrigger" in capfd.readouterr().out
