"""The trigger by itself: what Airflow stores of it, and the one event that it always ends with."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.sensors.message_status import MessageStatusSensor
from intercom_provider.triggers.message_status import MessageStatusTrigger
from tests.support.dags import connect
from tests.support.senders import TaskDeferred

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox


class TaskInstance:
    """The part of Airflow's task instance that a sensor uses."""

    try_number = 1
    max_tries = 0

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def deferred(**fields: Any) -> TaskDeferred:
    with DAG("stored"):
        sensor = MessageStatusSensor(task_id="wait", deferrable=True, **fields)
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]  # all that it asks for
    return caught.value


def revived(trigger: Any) -> MessageStatusTrigger:
    """Return the trigger that another process makes of what Airflow stored."""
    _, kwargs = trigger.serialize()
    return MessageStatusTrigger(**json.loads(json.dumps(kwargs)))


def events_of(trigger: MessageStatusTrigger) -> list[dict[str, Any]]:
    async def collect() -> list[dict[str, Any]]:
        return [event.payload async for event in trigger.run()]

    return asyncio.run(collect())


def test_stored_arguments_hold_neither_personal_data_nor_the_token(sandbox: Sandbox) -> None:
    sandbox.add_ruleset("77", events=[{"whatsapp_message_id": "wamid.1=", "status": "sent", "user_id": "user-1"}])
    sent = [
        {"outcome": "sent", "message_type": "whatsapp", "whatsapp_message_id": "wamid.1=", "key": "ada@example.com"},
        {"outcome": "rejected", "message_type": "whatsapp", "key": "+447900900905", "reason": "the body was bad"},
    ]
    for fields in ({"ruleset_id": 77, "expected_count": 1}, {"sent": sent}):
        path, kwargs = deferred(**fields).trigger.serialize()
        assert path == "intercom_provider.triggers.message_status.MessageStatusTrigger"
        stored = json.dumps(kwargs)
        for private in (sandbox.token, "ada@example.com", "447900900905", "body", "Authorization"):
            assert private not in stored


def test_a_revived_trigger_ends_at_the_deadline_that_was_set_before(sandbox: Sandbox) -> None:
    sandbox.add_ruleset("77", events=[{"whatsapp_message_id": "wamid.1=", "status": "sent"}])
    started = time.time()
    trigger = revived(deferred(ruleset_id=77, expected_count=1, timeout=1.0, poke_interval=0.3).trigger)
    time.sleep(0.8)
    (event,) = events_of(revived(trigger))
    assert event["status"] == "deadline"
    assert 0.9 <= time.time() - started < 1.7


def test_it_sleeps_before_its_first_poll_and_between_polls(sandbox: Sandbox) -> None:
    sandbox.add_ruleset("77", events=[{"whatsapp_message_id": "wamid.1=", "status": "sent"}])
    trigger = revived(deferred(ruleset_id=77, expected_count=1, timeout=1.4, poke_interval=0.5).trigger)
    events_of(trigger)
    times = [request.time for request in sandbox.requests]
    assert 2 <= len(times) <= 3
    assert all(later - earlier >= 0.45 for earlier, later in pairwise(times))


@pytest.mark.parametrize(
    ("break_it", "transient"),
    [("token", False), ("nobody there", True), ("connection", False)],
)
def test_it_ends_with_an_event_whatever_happens(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, break_it: str, transient: bool
) -> None:
    sandbox.add_ruleset("77", events=[{"whatsapp_message_id": "wamid.1=", "status": "sent"}])
    trigger = revived(deferred(ruleset_id=77, expected_count=1, timeout=60, poke_interval=0.1).trigger)
    trigger.max_failed_polls = 2
    if break_it == "token":
        connect(monkeypatch, {**sandbox.connection, "password": "another-token"})
    elif break_it == "nobody there":
        connect(monkeypatch, {**sandbox.connection, "host": "http://127.0.0.1:9"})
    else:
        connect(monkeypatch, {**sandbox.connection, "host": "ftp://example.org"})
    (event,) = events_of(trigger)
    assert event["status"] == "error"
    assert event["transient"] is transient
    assert event["message"]
    json.dumps(event)


@pytest.mark.parametrize("event", [None, {}, {"status": "settled"}, {"status": "fine", "state": {}}, "settled", []])
def test_an_invalid_event_is_an_error(sandbox: Sandbox, event: Any) -> None:
    sandbox.add_ruleset("77", events=[{"whatsapp_message_id": "wamid.1=", "status": "read"}])
    with DAG("nonsense"):
        sensor = MessageStatusSensor(task_id="wait", ruleset_id=77, expected_count=1, deferrable=True)
    with pytest.raises(Exception, match="is not valid"):
        sensor.execute_complete({"ti": TaskInstance()}, event)  # type: ignore[typeddict-item]  # as above
    assert sandbox.requests == []


def test_the_sensor_polls_before_it_trusts_that_all_is_settled(sandbox: Sandbox) -> None:
    sandbox.add_ruleset("77", events=[{"whatsapp_message_id": "wamid.1=", "status": "sent"}])
    with DAG("own_eyes"):
        sensor = MessageStatusSensor(task_id="wait", ruleset_id=77, expected_count=1, deferrable=True)
    state = deferred(ruleset_id=77, expected_count=1).trigger.state
    with pytest.raises(TaskDeferred) as again:
        sensor.execute_complete({"ti": TaskInstance()}, {"status": "settled", "state": state})  # type: ignore[typeddict-item]
    assert again.value.trigger.state["deadline"] == state["deadline"]
