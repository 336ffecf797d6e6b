"""What a sender's try leaves when it begins, and what a later try concludes from a store that somebody emptied."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, BaseOperator

from intercom_provider.operators.batch import SendMessageBatchOperator
from intercom_provider.operators.message import SendMessageOperator
from tests.support import hostile
from tests.support.dags import connect, empty_store
from tests.support.senders import FailsAfterwards

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Context

    from tests.support.hostile import Hostile

pytestmark = pytest.mark.needs("task_state_store")

USER = {"type": "user", "id": "6762f2391bb69f9f2193bc19"}
LOST = "no record is left of the earlier tries"


def one(**fields: Any) -> SendMessageOperator:
    usual = {"task_id": "send", "message_type": "in_app", "to": USER, "body": "Hi"}
    return SendMessageOperator(**{**usual, "retry_delay": timedelta(seconds=0.1), **fields})


def many(**fields: Any) -> SendMessageBatchOperator:
    body = fields.pop("body", "Hi")
    usual = {"task_id": "send", "messages": [{"to": USER}], "defaults": {"message_type": "in_app", "body": body}}
    return SendMessageBatchOperator(**{**usual, "retry_delay": timedelta(seconds=0.1), **fields})


def mapped(**fields: Any) -> None:
    usual = {"task_id": "send", "message_type": "in_app", "retry_delay": timedelta(seconds=0.1), "body": "Hi"}
    SendMessageOperator.partial(**{**usual, **fields}).expand(to=[USER])


SENDERS: dict[str, Callable[..., Any]] = {"one": one, "many": many, "mapped": mapped}
senders = pytest.mark.parametrize("sender", SENDERS)


def index(sender: str) -> int:
    return 0 if sender == "mapped" else -1


def name(sender: str) -> str:
    return "send[0]" if sender == "mapped" else "send"


# What is wrong with the first try -> the fields, and how it is mended.
MISTAKES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "a template that fails": ({"body": "{{ var.value.words }}"}, {"AIRFLOW_VAR_WORDS": "Hi"}),
    "a missing connection": ({"intercom_conn_id": "shop"}, {"AIRFLOW_CONN_SHOP": ""}),
    "a wrong field": ({"repeat": "{{ var.value.get('again', 'perhaps') }}"}, {"AIRFLOW_VAR_AGAIN": "never"}),
    "a wrong version": ({"api_version": "{{ var.value.get('version', 'x') }}"}, {"AIRFLOW_VAR_VERSION": "2.17"}),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@senders
def test_a_try_that_ended_before_it_sent_is_cleared_without_a_question(
    run_dag: Any, server: Hostile, monkeypatch: pytest.MonkeyPatch, sender: str, mistake: str
) -> None:
    fields, mended = MISTAKES[mistake]
    with DAG("mended") as dag:
        SENDERS[sender](**fields)
    run = run_dag(dag)
    assert run.states[name(sender)] == "failed"
    assert server.created == []

    for variable, value in mended.items():
        monkeypatch.setenv(variable, value or os.environ["AIRFLOW_CONN_INTERCOM_DEFAULT"])
    run.clear("send", map_index=index(sender))

    assert run.states[name(sender)] == "success"
    assert len(server.created) == 1


@senders
def test_a_retry_that_finds_no_record_sends_as_the_task_was_never_cleared(
    run_dag: Any, server: Hostile, monkeypatch: pytest.MonkeyPatch, sender: str
) -> None:
    def mend(context: Any) -> None:
        ti = context["ti"]
        empty_store(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
        monkeypatch.setenv("AIRFLOW_VAR_WORDS", "Hi")

    with DAG("retried") as dag:
        SENDERS[sender](body="{{ var.value.words }}", retries=1, on_retry_callback=mend)
    run = run_dag(dag)
    assert run.states[name(sender)] == "success"
    assert len(server.created) == 1


@pytest.mark.parametrize(
    ("on_unconfirmed", "state", "outcome", "created"),
    [
        ("fail", "failed", "unconfirmed", 1),
        ("resend", "success", "sent", 2),
        ("assume_sent", "success", "unconfirmed", 1),
    ],
)
@pytest.mark.parametrize("first", ["sent", "unconfirmed"])
@senders
def test_a_cleared_task_whose_store_was_emptied_lets_on_unconfirmed_decide(
    run_dag: Any,
    server: Hostile,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    sender: str,
    first: str,
    on_unconfirmed: str,
    state: str,
    outcome: str,
    created: int,
) -> None:
    if first == "unconfirmed":
        server.script(hostile.drop(created=True))
    with DAG("emptied") as dag:
        SENDERS[sender](on_unconfirmed="{{ var.value.get('then', 'fail') }}")
    run = run_dag(dag)
    assert run.states[name(sender)] == ("success" if first == "sent" else "failed")

    monkeypatch.setenv("AIRFLOW_VAR_THEN", on_unconfirmed)
    run.clear("send", empties_store=True, map_index=index(sender))

    assert run.states[name(sender)] == state
    if sender == "many":
        assert run.xcom("send", outcome) == 1
    else:
        assert run.xcom("send", "outcome", index(sender)) == outcome
    assert len(server.created) == created
    (warning,) = [each for each in caplog.messages if each.startswith("Nobody knows what this task has sent")]
    for way in (LOST, "keep_task_state", 'repeat="on_clear"', '"resend"', '"assume_sent"'):
        assert way in warning


@senders
def test_repeat_lets_a_cleared_task_send_whose_store_was_emptied(run_dag: Any, server: Hostile, sender: str) -> None:
    with DAG("repeats") as dag:
        SENDERS[sender](repeat="on_clear")
    run = run_dag(dag)
    run.clear("send", empties_store=True, map_index=index(sender))
    assert run.states[name(sender)] == "success"
    assert len(server.created) == 2


@senders
def test_a_question_stands_until_somebody_decides(
    run_dag: Any, server: Hostile, monkeypatch: pytest.MonkeyPatch, sender: str
) -> None:
    with DAG("asked_again") as dag:
        SENDERS[sender](on_unconfirmed="{{ var.value.get('then', 'fail') }}")
    run = run_dag(dag)
    run.clear("send", empties_store=True, map_index=index(sender))
    # This try left a record, which must not be taken for one of a try that sent nothing before it.
    run.clear("send", map_index=index(sender))
    assert run.states[name(sender)] == "failed"
    assert len(server.created) == 1
    monkeypatch.setenv("AIRFLOW_VAR_THEN", "resend")
    run.clear("send", map_index=index(sender))
    assert run.states[name(sender)] == "success"
    run.clear("send", map_index=index(sender))
    assert run.states[name(sender)] == "success"
    assert len(server.created) == 2


class ClearedWhileItRan(FailsAfterwards):
    """Airflow 3.4 empties its store during its first try and counts the clear in the run, but not in max_tries."""

    def _do_render_template_fields(self, *args: Any, **kwargs: Any) -> None:
        context = next(each for each in (*args, *kwargs.values()) if isinstance(each, dict) and "ti" in each)
        ti = context["ti"]
        if ti.try_number == 2:
            context["dag_run"].clear_number = 1
            empty_store(ti.dag_id, ti.run_id, ti.task_id)
        super()._do_render_template_fields(*args, **kwargs)


def test_a_task_that_was_cleared_while_it_ran_is_a_cleared_task(run_dag: Any, server: Hostile) -> None:
    with DAG("cleared_while_it_ran") as dag:
        ClearedWhileItRan(
            task_id="send",
            message_type="in_app",
            to=USER,
            body="Hi",
            retries=1,
            retry_delay=timedelta(seconds=0.1),
        )
    run = run_dag(dag)
    assert run.states == {"send": "failed"}
    assert run.xcom("send", "outcome") == "unconfirmed"
    assert len(server.created) == 1


def test_the_error_begins_with_the_cause_and_ends_with_the_ways_on(
    run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str]
) -> None:
    with DAG("advice") as dag:
        one()
    run = run_dag(dag)
    run.clear("send", empties_store=True)
    reason = run.xcom("send", "reason")
    assert reason.startswith(LOST)
    said = capfd.readouterr().out
    for way in (LOST, "keep_task_state", 'repeat="on_clear"', '"resend"', '"assume_sent"'):
        assert way in said
    assert "delete" not in reason
    assert len(server.created) == 1


@senders
def test_a_dry_run_leaves_the_way_free(
    run_dag: Any, server: Hostile, monkeypatch: pytest.MonkeyPatch, sender: str
) -> None:
    connect(monkeypatch, server.connection, dry_run=True)
    with DAG("dry_first") as dag:
        SENDERS[sender]()
    run = run_dag(dag)
    assert server.requests == []
    connect(monkeypatch, server.connection)
    run.clear("send", map_index=index(sender))
    assert run.states[name(sender)] == "success"
    assert len(server.created) == 1


def test_a_sender_that_is_executed_by_hand_begins_its_try_too(run_dag: Any, server: Hostile) -> None:
    class ByHand(BaseOperator):
        """Executes a sender inside of its own try."""

        def execute(self, context: Context) -> Any:
            return one(task_id="by_hand").execute(context)

    with DAG("by_hand") as dag:
        ByHand(task_id="send", do_xcom_push=False)
    run = run_dag(dag)
    assert run.states == {"send": "success"}
    run.clear("send")
    assert run.states == {"send": "success"}
    assert len(server.created) == 1
