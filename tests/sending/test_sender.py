"""The senders of a batch are looked up before its first message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.hooks.intercom import IntercomHook
from intercom_provider.operators.message import SendMessageBatchOperator
from tests.support.dags import connect
from tests.support.hostile import error

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox
    from tests.support.hostile import Hostile


def batch(**fields: Any) -> DAG:
    with DAG("senders") as dag:
        SendMessageBatchOperator(
            task_id="send",
            messages=[{"to": {"type": "user", "user_id": f"customer-{number}"}} for number in range(30)],
            defaults={"message_type": "in_app", "body": "Hello", **fields},
        )
    return dag


def test_a_batch_from_an_unknown_admin_sends_nothing_and_names_the_field(
    run_dag: Any, sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    run = run_dag(batch(from_admin_id="1"))
    assert run.states == {"send": "failed"}
    assert "from_admin_id: 1 is not an admin of this workspace" in capfd.readouterr().out
    assert [each.path for each in sandbox.requests] == ["/admins/1"]


def test_an_unknown_default_sender_is_named_as_the_connections(
    run_dag: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    connect(monkeypatch, sandbox.connection, admin_id="2")
    assert run_dag(batch()).states == {"send": "failed"}
    assert "the connection's admin_id: 2 is not an admin" in capfd.readouterr().out
    assert sandbox.messages == []


@pytest.mark.parametrize(
    "refusal", [error(401, "token_unauthorized"), error(403, "forbidden"), error(500, "server_error")]
)
def test_a_token_that_may_not_read_admins_sends_all_the_same(run_dag: Any, server: Hostile, refusal: Any) -> None:
    server.always(refusal, path="/admins/1")
    run = run_dag(batch(from_admin_id="1"))
    assert run.states == {"send": "success"}
    assert len(server.created) == 30


def test_the_test_of_a_connection_names_the_default_sender(sandbox: Sandbox) -> None:
    works, text = IntercomHook().test_connection()
    assert works
    assert f"(admin {sandbox.connection['extra']['admin_id']})" in text


def test_the_test_of_a_connection_says_when_the_default_sender_does_not_exist(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, sandbox.connection, admin_id="2")
    works, text = IntercomHook().test_connection()
    assert not works
    assert text.startswith("admin_id: 2 is not an admin of this workspace")
