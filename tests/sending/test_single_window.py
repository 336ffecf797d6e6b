"""A message goes out in its window, once, whatever happens before it opens."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.api.client import IntercomClient
from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.message import parse_message
from intercom_provider.api.settings import Settings
from intercom_provider.exceptions import InvalidFieldError
from intercom_provider.ledger.stateless import StatelessLedger
from intercom_provider.operators.message import SendMessageOperator
from intercom_provider.sending.options import SendOptions
from intercom_provider.sending.single import SingleSend
from intercom_provider.sending.window import WindowClosedError, check_outlives_deferral, read_window
from tests.support import hostile
from tests.support.dags import connect

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox
    from tests.support.hostile import Hostile

USER = {"type": "user", "id": "6762f2391bb69f9f2193bc19"}


def at(seconds: float) -> str:
    """Return the local time in UTC in so many seconds."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).time().isoformat(timespec="seconds")


def send(**fields: Any) -> SendMessageOperator:
    usual = {"task_id": "send", "message_type": "in_app", "to": USER, "body": "Hi", "timezone": "UTC"}
    return SendMessageOperator(**{**usual, **fields})


@pytest.mark.needs("task_state_store")
def test_a_window_that_opens_soon_is_waited_for_in_place(run_dag: Any, sandbox: Sandbox) -> None:
    with DAG("soon") as dag:
        send(send_window=(at(4), at(3_600)))
    begun = time.time()
    assert run_dag(dag).states == {"send": "success"}
    (message,) = sandbox.messages
    assert message.time >= int(begun) + 3


@pytest.mark.needs("task_state_store")
def test_a_message_that_was_sent_is_not_waited_for(run_dag: Any, sandbox: Sandbox) -> None:
    closes = time.time() + 6
    with DAG("sent_before") as dag:
        send(send_window=(at(-3_600), at(6)))
    run = run_dag(dag)
    assert run.states == {"send": "success"}
    time.sleep(max(0.0, closes + 1 - time.time()))
    run.clear("send")
    assert run.xcom("send", "outcome") == "already_sent"
    assert len(sandbox.messages) == 1


@pytest.mark.needs("task_state_store")
def test_a_message_whose_time_ends_before_the_window_opens_expires(run_dag: Any, sandbox: Sandbox) -> None:
    with DAG("expires") as dag:
        send(send_window=(at(3_600), at(7_200)), not_after=time.time() + 1_800)
    run = run_dag(dag)
    assert run.states == {"send": "failed"}
    assert run.xcom("send", "outcome") == "expired"
    assert "before the window opens" in run.xcom("send", "reason")
    assert not sandbox.messages


def test_a_dry_run_does_not_wait(run_dag: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, sandbox.connection, dry_run=True)
    with DAG("dry") as dag:
        send(send_window=(at(3_600), at(7_200)))
    assert run_dag(dag).xcom("send", "outcome") == "dry_run"


def test_the_window_is_judged_again_before_each_request(server: Hostile) -> None:
    server.script(*[hostile.error(404, "not_found", "User Not Found")] * 9)
    settings = Settings("token", base_url=server.url, admin_id=1)
    options = SendOptions(contact_wait=60, send_window=read_window((at(-3_600), at(3)), "UTC"))
    message = parse_message({"message_type": "in_app", "to": USER, "body": "Hi"})
    with IntercomClient(settings) as client, pytest.raises(WindowClosedError) as closed:
        SingleSend(message, settings, options, StatelessLedger()).run(client)
    assert closed.value.opens_at > datetime.now(UTC) + timedelta(hours=20)
    assert not server.created


def test_a_pause_that_ends_after_the_window_has_closed_is_not_waited_for(server: Hostile) -> None:
    server.script(hostile.rate_limited(retry_after="5"))
    settings = Settings("token", base_url=server.url, admin_id=1)
    options = SendOptions(send_window=read_window((at(-3_600), at(3)), "UTC"))
    message = parse_message({"message_type": "in_app", "to": USER, "body": "Hi"})
    with IntercomClient(settings) as client, pytest.raises(WindowClosedError):
        SingleSend(message, settings, options, StatelessLedger()).run(client)
    assert not server.created


def test_a_ledger_that_forgets_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="outlives a deferral"):
        check_outlives_deferral(StatelessLedger())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"send_window": ("9", "20:00")}, "send_window: must be two local times"),
        ({"send_window": ("09:00", "20:00"), "timezone": None}, "timezone: is needed with send_window"),
    ],
)
def test_a_window_that_is_wrong_is_refused_when_the_dag_is_parsed(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidFieldError, match=words):
        send(**fields)
