"""A window that opens later than within a minute is waited for without a worker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.operators.batch import SendMessageBatchOperator
from intercom_provider.operators.message import SendMessageOperator
from intercom_provider.results import read_results
from intercom_provider.sending.window import MAX_SLEEP_SECONDS
from tests.support.messages import in_app
from tests.support.timezones import write_zone, zones_in

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.mark.needs("task_state_store")
def test_a_batch_defers_and_goes_on_as_the_same_try(
    run_dag: Any, sandbox: Sandbox, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_zone(tmp_path / "zones", "Test/Behind", -int(MAX_SLEEP_SECONDS) - 20)
    hours = [(datetime.now(UTC) + timedelta(seconds=each)).time().isoformat("seconds") for each in (-1, 3_600)]
    people = [in_app(to={"type": "user", "id": f"merged-{n}" if n == 1 else f"user-{n}"}) for n in range(6)]
    for n, message in enumerate(people):
        message["timezone"] = "UTC" if n < 3 else "Test/Behind"
    with zones_in(tmp_path / "zones"), DAG("deferred_batch") as dag:
        SendMessageBatchOperator(
            task_id="send",
            messages=people,
            send_window=hours,
            repeat="always",
            max_failed=1,
            results_path=str(tmp_path / "results"),
        )
        run = run_dag(dag)
    assert run.states == {"send": "success"}
    assert [run.xcom("send", name) for name in ("total", "sent", "rejected", "already_sent")] == [6, 5, 1, 0]
    assert run.xcom("send", "reasons")[0]["first"] == [1]
    assert run.xcom("send", "waiting") is None
    assert len({message.recipient for message in sandbox.messages}) == len(sandbox.messages) == 5
    rows = list(read_results(run.xcom("send", "results_path")))
    assert sorted(row["index"] for row in rows) == list(range(6))
    assert run.xcom("send", "results_try") == 1
    assert "DateTimeTrigger" in capfd.readouterr().out
