"""A rate limit that outlives a try: the task is retried when the limit opens."""

from __future__ import annotations

import importlib
import time
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG

from intercom_provider.operators.message import SendMessageOperator
from tests.support import hostile
from tests.support.dags import connect


@pytest.mark.needs("retry_policy")
def test_the_task_comes_back_when_the_limit_opens_and_not_after_its_retry_delay(
    run_dag: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from intercom_provider.retry import IntercomRetryPolicy

    with hostile.Hostile() as server:
        connect(monkeypatch, server.connection)
        # Five tries within the task meet a limit that opens soon; the task itself would wait ten minutes.
        server.script(*[hostile.rate_limited(retry_after="0")] * 4, hostile.rate_limited(retry_after="2"))
        with DAG("limited") as dag:
            SendMessageOperator(
                task_id="send",
                message_type="in_app",
                to={"type": "user", "id": "1"},
                body="Hi",
                retries=1,
                retry_delay=timedelta(minutes=10),
                retry_policy=IntercomRetryPolicy(),
            )
        started = time.monotonic()
        run = run_dag(dag)
        assert run.states == {"send": "success"}
        assert len(server.created) == 1
        assert server.requests[-1].time - server.requests[-2].time >= 2.0
        assert time.monotonic() - started < 60


@pytest.mark.needs("retry_policy")
def test_any_other_error_keeps_the_tasks_own_delay() -> None:
    from intercom_provider.retry import IntercomRetryPolicy

    decision = IntercomRetryPolicy().evaluate(RuntimeError("no"), 1, 3)
    assert decision.action.value == "default"


@pytest.mark.lacks("retry_policy")
def test_without_retry_policies_importing_one_says_what_to_do() -> None:
    with pytest.raises(ImportError, match=r"needs Airflow 3\.3 or later\. Leave retry_policy out"):
        importlib.import_module("intercom_provider.retry")
