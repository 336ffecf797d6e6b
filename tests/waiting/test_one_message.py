"""One message whose status cannot be asked for does not end the wait for all others."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.sensors.message_status import MessageStatusSensor
from intercom_provider.triggers.message_status import MessageStatusTrigger
from intercom_provider.waiting.statuses import Summary
from intercom_provider.waiting.target import MessagesTarget
from tests.support import hostile
from tests.support.dags import connect
from tests.support.hostile import Act, Exchange, Hostile
from tests.waiting.polled_wait import START, PolledWait

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PATH = "/messages/whatsapp/status"
UNKNOWN = hostile.error(404, "whatsapp_message_not_found", "WhatsApp message not found")
REFUSED = {
    "400": hostile.error(400, "parameter_invalid", "bad id"),
    "410": hostile.error(410, "gone", "It is gone"),
    "422": hostile.error(422, "unprocessable_entity", "no"),
    "unknown code": hostile.error(409, "some_new_code", "no"),
}
PASSING = {
    "500": hostile.error(500, "server_error"),
    "503": hostile.html(503),
    "dropped": hostile.drop(),
    "HTML": hostile.html(200),
    "another message": hostile.answer(200, {"message_id": "wamid.other", "status": "failed"}),
    "no status": hostile.answer(200, {"message_id": "wamid.x"}),
}
FOR_ALL = {
    "401": hostile.error(401, "unauthorized", "Access Token Invalid"),
    "403": hostile.error(403, "forbidden", "You do not have the required scope"),
    "version": hostile.error(400, "intercom_version_invalid", "Requested resource is not available"),
}
IDS = tuple(f"wamid.{number}" for number in range(8))

pytestmark = pytest.mark.usefixtures("short_pauses")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    with Hostile() as server:
        connect(monkeypatch, server.connection)
        yield server


def by_id(server: Hostile, acts: Mapping[str, Act], others: Act | None = None) -> None:
    """Answer requests for some messages in their own way."""

    def run(exchange: Exchange) -> None:
        acts.get(exchange.request.query.get("message_id", ""), others or hostile.healthy()).run(exchange)

    server.always(Act(run), PATH)


def messages(server: Hostile, ids: tuple[str, ...] = IDS, **criteria: Any) -> PolledWait:
    return PolledWait(server, MessagesTarget(ids), expected_count=len(ids), **criteria)


@pytest.mark.parametrize("which", [IDS[:1], IDS[3:4], IDS[:5], IDS])
def test_an_unknown_message_is_pending_for_ten_minutes_and_then_failed(server: Hostile, which: tuple[str, ...]) -> None:
    by_id(server, dict.fromkeys(which, UNKNOWN))
    wait = messages(server)
    assert wait.poll(full=True) == "wait"
    assert wait.summary == Summary(total=8, sent=len(which), delivered=8 - len(which))
    wait.now = START + 600
    assert wait.poll(full=True) == "settled"
    assert wait.summary == Summary(total=8, delivered=8 - len(which), failed=len(which))
    reasons = {seen.whatsapp_message_id: seen.reason or "" for seen in wait.seen if seen.status == "failed"}
    assert set(reasons) == set(which)
    assert all("Intercom does not know this message" in reason for reason in reasons.values())


@pytest.mark.parametrize("position", [0, 3, 7])
@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_message_has_failed_as_long_as_others_are_answered(server: Hostile, kind: str, position: int) -> None:
    by_id(server, {IDS[position]: REFUSED[kind]})
    wait = messages(server)
    assert wait.poll(full=True) == "settled"
    assert wait.summary == Summary(total=8, delivered=7, failed=1)
    (failed,) = [seen for seen in wait.seen if seen.status == "failed"]
    assert failed.whatsapp_message_id == IDS[position]
    assert "Intercom answered 4" in str(failed.reason)


@pytest.mark.parametrize("position", [0, 7])
@pytest.mark.parametrize("kind", PASSING)
def test_a_message_whose_request_keeps_failing_stays_pending(server: Hostile, kind: str, position: int) -> None:
    by_id(server, {IDS[position]: PASSING[kind]})
    wait = messages(server)
    for _ in range(12):
        assert wait.poll(may_stop_early=False) == "wait"
        assert wait.state["failed_polls"] == 0
        wait.max_pending_a_poll = 1
    assert (wait.progress_values["pending"], wait.progress_values["delivered"]) == (1, 7)
    by_id(server, {})
    assert wait.poll(may_stop_early=False) == "settled"


@pytest.mark.parametrize("kind", FOR_ALL)
def test_a_refusal_of_the_token_or_the_version_ends_the_wait(server: Hostile, kind: str) -> None:
    by_id(server, {IDS[5]: FOR_ALL[kind]})
    with pytest.raises(Exception, match="Intercom answered 40"):
        messages(server).poll()


@pytest.mark.parametrize("kind", [*REFUSED, *PASSING])
def test_an_error_of_all_requests_is_an_error_of_the_poll(server: Hostile, kind: str) -> None:
    by_id(server, {}, others={**REFUSED, **PASSING}[kind])
    wait = messages(server)
    if kind in REFUSED:
        with pytest.raises(Exception, match="Intercom answered 4"):
            wait.poll()
    else:
        assert wait.poll() == "wait"
        assert wait.state["failed_polls"] == 1
    assert len(server.requests) <= 3


def test_a_refusal_of_all_that_are_left_is_an_error_when_the_settled_ones_are_refused_as_well(server: Hostile) -> None:
    sent = hostile.answer(200, {"message_id": IDS[7], "status": "sent"})
    by_id(server, {IDS[7]: sent})
    wait = messages(server)
    assert wait.poll() == "wait"
    by_id(server, {}, others=REFUSED["400"])
    with pytest.raises(Exception, match="bad id"):
        wait.poll()


def test_a_404_that_is_not_intercoms_own_does_not_make_all_messages_failed(server: Hostile) -> None:
    by_id(server, {}, others=hostile.html(404))
    wait = messages(server)
    wait.now = START + 600
    with pytest.raises(Exception, match="404"):
        wait.poll()


def test_broken_messages_beside_one_another_do_not_hide_the_others(server: Hostile) -> None:
    ids = tuple(f"wamid.{number}" for number in range(30))
    by_id(server, dict.fromkeys(ids[:20], PASSING["500"]))
    wait = messages(server, ids)
    wait.max_pending_a_poll = 1
    verdicts = [wait.poll(may_stop_early=False) for _ in range(8)]
    assert set(verdicts) == {"wait"}
    assert wait.state["failed_polls"] == 0
    assert wait.progress_values["delivered"] == 10


@pytest.mark.parametrize("kind", ["400", "500"])
def test_a_server_that_refuses_everything_from_some_moment_on_does_not_make_messages_failed(
    server: Hostile, kind: str
) -> None:
    ids = tuple(f"wamid.{number}" for number in range(400))
    by_id(server, {ids[0]: hostile.healthy()}, others={**REFUSED, **PASSING}[kind])
    wait = messages(server, ids)
    if kind == "400":
        with pytest.raises(Exception, match="bad id"):
            wait.poll()
    else:
        assert wait.poll() == "wait"
        assert wait.state["failed_polls"] == 1
    assert len(server.requests) < 400


# The doors.


class TaskInstance:
    """The part of Airflow's task instance that a sensor uses."""

    try_number = 1
    max_tries = 0

    def __init__(self, began: float) -> None:
        self.began = datetime.fromtimestamp(began, UTC)
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    def get_first_reschedule_date(self, _: Any) -> datetime:
        return self.began


