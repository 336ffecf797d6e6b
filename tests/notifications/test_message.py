"""Alerts: one a task instance, as they were written, and never in the way of what they report."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from airflow.sdk import DAG

from intercom_provider.exceptions import InvalidFieldError
from intercom_provider.notifications.message import IntercomNotifier
from tests.support import hostile
from tests.support.alerts import ON_CALL, SAYS, Fails, alert, awaited, bodies, missed
from tests.support.dags import connect

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox
    from tests.support.hostile import Hostile


def test_retries_end_in_one_alert(run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str]) -> None:
    notifier = alert()
    with DAG("sales") as dag:
        Fails(task_id="load", retries=3, on_retry_callback=notifier, on_failure_callback=notifier)
    run = run_dag(dag)
    assert run.states == {"load": "failed"}
    (said,) = bodies(server)
    what, which_run, log, why = said.split("\n")
    assert what == "Task load of DAG sales failed"
    assert which_run == f"Run: {run.run_id}, try 4 of 4"
    assert log.startswith("Log: http://")
    assert why == f"ValueError: {SAYS}"
    assert "&lt; 10 &amp; columns &gt;" in server.requests[0].json["body"]
    logged = capfd.readouterr().out
    assert logged.count("on_failure_callback alerts when it has failed for good") == 3
    assert "data-on-call" not in logged


def test_on_retry_alone_alerts_with_the_first_try(run_dag: Any, server: Hostile) -> None:
    with DAG("retried") as dag:
        Fails(task_id="load", retries=3, on_retry_callback=[alert()], on_failure_callback=[print])
    assert run_dag(dag).states == {"load": "failed"}
    (said,) = bodies(server)
    assert said.startswith("Task load of DAG retried failed and will be tried again\n")
    assert "try 1 of 4" in said


def test_another_persons_alert_is_another_one(run_dag: Any, server: Hostile) -> None:
    with DAG("two_people") as dag:
        Fails(
            task_id="load",
            retries=2,
            on_retry_callback=alert(to={"type": "user", "user_id": "developer"}),
            on_failure_callback=alert(),
        )
    run_dag(dag)
    assert [request.json["to"]["user_id"] for request in server.requests] == ["developer", "data-on-call"]


def test_without_once_every_callback_alerts(run_dag: Any, server: Hostile) -> None:
    notifier = alert(once=False)
    with DAG("often") as dag:
        Fails(task_id="load", retries=3, on_retry_callback=notifier, on_failure_callback=notifier)
    run_dag(dag)
    assert [said.splitlines()[1].partition(", ")[2] for said in bodies(server)] == [
        f"try {number} of 4" for number in (1, 2, 3, 4)
    ]


@pytest.mark.needs("task_state_store")
def test_one_person_is_told_once_by_two_notifiers(run_dag: Any, server: Hostile) -> None:
    with DAG("twice") as dag:
        Fails(task_id="load", on_failure_callback=[alert(), alert(body="Again"), alert(body="By key", key="other")])
    run_dag(dag)
    assert len(bodies(server)) == 2
    assert bodies(server)[1] == "By key"


def test_a_failure_is_told_to_whom_the_start_was_told_and_so_is_a_success(run_dag: Any, server: Hostile) -> None:
    notifier = alert(body="{{ ti.task_id }} {{ ti.state.value }} {{ ti.try_number }}")
    every: dict[str, Any] = {f"on_{what}_callback": notifier for what in ("execute", "success", "failure")}
    with DAG("all_along") as dag:
        Fails(task_id="load", retries=1, **every)
        Fails(task_id="recover", tries=1, retries=1, **every)
    assert run_dag(dag).states == {"load": "failed", "recover": "success"}
    assert sorted(bodies(server)) == ["load failed 2", "load running 1", "recover running 1", "recover success 2"]


def test_what_was_not_sent_is_sent_by_the_next(
    run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str]
) -> None:
    server.script(hostile.rate_limited(retry_after="25"), hostile.error(422, "parameter_invalid", "no"))
    with DAG("next_one") as dag:
        Fails(task_id="load", on_failure_callback=[alert(), alert(), alert()])
    began = time.monotonic()
    run_dag(dag)
    assert time.monotonic() - began < 10
    assert (len(server.requests), len(server.created)) == (3, 1)
    logged = capfd.readouterr().out
    assert "The alert was not sent within 30 s: Intercom answered 429" in logged
    assert "The alert was not sent. Intercom answered 422 parameter_invalid" in logged


@pytest.mark.needs("task_state_store")
def test_what_may_have_been_sent_is_not_repeated(
    run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str]
) -> None:
    server.script(hostile.drop(created=True))
    with DAG("unconfirmed") as dag:
        Fails(task_id="load", on_failure_callback=[alert(), alert()])
    run_dag(dag)
    assert (len(server.requests), len(server.created)) == (1, 1)
    logged = capfd.readouterr().out
    assert "The alert may have been sent or not; unconfirmed" in logged
    assert "may or may not have sent it, and it is not repeated" in logged


def test_each_task_of_a_dag_alerts_of_itself_and_no_text_is_a_template(run_dag: Any, server: Hostile) -> None:
    notifier = alert(body="{{ ti.task_id }}[{{ ti.map_index }}]: {{ exception }}")
    with DAG("shared", default_args={"on_failure_callback": notifier}) as dag:
        Fails.partial(task_id="load").expand(says=["{{ 1 + 1 }}", "{{ conn.intercom_default.password }}"])
    run_dag(dag)
    assert sorted(bodies(server)) == ["load[0]: {{ 1 + 1 }}", "load[1]: {{ conn.intercom_default.password }}"]
    assert notifier.body == "{{ ti.task_id }}[{{ ti.map_index }}]: {{ exception }}"


def test_a_text_stays_text_in_a_dag_of_native_objects(run_dag: Any, server: Hostile) -> None:
    with DAG("native", render_template_as_native_obj=True, params={"to": ON_CALL}) as dag:
        Fails(task_id="load", says="42", on_failure_callback=alert(to="{{ params.to }}", body="{{ exception }}"))
    run_dag(dag)
    assert bodies(server) == ["42"]
    assert server.requests[0].json["to"] == ON_CALL


def test_html_is_sent_as_it_is_and_the_default_is_no_html(run_dag: Any, server: Hostile) -> None:
    with DAG("as_html") as dag:
        Fails(
            task_id="load",
            on_failure_callback=[
                alert(body="<b>{{ ti.task_id }}</b>", body_format="html"),
                alert(body_format="html", key="2"),
            ],
        )
    run_dag(dag)
    first, second = (request.json["body"] for request in server.requests)
    assert first == "<b>load</b>"
    assert "rows &lt; 10" in second


def test_an_email_has_a_subject_of_its_own(run_dag: Any, server: Hostile) -> None:
    with DAG("by_email") as dag:
        Fails(
            task_id="load",
            on_failure_callback=[
                alert(message_type="email"),
                alert(message_type="email", key="2", subject="{{ dag.dag_id }} is broken", template="personal"),
            ],
        )
    run_dag(dag)
    first, second = (request.json for request in server.requests)
    assert (first["subject"], first["template"]) == ("Task load of DAG by_email failed", "plain")
    assert (second["subject"], second["template"]) == ("by_email is broken", "personal")


def test_whatsapp_sends_its_template(run_dag: Any, sandbox: Sandbox) -> None:
    parameters = [{"type": "text", "text": "{{ ti.task_id }}"}, {"type": "text", "text": "{{ exception }}"}]
    with DAG("by_whatsapp") as dag:
        Fails(
            task_id="load",
            on_failure_callback=alert(
                message_type="whatsapp",
                to={"phone": "+447900123456"},
                template="pipeline_failed",
                components=[{"type": "BODY", "parameters": parameters}],
            ),
        )
    run_dag(dag)
    (message,) = sandbox.messages
    assert [each["text"] for each in message.wire["components"][0]["parameters"]] == ["load", SAYS]


@pytest.mark.parametrize(("tries", "said"), [(0, "DAG reports succeeded"), (9, "DAG reports failed: task_failure")])
def test_a_dag_alerts_when_its_run_has_ended(run_dag: Any, server: Hostile, tries: int, said: str) -> None:
    with DAG("reports", on_success_callback=alert(), on_failure_callback=[alert()]) as dag:
        Fails(task_id="load", tries=tries)
    run = run_dag(dag)
    (lines,) = (text.split("\n") for text in bodies(server))
    assert lines[:2] == [said, f"Run: {run.run_id}"]
    assert [line.startswith("Last task: load, log: http://") for line in lines[2:]] == ([True] if tries else [])


def test_a_deadline_alerts_in_the_triggerer(server: Hostile) -> None:
    asyncio.run(awaited())
    asyncio.run(awaited(body="{{ dag_run.dag_run_id }} was due at {{ deadline.deadline_time }} <"))
    assert bodies(server) == [
        "DAG reports missed a deadline\nRun: manual__1, due at 2026-01-01T00:00:00Z, now running",
        "manual__1 was due at 2026-01-01T00:00:00Z <",
    ]


def deadline_alert() -> dict[str, Any]:
    return {"message_type": "in_app", "to": ON_CALL, "context": missed()}


def test_airflows_trigger_for_an_async_callback_alerts(server: Hostile) -> None:
    try:
        from airflow.triggers.callback import CallbackTrigger
    except ImportError:  # before 3.2
        from airflow.triggers.deadline import DeadlineCallbackTrigger as CallbackTrigger  # type: ignore[import-not-found,no-redef]

    async def run() -> list[Any]:
        trigger = CallbackTrigger(f"{IntercomNotifier.__module__}.IntercomNotifier", deadline_alert())
        return [event.payload["state"] async for event in trigger.run()]

    assert asyncio.run(run()) == ["running", "success"]
    assert len(server.created) == 1


@pytest.mark.needs("sync_callback")
def test_airflows_executor_of_a_sync_callback_alerts(server: Hostile) -> None:
    path, log = f"{IntercomNotifier.__module__}.IntercomNotifier", structlog.get_logger()
    try:
        from airflow.sdk.execution_time.callback_supervisor import execute_callback
    except ImportError:  # before 3.3
        from airflow.executors.workloads import callback

        stored = callback.CallbackDTO(
            id="1", fetch_method="import_path", data={"path": path, "kwargs": deadline_alert()}
        )
        ended = callback.execute_callback_workload(stored, log)  # type: ignore[attr-defined]
    else:
        ended = execute_callback(path, deadline_alert(), Path(), None, log)
    assert ended == (True, None)
    assert len(server.created) == 1


def by_hand(context: Any, **fields: Any) -> None:
    alert(once=False, **fields).notify(context)


def by_hand_async(context: Any, **fields: Any) -> None:
    asyncio.run(alert(once=False, **fields).async_notify(context))


@pytest.mark.parametrize("notify", [by_hand, by_hand_async])
def test_a_notifier_that_is_called_by_hand_renders_its_templates(server: Hostile, notify: Any) -> None:
    context = {"ti": None, "params": {"who": "{{ 1 + 1 }}", "id": "7"}}
    notify(context, body="{{ params.who }} is late", to={"type": "user", "id": "{{ params.id }}"})
    (request,) = server.requests
    assert (request.json["body"], request.json["to"]["id"]) == ("{{ 1 + 1 }} is late", "7")
    assert context.keys() == {"ti", "params"}


def test_a_notifier_that_was_rendered_by_hand_is_not_rendered_again(server: Hostile) -> None:
    notifier = alert(once=False, body="{{ params.who }} is late")
    context: Any = {"params": {"who": "{{ 1 + 1 }}"}}
    notifier.render_template_fields(context)
    notifier.notify(context)
    assert bodies(server) == ["{{ 1 + 1 }} is late"]


def test_a_notifier_serves_many_contexts_by_hand(server: Hostile) -> None:
    notifier = alert(once=False, body="{{ params.who }} is late")
    for who in ("Ada", "Bob"):
        context: Any = {"params": {"who": who}}
        notifier.notify(context)
    assert bodies(server) == ["Ada is late", "Bob is late"]


def test_a_clock_that_is_set_back_does_not_prolong_an_alert(
    server: Hostile, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    server.script(*[hostile.rate_limited(retry_after="40")] * 9)
    now = time.time
    monkeypatch.setattr("time.time", lambda: now() - 3_600 * bool(server.requests))
    began = time.monotonic()
    context: Any = {}
    alert().notify(context)
    assert time.monotonic() - began < 30
    assert len(server.requests) == 1
    assert "The alert was not sent within 30 s" in capfd.readouterr().out


def test_a_dry_run_alerts_nobody(
    run_dag: Any, server: Hostile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connect(monkeypatch, server.connection, dry_run=True)
    with DAG("dry") as dag:
        Fails(task_id="load", on_failure_callback=alert())
    run_dag(dag)
    assert server.requests == []
    assert "dry_run set: nothing is sent" in caplog.text


def test_neither_texts_nor_people_are_logged(run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str]) -> None:
    server.script(hostile.error(422, "parameter_invalid", "secret words for ada@example.com"))
    fields = {"to": {"type": "user", "email": "ada@example.com"}, "body": "secret words {{ none }}"}
    with DAG("discreet") as dag:
        Fails(task_id="load", on_failure_callback=[alert(**fields), alert(**fields)])
    run_dag(dag)
    logged = capfd.readouterr().out
    assert "Alert sent as message" in logged
    for private in ("ada@example.com", "secret words"):
        assert private not in logged


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("message_type", {"message_type": "fax"}),
        ("to", {"to": [ON_CALL]}),
        ("to", {"to": {"type": "admin", "id": "1"}}),
        ("body", {"message_type": "whatsapp", "to": {"phone": "+447900123456"}, "template": "t", "body": "text"}),
        ("template", {"message_type": "whatsapp", "to": {"phone": "+447900123456"}}),
        ("subject", {"subject": "in-app messages have none"}),
        ("body_format", {"body_format": "markdown"}),
        ("once", {"once": "yes"}),
    ],
)
def test_a_wrong_literal_fails_when_the_dag_is_parsed(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidFieldError, match=field):
        alert(**fields)


def test_a_path_is_text() -> None:
    assert alert(body="templates/alert.html").body == "templates/alert.html"
