"""The ledger: nobody is messaged twice by a retry, and no outcome is made up."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.operators.message import SendMessageOperator
from tests.support import hostile
from tests.support.dags import connect
from tests.support.senders import FailsAfterwards

if TYPE_CHECKING:
    from airflow.sdk import Context

    from tests.support.hostile import Hostile

USER = {"type": "user", "id": "6762f2391bb69f9f2193bc19"}


def message(**fields: Any) -> dict[str, Any]:
    # A body with a fresh time in it is the same message on the next try.
    usual = {"task_id": "send", "message_type": "in_app", "to": USER, "body": "{{ macros.time.time() }}", "retries": 2}
    return {**usual, "retry_delay": timedelta(seconds=0.1), **fields}


# A fault of the first reply -> the number of messages that exist in the end, the task's state, and its outcome.
FAULTS: dict[str, tuple[list[hostile.Act], int, str, str]] = {
    "nothing": ([], 1, "success", "sent"),
    "dropped before it was read": ([hostile.drop_unread()], 0, "failed", "unconfirmed"),
    "dropped after it was done": ([hostile.drop(created=True)], 1, "failed", "unconfirmed"),
    "dropped after it was read": ([hostile.drop()], 0, "failed", "unconfirmed"),
    "500 before": ([hostile.error(500, "server_error")], 0, "failed", "unconfirmed"),
    "500 after": ([hostile.answer(500, created=True)], 1, "failed", "unconfirmed"),
    "late": ([hostile.late(6.0, created=True)], 1, "failed", "unconfirmed"),
    "dripping": ([hostile.dripping_body(0.1, created=True)], 1, "failed", "unconfirmed"),
    "half a reply": ([hostile.cut_short(created=True)], 1, "failed", "unconfirmed"),
    "half of the JSON": ([hostile.half_json(created=True)], 1, "failed", "unconfirmed"),
    "a page of HTML": ([hostile.html(200, created=True)], 1, "failed", "unconfirmed"),
    "redirected": ([hostile.redirect()], 0, "failed", "unconfirmed"),
    "429 with a reset": ([hostile.rate_limited(reset_in=1)], 1, "success", "sent"),
    "429 with a wait": ([hostile.rate_limited(retry_after="1")], 1, "success", "sent"),
    "429 without a word": ([hostile.rate_limited()], 1, "success", "sent"),
    "404 for ever": ([hostile.error(404, "not_found", "no")] * 9, 0, "failed", "rejected"),
    "422": ([hostile.error(422, "parameter_invalid", "no")], 0, "failed", "rejected"),
    "401": ([hostile.error(401, "token_unauthorized", "no")], 0, "failed", "rejected"),
    "403": ([hostile.error(403, "forbidden", "no")], 0, "failed", "rejected"),
    "429 for long": ([hostile.rate_limited(retry_after="120")] * 9, 0, "failed", "not_sent"),
}
# These are retried, and the retry has to know that nothing was sent.
RETRIED = ("404 for ever", "429 for long")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, marks=pytest.mark.needs("task_state_store")) if fault in RETRIED else fault
        for fault in FAULTS
    ],
)
def test_any_fault_leads_to_one_message_at_most_and_a_true_outcome(run_dag: Any, server: Hostile, fault: str) -> None:
    acts, created, state, outcome = FAULTS[fault]
    server.script(*acts)
    with DAG("fault") as dag:
        SendMessageOperator(**message(contact_wait=0.1))
    run = run_dag(dag)
    assert run.states == {"send": state}
    assert len(server.created) == created
    assert run.xcom("send", "outcome") == outcome


@pytest.mark.needs("task_state_store")
def test_a_retry_finds_what_was_sent_and_sends_nothing(
    run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str]
) -> None:
    with DAG("retried") as dag:
        FailsAfterwards(**message())
    began = int(time.time())
    run = run_dag(dag)
    seconds = range(began, int(time.time()) + 1)
    assert run.states == {"send": "success"}
    assert len(server.created) == 1
    told = run.xcoms("send")
    assert told["outcome"] == "already_sent"
    assert told["id"]
    assert told["created_at"]
    assert told["message_type"] == "in_app"
    said = capfd.readouterr().out
    when = re.search(rf"already sent by attempt 1 at (\S+) UTC as message {told['id']}; not sending again", said)
    assert when
    assert when[1] in [time.strftime("%H:%M:%S", time.gmtime(second)) for second in seconds]


@pytest.mark.needs("task_state_store")
@pytest.mark.parametrize(
    "to",
    [
        {"phone": "+447900123456", "name": "Ada {{ ti.try_number }}"},
        {"type": "user", "email": "{{ 'Ada' if ti.try_number == 1 else 'ada' }}@example.com"},
        {"type": "{{ 'lead' if ti.try_number == 1 else 'user' }}", "id": "6762f239"},
    ],
    ids=["another name", "another case", "another role"],
)
def test_another_name_or_role_is_the_same_recipient(run_dag: Any, server: Hostile, to: dict[str, str]) -> None:
    kind = {"message_type": "whatsapp", "template": "t", "body": None} if "phone" in to else {"message_type": "in_app"}
    with DAG("same_person") as dag:
        FailsAfterwards(**message(to=to, **kind))
    run = run_dag(dag)
    assert run.xcom("send", "outcome") == "already_sent"
    assert len(server.created) == 1


@pytest.mark.needs("task_state_store")
def test_another_recipient_is_another_message(run_dag: Any, server: Hostile) -> None:
    with DAG("somebody_else") as dag:
        FailsAfterwards(**message(to={"type": "user", "id": "contact-{{ ti.try_number }}"}))
    assert run_dag(dag).xcom("send", "outcome") == "sent"
    assert len(server.created) == 2


@pytest.mark.needs("task_state_store")
def test_execution_timeout_while_waiting_for_a_contact_leaves_it_to_the_retry(run_dag: Any, server: Hostile) -> None:
    server.script(*[hostile.error(404, "not_found", "Not found")] * 3)
    with DAG("struck_between") as dag:
        SendMessageOperator(**message(contact_wait=30, execution_timeout=timedelta(seconds=3)))
    run = run_dag(dag)
    assert run.states == {"send": "success"}
    assert run.xcom("send", "outcome") == "sent"
    assert len(server.created) == 1


def test_a_task_that_was_killed_before_it_began_sends_nothing(run_dag: Any, server: Hostile) -> None:
    class Killed(SendMessageOperator):
        """Is stopped before its hook exists."""

        def execute(self, context: Context) -> dict[str, Any]:
            self.on_kill()
            return super().execute(context)

    with DAG("killed") as dag:
        Killed(**message(retries=0))
    run = run_dag(dag)
    assert run.states == {"send": "failed"}
    assert run.xcom("send", "outcome") == "not_sent"
    assert server.requests == []


def test_always_sends_with_every_try(run_dag: Any, server: Hostile) -> None:
    with DAG("always") as dag:
        FailsAfterwards(**message(repeat="{{ params.repeat }}", params={"repeat": "always"}))
    assert run_dag(dag).xcom("send", "outcome") == "sent"
    assert len(server.created) == 2


@pytest.mark.needs("task_state_store")
def test_a_retry_does_not_count_as_a_clear(run_dag: Any, server: Hostile) -> None:
    with DAG("no_clear") as dag:
        FailsAfterwards(**message(repeat="on_clear"))
    assert run_dag(dag).xcom("send", "outcome") == "already_sent"
    assert len(server.created) == 1


@pytest.mark.needs("task_state_store")
def test_a_contact_that_is_there_for_the_retry_is_messaged_once(
    run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str]
) -> None:
    server.script(hostile.error(404, "not_found", "no"))
    with DAG("later") as dag:
        SendMessageOperator(**message(contact_wait=0))
    run = run_dag(dag)
    assert run.states == {"send": "success"}
    assert len(server.created) == 1
    said = capfd.readouterr().out
    assert "a new contact takes a moment to appear" in said
    assert "the sender's admin id" in said


@pytest.mark.needs("task_state_store")
def test_an_unconfirmed_attempt_says_what_to_check_and_what_to_do(
    run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str]
) -> None:
    server.script(hostile.drop(created=True))
    with DAG("ways_on") as dag:
        SendMessageOperator(**message())
    run = run_dag(dag)
    said = capfd.readouterr().out
    for part in ("Look for it in Intercom", '"resend"', '"assume_sent"'):
        assert part in said
    assert len(server.requests) == 1
    assert "unconfirmed" in run.xcom("send", "reason")


def test_resend_sends_again_with_the_next_try(run_dag: Any, server: Hostile) -> None:
    server.script(hostile.drop(created=False))
    with DAG("resend") as dag:
        SendMessageOperator(**message(on_unconfirmed="resend"))
    run = run_dag(dag)
    assert run.states == {"send": "success"}
    assert run.xcom("send", "outcome") == "sent"
    assert (len(server.requests), len(server.created)) == (2, 1)


def test_assume_sent_succeeds_with_the_outcome_unconfirmed(run_dag: Any, server: Hostile) -> None:
    server.script(hostile.drop(created=True))
    with DAG("assume") as dag:
        SendMessageOperator(**message(on_unconfirmed="assume_sent"))
    run = run_dag(dag)
    assert run.states == {"send": "success"}
    assert run.xcom("send", "outcome") == "unconfirmed"
    assert "assumed" in run.xcom("send", "reason")
    assert len(server.created) == 1


@pytest.mark.needs("task_state_store")
def test_a_message_that_certainly_was_not_sent_is_sent_by_the_retry(run_dag: Any, server: Hostile) -> None:
    # Too long to wait for in the call: the task has to come again.
    server.script(hostile.rate_limited(retry_after="120"))
    with DAG("again") as dag:
        SendMessageOperator(**message())
    run = run_dag(dag)
    assert run.states == {"send": "success"}
    assert run.xcom("send", "outcome") == "sent"
    assert len(server.created) == 1


def test_execution_timeout_while_sending_is_called_unconfirmed(run_dag: Any, server: Hostile) -> None:
    server.script(hostile.late(6.0, created=True))
    with DAG("struck") as dag:
        SendMessageOperator(**message(retries=0, execution_timeout=timedelta(seconds=0.8)))
    run = run_dag(dag)
    assert run.states == {"send": "failed"}
    assert run.xcom("send", "outcome") == "unconfirmed"
    assert len(server.created) == 1


@pytest.mark.needs("task_state_store")
def test_a_dry_run_leaves_no_intent_in_the_ledger(
    run_dag: Any, server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WetOnRetry(FailsAfterwards):
        """The connection stops being dry between two tries."""

        def execute(self, context: Context) -> dict[str, Any]:
            connect(monkeypatch, server.connection, dry_run=context["ti"].try_number == 1)
            return super().execute(context)

    with DAG("dry_then_wet") as dag:
        WetOnRetry(**message())
    run = run_dag(dag)
    assert run.xcom("send", "outcome") == "sent"
    assert len(server.created) == 1


@pytest.mark.needs("task_state_store")
def test_the_ledger_holds_no_recipient_and_no_text(run_dag: Any, server: Hostile) -> None:
    from airflow.models.task_state_store import TaskStateStoreModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with DAG("private") as dag:
        SendMessageOperator(**message(to={"type": "user", "email": "ada@example.com"}, body="secret words", key="K-1"))
    run = run_dag(dag)
    with create_session() as session:
        rows = session.scalars(select(TaskStateStoreModel).where(TaskStateStoreModel.run_id == run.run_id)).all()
        (kept,) = [f"{row.key} {row.value}" for row in rows]
        (expires,) = [row.expires_at for row in rows]
    assert expires is None
    assert '"state": "sent"' in kept
    for private in ("ada@example.com", "secret words", "K-1", server.token):
        assert private not in kept


class FullStore:
    """A state store backend of Airflow's that cannot write."""

    def serialize_task_state_store_to_ref(self, **_: Any) -> str:
        raise OSError("no space left")


