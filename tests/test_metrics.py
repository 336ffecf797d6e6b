"""What a StatsD server gets of tasks, sent by Airflow's own stats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, Asset

from intercom_provider.operators.message import SendMessageBatchOperator, SendMessageOperator
from intercom_provider.sensors.message_status import MessageStatusSensor
from tests.support import hostile
from tests.support.statsd import StatsdServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercom_provider.sandbox import Sandbox
    from tests.support.hostile import Hostile

WHATSAPP: dict[str, Any] = {"message_type": "whatsapp", "template": "hello", "components": []}
IN_APP: dict[str, Any] = {"message_type": "in_app", "body": "Hi"}


def user(number: int) -> dict[str, str]:
    return {"type": "user", "user_id": f"customer-{number}"}


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[StatsdServer]:
    """Have Airflow send its metrics to a server, as the process of a task does when it starts."""
    from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

    with StatsdServer() as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        connect, clients = get_stats_factory(), []

        def connect_once() -> Any:
            clients.append(connect())
            return clients[-1]

        stats.initialize(factory=connect_once, export_legacy_names=True)
        yield server
        stats.initialize(factory=NoStatsLogger, export_legacy_names=True)
        for client in clients:
            client.statsd.close()


@pytest.mark.needs("stats_of_a_process")
def test_a_batch_reports_messages_by_type_and_outcome_and_requests_by_status(
    run_dag: Any, sandbox: Sandbox, statsd: StatsdServer
) -> None:
    messages = [{**IN_APP, "to": user(number)} for number in range(150)]
    messages += [{**WHATSAPP, "to": {"phone": phone}} for phone in ("+447900123456", "+447900999903")]
    with DAG("metrics") as dag:
        SendMessageBatchOperator(task_id="send", messages=[*messages, messages[0]], max_failed=1)
    assert run_dag(dag).states == {"send": "success"}
    assert len(sandbox.messages) == 152
    totals = statsd.wait_for(lambda totals: totals.get("messages", 0) >= 153)
    assert totals["messages.in_app.sent"] == 150
    assert totals["messages.whatsapp.sent"] == totals["messages.whatsapp.rejected"] == 1
    assert totals["messages.in_app.duplicate"] == 1
    assert totals["messages"] == 153
    assert totals["requests.200"] >= 152
    assert statsd.datagrams < 150, "a datagram for each message would slow the threads of a batch"


@pytest.mark.needs("stats_of_a_process")
def test_a_single_send_and_a_wait_report_what_they_did(run_dag: Any, sandbox: Sandbox, statsd: StatsdServer) -> None:
    sandbox.settings.speed = 1000.0
    with DAG("metrics_of_one") as dag:
        send = SendMessageOperator(task_id="send", to={"phone": "+447900123456"}, **WHATSAPP)
        MessageStatusSensor(task_id="wait", sent=send.output, poke_interval=0.2, timeout=20)
    assert run_dag(dag).states == {"send": "success", "wait": "success"}
    totals = statsd.wait_for(lambda totals: totals.get("requests", 0) >= 2)
    assert totals["messages.whatsapp.sent"] == totals["messages"] == 1
    assert totals["requests.200"] >= 2


@pytest.mark.needs("stats_of_a_process")
def test_what_got_no_reply_and_the_wait_for_the_rate_limit_are_reported(
    run_dag: Any, server: Hostile, statsd: StatsdServer
) -> None:
    server.script(hostile.rate_limited(retry_after="1"), hostile.drop())
    with DAG("metrics_of_faults") as dag:
        SendMessageOperator(task_id="send", to=user(1), **IN_APP)
    assert run_dag(dag).states == {"send": "failed"}
    totals = statsd.wait_for(lambda totals: "messages" in totals)
    assert totals["messages.in_app.unconfirmed"] == 1
    assert totals["requests.429"] == totals["requests.none"] == 1


def test_a_batch_and_a_wait_leave_their_counts_in_the_events_of_their_outlets(run_dag: Any, sandbox: Sandbox) -> None:
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    sandbox.add_ruleset("77", 3)
    sandbox.settings.speed = 1e6
    with DAG("outlets") as dag:
        SendMessageBatchOperator(
            task_id="send", messages=[{**IN_APP, "to": user(1)}], outlets=[Asset("intercom://outlets/sent")]
        )
        MessageStatusSensor(
            task_id="wait",
            ruleset_id="77",
            expected_count=3,
            max_failed=None,
            poke_interval=0.2,
            timeout=20,
            outlets=[Asset("intercom://outlets/arrived")],
        )
    run = run_dag(dag)
    assert run.states == {"send": "success", "wait": "success"}
    with create_session() as session:
        events = session.scalars(select(AssetEvent).where(AssetEvent.source_dag_id == "outlets")).all()
        extras = {event.source_task_id: event.extra for event in events}
    assert (extras["send"]["total"], extras["send"]["sent"], extras["send"]["rejected"]) == (1, 1, 0)
    assert (extras["wait"]["total"], extras["wait"]["settled"]) == (3, True)
    assert extras["wait"]["reached"] == run.xcom("wait", "reached")