def sensor(**fields: Any) -> MessageStatusSensor:
    usual: dict[str, Any] = {"task_id": "wait", "whatsapp_message_id": list(IDS), "poke_interval": 0.2, "timeout": 3600}
    with DAG("one_message"):
        return MessageStatusSensor(**{**usual, **fields})


@pytest.mark.parametrize("max_failed", [None, 1, 0])
def test_the_sensor_judges_an_unknown_message_by_max_failed(
    server: Hostile, tmp_path: Path, max_failed: int | None
) -> None:
    by_id(server, {IDS[2]: UNKNOWN})
    waiting = sensor(mode="reschedule", max_failed=max_failed, results_path=f"{tmp_path}/rows.jsonl")
    instance = TaskInstance(time.time() - 700)
    context: Any = {"ti": instance}
    if max_failed == 0:
        with pytest.raises(Exception, match="1 of 8 failed"):
            waiting.execute(context)
    else:
        waiting.execute(context)
        (row,) = map(json.loads, (tmp_path / "rows.jsonl").read_text().splitlines())
        assert (row["whatsapp_message_id"], row["status"]) == (IDS[2], "failed")
        assert "does not know this message" in row["reason"]


@pytest.mark.parametrize("kind", ["400", "500"])
def test_the_sensor_goes_on_in_every_mode(run_dag: Any, server: Hostile, kind: str) -> None:
    by_id(server, {IDS[2]: {**REFUSED, **PASSING}[kind]})
    with DAG(f"one_message_{kind}") as dag:
        for mode in ({"mode": "poke"}, {"deferrable": True}):
            MessageStatusSensor(
                task_id=f"wait_{mode.get('mode', 'deferrable')}",
                whatsapp_message_id=list(IDS),
                poke_interval=0.2,
                timeout=60,
                max_failed=None,
                max_pending=1 if kind == "500" else 0,
                **mode,
            )
    run = run_dag(dag)
    for task in ("wait_poke", "wait_deferrable"):
        assert run.xcom(task, "delivered") == 7
        assert (run.xcom(task, "failed"), run.xcom(task, "pending")) == ((1, 0) if kind == "400" else (0, 1))
        assert [each["whatsapp_message_id"] for each in run.xcom(task, "failures")] == [IDS[2]] * (kind == "400")


def test_the_trigger_goes_on(server: Hostile) -> None:
    import asyncio

    by_id(server, {IDS[0]: PASSING["500"], IDS[1]: REFUSED["400"], IDS[2]: UNKNOWN})
    wait = messages(server, max_pending=1)
    wait.poll(full=True)
    trigger = MessageStatusTrigger(
        intercom_conn_id="intercom_default",
        api_version=None,
        target=wait.target.arguments(),
        criteria={"expected_count": 8, "max_pending": 1},
        state={**wait.state, "started": time.time() - 700, "deadline": time.time() + 60},
        poke_interval=0.2,
    )

    async def run() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    (event,) = asyncio.run(run())
    assert event["status"] == "settled"