@pytest.mark.needs("task_state_store")
def test_where_the_intent_cannot_be_written_nothing_is_sent(
    run_dag: Any, server: Hostile, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from airflow.sdk.execution_time.context import _get_worker_state_store_backend

    monkeypatch.setenv("AIRFLOW__WORKERS__STATE_STORE_BACKEND", f"{__name__}.FullStore")
    _get_worker_state_store_backend.cache_clear()
    try:
        with DAG("full") as dag:
            SendMessageOperator(**message(retries=0))
        assert run_dag(dag).states == {"send": "failed"}
    finally:
        _get_worker_state_store_backend.cache_clear()
    assert "no space left" in capfd.readouterr().out
    assert server.requests == []


@pytest.mark.needs("task_state_store")
def test_a_store_that_is_emptied_on_success_causes_a_warning(
    run_dag: Any, server: Hostile, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS", "True")
    with DAG("forgets") as dag:
        SendMessageOperator(**message())
    assert run_dag(dag).states == {"send": "success"}
    assert "If you clear it after that, on_unconfirmed decides" in capfd.readouterr().out
    assert len(server.created) == 1


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("on_rejected", ["fail", "report"])
def test_a_message_that_nobody_read_is_not_sent_whatever_on_rejected_says(
    run_dag: Any, server: Hostile, monkeypatch: pytest.MonkeyPatch, on_rejected: Any
) -> None:
    with hostile.Hostile() as gone:
        connection = gone.connection
    connect(monkeypatch, connection, timeout=1.0)
    with DAG(f"nobody_there_{on_rejected}") as dag:
        SendMessageOperator(**message(retries=0, on_rejected=on_rejected, execution_timeout=timedelta(seconds=30)))
    run = run_dag(dag)
    assert run.states == {"send": "failed"}
    assert run.xcom("send", "outcome") == "not_sent"
    assert "The message was not sent" in run.xcom("send", "reason")
    assert server.requests == []


@pytest.mark.usefixtures("short_pauses")
def test_a_rate_limit_that_stays_used_up_is_not_reported_as_a_refusal(run_dag: Any, server: Hostile) -> None:
    server.script(hostile.rate_limited(retry_after="120"))
    with DAG("used_up") as dag:
        SendMessageOperator(**message(retries=0, on_rejected="report"))
    run = run_dag(dag)
    assert run.states == {"send": "failed"}
    assert run.xcom("send", "outcome") == "not_sent"


def test_a_wrong_token_is_not_reported_as_a_refusal_of_the_message(run_dag: Any, server: Hostile) -> None:
    server.script(hostile.error(401, "token_unauthorized", "no"))
    with DAG("wrong_token") as dag:
        SendMessageOperator(**message(retries=0, on_rejected="report"))
    run = run_dag(dag)
    assert run.states == {"send": "failed"}
    assert run.xcom("send", "outcome") == "rejected"


@pytest.mark.needs("task_state_store")
def test_a_mapped_task_whose_template_fails_has_published_its_ledger(run_dag: Any, server: Hostile) -> None:
    with DAG("fails_to_render") as dag:
        fields = message(retries=0, body="{{ nothing.here }}")
        to = fields.pop("to")
        SendMessageOperator.partial(**fields).expand(to=[to])
    run = run_dag(dag)
    assert run.states == {"send[0]": "failed"}
    assert run.xcom("send", "ledger", 0) == {"map_index": 0, "entries": {}, "is_final": True}
    assert server.requests == []
