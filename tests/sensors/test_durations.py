"""Durations without a floor or an end are refused by name, and nothing polls faster than ten times a second."""

from __future__ import annotations

import asyncio
import json
import math
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.exceptions import InvalidFieldError
from intercom_provider.sensors.message_reply import MessageReplySensor
from intercom_provider.sensors.message_status import MessageStatusSensor
from intercom_provider.triggers.message_reply import MessageReplyTrigger
from intercom_provider.triggers.message_status import MessageStatusTrigger
from intercom_provider.triggers.ruleset import RulesetSettledTrigger
from intercom_provider.waiting.criteria import Criteria
from intercom_provider.waiting.delivery_wait import DeliveryWait
from intercom_provider.waiting.reply_wait import ReplyWait
from intercom_provider.waiting.target import RulesetTarget
from tests.support.dags import connect
from tests.support.hostile import Hostile, event

if TYPE_CHECKING:
    from collections.abc import Iterator

ODD = [
    -1,
    -0.001,
    math.nan,
    math.inf,
    -math.inf,
    True,
    1e300,
    10**400,
    timedelta(seconds=-1),
    timedelta.max,
    timedelta.min,
]
SENSORS: dict[str, Any] = {
    "status": lambda **fields: MessageStatusSensor(task_id="wait", ruleset_id=77, expected_count=1, **fields),
    "reply": lambda **fields: MessageReplySensor(task_id="wait", message_id="403", **fields),
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    """Start an Intercom where one message is always on its way."""
    with Hostile() as server:
        server.pages = [[event("wamid.1", "sent")]]
        connect(monkeypatch, server.connection)
        yield server


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("field", ["poke_interval", "timeout", "max_wait"])
@pytest.mark.parametrize("odd", ODD, ids=str)
def test_a_sensor_refuses_a_duration_that_makes_no_sense(sensor: str, field: str, odd: Any) -> None:
    with DAG("odd_durations"), pytest.raises(InvalidFieldError, match=f"{field}: must be seconds"):
        SENSORS[sensor](**{field: odd})


@pytest.mark.parametrize("odd", [*ODD, None, "soon", []], ids=str)
def test_settle_for_is_refused_as_well(odd: Any) -> None:
    with DAG("odd_settle_for"), pytest.raises(InvalidFieldError, match="settle_for: must be seconds"):
        MessageStatusSensor(task_id="wait", ruleset_id=77, settle_for=odd)
    with pytest.raises(InvalidFieldError, match="settle_for: must be seconds"):
        RulesetSettledTrigger("77", settle_for=odd)


@pytest.mark.parametrize("odd", [*ODD, 0, None, "soon"], ids=str)
def test_the_trigger_of_watchers_refuses_an_interval_that_makes_no_sense(odd: Any) -> None:
    with pytest.raises(InvalidFieldError, match="poke_interval: must be seconds, above 0"):
        RulesetSettledTrigger("77", poke_interval=odd)


@pytest.mark.parametrize(
    "fields",
    [
        {"poke_interval": 0},
        {"poke_interval": 1e-9},
        {"poke_interval": timedelta(0)},
        {"poke_interval": 0.001, "exponential_backoff": True, "max_wait": 0.001},
        {"poke_interval": 60, "exponential_backoff": True, "max_wait": timedelta(microseconds=1)},
    ],
    ids=str,
)
@pytest.mark.parametrize("sensor", SENSORS)
def test_a_sensor_polls_at_most_ten_times_a_second(server: Hostile, sensor: str, fields: dict[str, Any]) -> None:
    with DAG("fast"):
        waiting = SENSORS[sensor](timeout=1.0, on_timeout="report", **fields)
    waiting.execute({"ti": object()})
    assert 2 <= len(server.requests) <= 13


def test_an_interval_that_is_set_later_has_a_floor_as_well(server: Hostile) -> None:
    with DAG("set_later"):
        waiting = MessageStatusSensor(task_id="wait", ruleset_id=77, expected_count=1, timeout=1.0, on_timeout="report")
    waiting.poke_interval = 0
    waiting.execute({"ti": object()})  # type: ignore[typeddict-item]  # all that it asks for
    assert 2 <= len(server.requests) <= 13


@pytest.mark.parametrize("sensor", SENSORS)
def test_a_clock_that_is_set_back_does_not_prolong_a_wait(
    server: Hostile, sensor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DAG("set_back"):
        waiting = SENSORS[sensor](timeout=1.5, on_timeout="report", poke_interval=0.2)
    now = time.time
    monkeypatch.setattr("time.time", lambda: now() - 3_600 * bool(server.requests))
    began = time.monotonic()
    assert waiting.execute({"ti": object()})["timed_out"] is True
    assert time.monotonic() - began < 60


TRIGGERS: dict[str, Any] = {
    "status": lambda state, **fields: MessageStatusTrigger(
        target={"ruleset_id": "77", "created_after": None}, criteria={"expected_count": 1}, state=state, **fields
    ),
    "reply": lambda state, **fields: MessageReplyTrigger(message_id="403", state=state, **fields),
}


def edited(kind: str, state: dict[str, Any] | None = None, **fields: Any) -> list[dict[str, Any]]:
    """Run a trigger of which somebody has edited what Airflow stored, and return its events."""
    now = time.time()
    times: dict[str, Any] = {"started": now, "deadline": now + 1.0}
    wait: Any = ReplyWait(message_id="403", **times)
    if kind == "status":
        wait = DeliveryWait(target=RulesetTarget("77"), criteria=Criteria(), **times)
    usual: dict[str, Any] = {"intercom_conn_id": "intercom_default", "api_version": None, "poke_interval": 0.2}
    trigger: Any = TRIGGERS[kind](json.loads(json.dumps({**wait.state(), **(state or {})})), **{**usual, **fields})

    async def run() -> list[Any]:
        return [each.payload async for each in trigger.run()]

    return asyncio.run(asyncio.wait_for(run(), 10))


@pytest.mark.parametrize("kind", TRIGGERS)
def test_a_clock_that_is_set_back_does_not_prolong_a_deferred_wait(
    server: Hostile, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    monkeypatch.setattr("time.time", lambda: now() - 3_600 * bool(server.requests))
    assert [each["status"] for each in edited(kind)] == ["deadline"]


def test_a_clock_that_is_set_back_does_not_prolong_settle_for(server: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    server.pages = [[event("wamid.1", "delivered")]]
    with DAG("settles"):
        waiting = MessageStatusSensor(
            task_id="wait", ruleset_id=77, settle_for=0.6, timeout=20, on_timeout="report", poke_interval=0.2
        )
    now = time.time
    monkeypatch.setattr("time.time", lambda: now() - 3_600 * (len(server.requests) > 1))
    values: Any = waiting.execute({"ti": object()})  # type: ignore[typeddict-item]  # all that it asks for
    assert (values["timed_out"], values["delivered"]) == (False, 1)


@pytest.mark.parametrize("kind", TRIGGERS)
@pytest.mark.parametrize("field", ["poke_interval", "max_wait"])
@pytest.mark.parametrize("odd", [-1, math.nan, math.inf, True, "60", [], 1e300], ids=str)
def test_a_row_with_an_odd_interval_ends_with_an_event_that_names_it(
    server: Hostile, kind: str, field: str, odd: Any
) -> None:
    (ended,) = edited(kind, **{field: odd})
    assert (ended["status"], ended["transient"]) == ("error", False)
    assert f"{field}: must be seconds" in ended["message"]
    assert server.requests == []


@pytest.mark.parametrize("kind", TRIGGERS)
@pytest.mark.parametrize(
    "fields", [{"poke_interval": 0}, {"poke_interval": 1e-9, "exponential_backoff": True, "max_wait": 0}], ids=str
)
def test_a_row_without_a_pause_polls_at_most_ten_times_a_second(
    server: Hostile, kind: str, fields: dict[str, Any]
) -> None:
    (ended,) = edited(kind, **fields)
    assert ended["status"] == "deadline"
    assert 2 <= len(server.requests) <= 12


@pytest.mark.parametrize("kind", TRIGGERS)
@pytest.mark.parametrize("field", ["started", "deadline", "not_before"])
@pytest.mark.parametrize("odd", [math.nan, math.inf, None, "soon"], ids=str)
def test_a_row_with_an_odd_time_ends_with_an_event(server: Hostile, kind: str, field: str, odd: Any) -> None:
    (ended,) = edited(kind, {field: odd})
    assert ended["status"] == "error"
    assert server.requests == []
