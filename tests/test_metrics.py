"""What a StatsD server gets of tasks, sent by Airflow's own stats."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, Asset

from intercom_provider.metrics import report_messages
from intercom_provider.operators.message import SendMessageBatchOperator, SendMessageOperator
from intercom_provider.sensors.message_status import MessageStatusSensor
from tests.support import hostile
from tests.support.statsd import StatsdServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from intercom_provider.sandbox import Sandbox
    from tests.support.hostile import Hostile

WHATSAPP: dict[str, Any] = {"message_type": "whatsapp", "template": "hello", "components": []}
IN_APP: dict[str, Any] = {"message_type": "in_app", "body": "Hi"}


def user(number: int) -> dict[str, str]:
    return {"type": "user", "user_id": f"customer-{number}"}


@contextmanager
def stats_of(connect: Callable[[], Any]) -> Iterator[None]:
    """Have Airflow send its metrics with what a function returns, as the process of a task does when it starts."""
    from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
    from airflow.sdk.observability import stats

    stats.initialize(factory=connect, export_legacy_names=True)
    try:
        yield
    finally:
        stats.initialize(factory=NoStatsLogger, export_legacy_names=True)


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[StatsdServer]:
    """Have Airflow send its metrics to a server."""
    from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

    with StatsdServer() as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        connect, clients = get_stats_factory(), []

        def connect_once() -> Any:
            clients.append(connect())
            return clients[-1]

        with stats_of(connect_once):
            yield server
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


@pytest.mark.needs("stats_of_a_process")
def test_a_metric_that_cannot_be_sent_loses_no_message_and_no_outcome(run_dag: Any, sandbox: Sandbox) -> None:
    from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger

    refused = []

    class Faulty(NoStatsLogger):
        @classmethod
        def incr(cls, stat: str, *_: Any, **__: Any) -> None:
            if stat.startswith("intercom."):
                refused.append(stat)
                raise OSError("no route to the metrics' server")

        timing = incr

    sandbox.settings.speed = 1000.0
    with DAG("metrics_refused") as dag:
        one = SendMessageOperator(task_id="one", to={"phone": "+447900123456"}, **WHATSAPP)
        MessageStatusSensor(task_id="wait", sent=one.output, poke_interval=0.2, timeout=20)
        SendMessageBatchOperator(task_id="many", messages=[{**IN_APP, "to": user(number)} for number in range(3)])
    with stats_of(Faulty):
        run = run_dag(dag)
    assert {"intercom.messages", "intercom.requests"} <= set(refused)
    assert run.states == {"one": "success", "wait": "success", "many": "success"}
    assert (run.xcom("one", "outcome"), run.xcom("wait", "reached"), run.xcom("many", "sent")) == ("sent", 1, 3)
    assert len(sandbox.messages) == 4


@pytest.mark.needs("stats_of_a_process")
@pytest.mark.parametrize(("allowed", "known"), [(None, True), ("intercom", True), ("scheduler,dagrun", False)])
def test_opentelemetry_gets_the_names_and_tags_that_the_allow_list_lets_through(
    allowed: str | None, known: bool
) -> None:
    from airflow.sdk._shared.observability.metrics.otel_logger import SafeOtelLogger
    from airflow.sdk._shared.observability.metrics.validators import PatternAllowListValidator
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    with stats_of(lambda: SafeOtelLogger(provider, "airflow", PatternAllowListValidator(allowed))):
        report_messages({("whatsapp", "already_sent"): 3})
    data = reader.get_metrics_data()
    read: dict[str, Any] = {"resource_metrics": []} if data is None else json.loads(data.to_json())
    provider.shutdown()
    points = {
        (metric["name"], *point["attributes"].values()): point["value"]
        for resource in read["resource_metrics"]
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
        for point in metric["data"]["data_points"]
    }
    expected = {
        ("airflow.intercom.messages", "whatsapp", "already_sent"): 3,
        ("airflow.intercom.messages.whatsapp.already_sent",): 3,
    }
    assert points == (expected if known else {})


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


@pytest.mark.usefixtures("sandbox")
def test_each_instance_of_a_mapped_batch_leaves_its_own_counts_and_one_that_fails_none(run_dag: Any) -> None:
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    refused = {**WHATSAPP, "to": {"phone": "+447900999903"}}
    chunks = [[{**IN_APP, "to": user(1)}], [{**IN_APP, "to": user(n)} for n in (2, 3)], [refused]]
    with DAG("mapped_outlets") as dag:
        SendMessageBatchOperator.partial(task_id="send", outlets=[Asset("intercom://outlets/mapped")]).expand(
            messages=chunks
        )
    assert sorted(run_dag(dag).states.values()) == ["failed", "success", "success"]
    with create_session() as session:
        events = session.scalars(select(AssetEvent).where(AssetEvent.source_dag_id == "mapped_outlets")).all()
        assert sorted((event.source_map_index, event.extra["sent"]) for event in events) == [(0, 1), (1, 2)]
