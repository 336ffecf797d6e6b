"""The button "Open in Intercom", as Airflow's UI shows it: from the stored DAG and XCom alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.api.settings import REGIONS
from intercom_provider.links import APPS
from intercom_provider.operators.message import SendMessageBatchOperator, SendMessageOperator
from intercom_provider.sensors.message_status import MessageStatusSensor
from tests.support import hostile
from tests.support.dags import connect
from tests.support.senders import FailsAfterwards

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox
    from tests.support.hostile import Hostile

INBOX = "https://app.intercom.com/a/inbox"
WHOM = {"type": "user", "id": "6762f2391bb69f9f2193bc19"}
AT_ONCE: dict[str, Any] = {
    "message_type": "in_app",
    "to": WHOM,
    "body": "Hi",
    "create_conversation_without_contact_reply": True,
}


def paths(sandbox: Sandbox) -> list[str]:
    return [request.path for request in sandbox.requests]


def test_there_is_an_app_for_every_region() -> None:
    assert APPS.keys() == REGIONS.keys()


@pytest.mark.parametrize(("region", "app"), APPS.items())
def test_a_conversation_is_opened_where_its_workspace_is(run_dag: Any, sandbox: Sandbox, region: Any, app: str) -> None:
    sandbox.settings.region = region
    with DAG(f"conversation_{region}") as dag:
        SendMessageOperator(task_id="send", **AT_ONCE)
    run = run_dag(dag)
    conversation = sandbox.messages[0].conversation_id
    assert run.link("send") == f"{app}/a/inbox/sandbox1/inbox/conversation/{conversation}"
    assert paths(sandbox) == ["/messages", "/me"]


def test_a_message_without_a_conversation_costs_no_request_more(
    run_dag: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, sandbox.connection, region="eu")
    with DAG("inbox") as dag:
        SendMessageOperator(task_id="send", message_type="in_app", to=WHOM, body="Hi")
    assert run_dag(dag).link("send") == "https://app.eu.intercom.com/a/inbox"
    assert paths(sandbox) == ["/messages"]


def test_mapped_instances_have_buttons_of_their_own(run_dag: Any, sandbox: Sandbox) -> None:
    with DAG("mapped_buttons") as dag:
        SendMessageOperator.partial(
            task_id="send", message_type="in_app", body="Hi", create_conversation_without_contact_reply=True
        ).expand(to=[WHOM, {"type": "user", "id": "ada"}])
    run = run_dag(dag)
    links = {run.link("send", index) for index in range(2)}
    assert links == {f"{INBOX}/sandbox1/inbox/conversation/{each.conversation_id}" for each in sandbox.messages}


@pytest.mark.needs("task_state_store")
def test_a_retry_that_sends_nothing_still_leads_to_the_conversation(run_dag: Any, sandbox: Sandbox) -> None:
    with DAG("button_of_a_retry") as dag:
        FailsAfterwards(task_id="send", retries=1, retry_delay=0.1, **AT_ONCE)
    run = run_dag(dag)
    assert run.xcom("send", "outcome") == "already_sent"
    (message,) = sandbox.messages
    assert run.link("send") == f"{INBOX}/sandbox1/inbox/conversation/{message.conversation_id}"


@pytest.mark.parametrize(
    "fault",
    [
        hostile.error(401, "token_unauthorized"),
        hostile.rate_limited(reset_in=60),
        hostile.html(200),
        hostile.drop(),
        hostile.answer(200, {"type": "admin", "id": "1", "app": None}),
    ],
    ids=["401", "429", "HTML", "dropped", "no workspace"],
)
def test_a_task_does_not_fail_because_its_button_leads_to_the_inbox(
    run_dag: Any, server: Hostile, fault: hostile.Act
) -> None:
    sent = {"type": "admin_message", "id": "1", "created_at": 1, "message_type": "inapp", "conversation_id": "c-42"}
    server.script(hostile.answer(200, sent, created=True), fault)
    with DAG("no_workspace") as dag:
        SendMessageOperator(task_id="send", **AT_ONCE)
    run = run_dag(dag)
    assert run.states == {"send": "success"}
    assert run.xcom("send", "conversation_id") == "c-42"
    assert run.link("send") == INBOX
    assert [request.path for request in server.requests] == ["/messages", "/me"]


def test_a_batch_and_a_sensor_lead_to_the_inbox(run_dag: Any, sandbox: Sandbox) -> None:
    with DAG("inboxes") as dag:
        send = SendMessageBatchOperator(
            task_id="send",
            messages=[{"to": {"phone": "+447900123456"}}],
            defaults={"message_type": "whatsapp", "template": "hello"},
        )
        for mode in ("poke", "reschedule"):
            MessageStatusSensor(task_id=mode, sent=send.output, mode=mode, poke_interval=0.1, timeout=20)
        MessageStatusSensor(task_id="deferrable", sent=send.output, deferrable=True, poke_interval=0.1, timeout=20)
    run = run_dag(dag)
    assert len(sandbox.messages) == 1
    assert {run.link(task_id) for task_id in ("send", "poke", "reschedule", "deferrable")} == {INBOX}


def test_a_failed_task_has_its_button(run_dag: Any, sandbox: Sandbox) -> None:
    sandbox.add_ruleset("77", events=[{"whatsapp_message_id": "wamid.1=", "status": "failed"}])
    with DAG("failed_buttons") as dag:
        SendMessageOperator(
            task_id="send", message_type="in_app", to={"type": "user", "id": "unknown"}, body="Hi", contact_wait=0
        )
        MessageStatusSensor(task_id="wait", ruleset_id="77", expected_count=1)
    run = run_dag(dag)
    assert run.states == {"send": "failed", "wait": "failed"}
    assert run.link("send") == run.link("wait") == INBOX


def test_without_a_readable_connection_there_is_no_button(
    run_dag: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, {**sandbox.connection, "password": ""})
    with DAG("no_connection") as dag:
        SendMessageOperator(task_id="send", **AT_ONCE)
    run = run_dag(dag)
    assert run.states == {"send": "failed"}
    assert not run.link("send")
