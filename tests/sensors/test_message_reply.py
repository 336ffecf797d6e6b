"""Waiting for a contact's answer in DAGs, in poke, reschedule and deferrable mode."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.exceptions import InvalidFieldError
from intercom_provider.operators.message import SendMessageOperator
from intercom_provider.sensors.message_reply import MessageReplySensor
from intercom_provider.triggers.message_reply import MessageReplyTrigger
from tests.support import hostile
from tests.support.dags import connect
from tests.support.senders import TaskDeferred

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox
    from tests.support.hostile import Hostile

MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}
# In reschedule mode only the store keeps anything from one poll to the next.
REMEMBERING = [
    pytest.param(mode, marks=pytest.mark.needs("task_state_store")) if mode == "reschedule" else mode for mode in MODES
]
OPTIONS: dict[str, dict[str, Any]] = {"plain": {}, "soft_fail": {"soft_fail": True}, "never_fail": {"never_fail": True}}
MESSAGE = {"message_type": "inapp", "from": {"type": "admin", "id": "814860"}, "to": {"type": "user", "id": "ada"}}
SEARCH = "/conversations/search"


def send(sandbox: Sandbox, **fields: Any) -> str:
    world = sandbox._state.workspace  # noqa: SLF001 - what a sender would have done
    message_id: str = world.send({**MESSAGE, "body": "Hi", **fields}, time.time()).id
    return message_id


def reply_to(**fields: Any) -> MessageReplySensor:
    return MessageReplySensor(**{"task_id": "wait", "poke_interval": 0.2, "timeout": 20, **fields})


def values_of(run: Any) -> list[Any]:
    values = run.xcom("wait")
    assert values.keys() == {"conversation_id", "replied_at", "timed_out"} <= run.xcoms("wait").keys()
    return list(values.values())


def found(*conversations: dict[str, Any]) -> hostile.Act:
    return hostile.answer(200, {"type": "conversation.list", "conversations": list(conversations)})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("at_once", [False, True], ids=["no conversation before", "a conversation at once"])
def test_an_answer_is_waited_for_and_reported(run_dag: Any, sandbox: Sandbox, mode: str, at_once: bool) -> None:
    sandbox.settings.speed = 50.0
    with DAG(f"answered_{mode}_{at_once}") as dag:
        sent = SendMessageOperator(
            task_id="send",
            message_type="in_app",
            to={"type": "user", "id": "ada"},
            body="Shall we call you?",
            create_conversation_without_contact_reply=at_once,
        )
        reply_to(message_id=sent.output["id"], **MODES[mode])  # type: ignore[index]  # Airflow's XComArg

    def answer() -> None:
        until = time.time() + 30
        while not any(request.path == SEARCH for request in sandbox.requests) and time.time() < until:
            time.sleep(0.02)
        time.sleep(0.3)
        sandbox.reply(sandbox.messages[0].id)

    contact = threading.Thread(target=answer)
    contact.start()
    run = run_dag(dag)
    contact.join()
    assert run.states == {"send": "success", "wait": "success"}
    (message,) = sandbox.messages
    assert message.replied_at
    assert values_of(run) == [message.conversation_id, int(message.replied_at), False]
    assert run.link("wait").endswith(f"/inbox/conversation/{message.conversation_id}")


@pytest.mark.parametrize(("mode", "option", "on_timeout"), list(product(MODES, OPTIONS, ["fail", "report"])))
def test_the_mode_does_not_change_how_a_time_out_ends(
    run_dag: Any, sandbox: Sandbox, mode: str, option: str, on_timeout: Any
) -> None:
    message_id = send(sandbox, create_conversation_without_contact_reply=True)
    sandbox.settings.speed = 10_000.0
    with DAG(f"no_answer_{mode}_{option}_{on_timeout}") as dag:
        reply_to(message_id=message_id, timeout=0.4, on_timeout=on_timeout, retries=2, **MODES[mode], **OPTIONS[option])
    run = run_dag(dag)
    ends_badly = "failed" if option == "plain" else "skipped"
    assert run.states == {"wait": "success" if on_timeout == "report" else ends_badly}
    assert values_of(run) == [sandbox.messages[0].conversation_id, None, True]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("status", "code"), [(400, "client_error"), (401, "token_unauthorized"), (403, "forbidden")])
def test_a_permanent_error_ends_the_wait_at_once_with_intercoms_words(
    run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str], mode: str, status: int, code: str
) -> None:
    server.script(found())
    server.always(hostile.error(status, code, "words of Intercom"))
    with DAG(f"refused_{mode}_{status}") as dag:
        reply_to(message_id=7, retries=2, **MODES[mode])
    run = run_dag(dag)
    assert run.states == {"wait": "failed"}
    assert len(server.requests) == 2
    said = capfd.readouterr().out
    assert f"Intercom answered {status} {code}" in said
    assert "words of Intercom" in said


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", [hostile.error(500, "server_error"), hostile.drop(), hostile.html(200)])
def test_transient_errors_do_not_end_a_wait(run_dag: Any, server: Hostile, mode: str, fault: hostile.Act) -> None:
    server.script(fault, fault)
    server.always(found({"id": "55", "statistics": {"last_contact_reply_at": 1_760_000_000}}))
    with DAG(f"reply_ridden_out_{mode}") as dag:
        reply_to(message_id="7", **MODES[mode])
    run = run_dag(dag)
    assert run.states == {"wait": "success"}
    assert [run.xcom("wait", key) for key in ("replied_at", "timed_out")] == [1_760_000_000, False]


@pytest.mark.parametrize("mode", REMEMBERING)
def test_the_deadline_ends_the_wait_whatever_the_server_does(run_dag: Any, server: Hostile, mode: str) -> None:
    server.script(found({"id": "conversation-55"}))
    server.always(hostile.error(500, "server_error"))
    with DAG(f"reply_deadline_{mode}") as dag:
        reply_to(message_id="7", timeout=0.8, on_timeout="report", **MODES[mode])
    started = time.time()
    run = run_dag(dag)
    assert time.time() - started < 10
    # The report is that of the last poll that succeeded.
    assert run.states == {"wait": "success"}
    assert values_of(run) == ["conversation-55", None, True]


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_comes_with_the_deadline_counts(run_dag: Any, server: Hostile, mode: str) -> None:
    polls = itertools.count(1)

    def answered_late(exchange: hostile.Exchange) -> None:
        answer = {"created_at": 1_760_000_000} if next(polls) > 1 else None
        found({"id": "55", "first_contact_reply": answer}).run(exchange)

    server.always(hostile.Act(answered_late))
    with DAG(f"reply_last_look_{mode}") as dag:
        reply_to(message_id="7", timeout=0.8, poke_interval=1.0, **MODES[mode])
    assert run_dag(dag).states == {"wait": "success"}


@pytest.mark.parametrize(
    ("message_id", "advice"),
    [
        ("", "missing"),
        ("None", "missing"),
        (None, "missing"),
        ("wamid.HBgf2pRM", 'XCom "id"'),
        (True, "one message"),
        (["1", "2"], "one message"),
        ("1 2", "one message"),
    ],
)
def test_a_wrong_message_id_fails_with_advice_when_the_dag_is_parsed(message_id: Any, advice: str) -> None:
    with DAG("wrong_reply"), pytest.raises(InvalidFieldError, match=advice):
        reply_to(message_id=message_id)


def test_other_wrong_literals_fail_when_the_dag_is_parsed() -> None:
    for field, value in (("on_timeout", "skip"), ("api_version", "2")):
        with DAG("wrong_reply"), pytest.raises(InvalidFieldError, match=field):
            reply_to(message_id="7", **{field: value})


@pytest.mark.parametrize("message_id", ["", "wamid.HBgf2pRM"])
def test_a_template_without_a_message_id_fails_before_any_request(
    run_dag: Any, sandbox: Sandbox, message_id: str
) -> None:
    with DAG("rendered_reply", params={"id": message_id}) as dag:
        reply_to(message_id="{{ params.id }}", retries=2)
    assert run_dag(dag).states == {"wait": "failed"}
    assert sandbox.requests == []


class TaskInstance:
    """The part of Airflow's task instance that a sensor uses."""

    try_number = 1

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep nothing."""


def deferred(**fields: Any) -> MessageReplyTrigger:
    with DAG("stored_reply"):
        sensor = reply_to(deferrable=True, **fields)
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]  # all that it asks for
    path, kwargs = caught.value.trigger.serialize()
    assert path == "intercom_provider.triggers.message_reply.MessageReplyTrigger"
    return MessageReplyTrigger(**json.loads(json.dumps(kwargs)))


def events_of(trigger: MessageReplyTrigger) -> list[dict[str, Any]]:
    async def collect() -> list[dict[str, Any]]:
        return [event.payload async for event in trigger.run()]

    return asyncio.run(collect())


def test_a_revived_trigger_ends_at_the_deadline_that_was_set_before(sandbox: Sandbox) -> None:
    started = time.time()
    trigger = deferred(message_id=send(sandbox), timeout=1.0, poke_interval=0.3)
    assert sandbox.token not in json.dumps(trigger.serialize())
    time.sleep(0.6)
    (event,) = events_of(trigger)
    assert event["status"] == "deadline"
    assert 0.9 <= time.time() - started < 1.7


@pytest.mark.parametrize(("break_it", "transient"), [("token", False), ("nobody there", True), ("state", True)])
def test_the_trigger_ends_with_an_event_whatever_happens(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, break_it: str, transient: bool
) -> None:
    trigger = deferred(message_id=send(sandbox), timeout=60, poke_interval=0.1)
    trigger.max_failed_polls = 1
    if break_it == "token":
        connect(monkeypatch, {**sandbox.connection, "password": "another-token"})
    elif break_it == "nobody there":
        connect(monkeypatch, {**sandbox.connection, "host": "http://127.0.0.1:9"})
    else:
        trigger.state = {"of": "another version"}
    (event,) = events_of(trigger)
    assert (event["status"], event["transient"]) == ("error", transient)
    assert event["message"]
