"""Waits for delivery while Intercom misbehaves, in all modes."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.sensors.message_status import MessageStatusSensor
from intercom_provider.waiting.criteria import Criteria, Growth
from intercom_provider.waiting.delivery_wait import DeliveryWait
from intercom_provider.waiting.target import RulesetTarget
from tests.support import hostile
from tests.support.dags import connect
from tests.support.hostile import Hostile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}
# In reschedule mode only the store keeps anything from one poll to the next.
REMEMBERING = [
    pytest.param(mode, marks=pytest.mark.needs("task_state_store")) if mode == "reschedule" else mode for mode in MODES
]
INTERVAL = 0.25
PASSING: dict[str, hostile.Act] = {
    "500": hostile.error(500, "server_error"),
    "429": hostile.rate_limited(retry_after="0"),
    "dropped": hostile.drop(),
    "cut short": hostile.cut_short(),
    "half of the JSON": hostile.half_json(),
    "HTML": hostile.html(200),
    "late": hostile.late(1.0),
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    """Start an Intercom that misbehaves as scripted, connected as `intercom_default`."""
    with Hostile() as server:
        connect(monkeypatch, server.connection, timeout=0.5)
        yield server


def wait(**fields: Any) -> MessageStatusSensor:
    usual = {"task_id": "wait", "ruleset_id": 77, "expected_count": 1, "poke_interval": INTERVAL, "timeout": 20}
    return MessageStatusSensor(**{**usual, **fields})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", PASSING)
def test_transient_errors_do_not_end_a_wait_and_do_not_shorten_the_interval(
    run_dag: Any, server: Hostile, mode: str, fault: str
) -> None:
    server.script(*[PASSING[fault]] * 2)
    with DAG(f"ridden_out_{mode}") as dag:
        wait(**MODES[mode])
    run = run_dag(dag)
    assert run.states == {"wait": "success"}
    times = [request.time for request in server.requests]
    # When deferred, the trigger finds it settled and the sensor polls once more.
    rounds = times[:-1] if mode == "deferrable" else times
    assert len(rounds) == 3
    # The moments of a trigger's polls are fixed, so the poll after a late one comes sooner.
    share = 0.5 if mode == "deferrable" else 0.9
    assert all(later - earlier >= share * INTERVAL for earlier, later in pairwise(rounds))
    assert rounds[-1] - rounds[0] >= 0.9 * INTERVAL * 2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("status", "code"), [(400, "client_error"), (401, "token_unauthorized"), (403, "forbidden")])
def test_a_permanent_error_ends_the_wait_at_once_with_intercoms_words(
    run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str], mode: str, status: int, code: str
) -> None:
    server.script(hostile.healthy())
    server.pages = [[hostile.event("wamid.1", "sent")]]
    server.always(hostile.error(status, code, "words of Intercom"))
    with DAG(f"permanent_{mode}") as dag:
        wait(retries=2, **MODES[mode])
    run = run_dag(dag)
    assert run.states == {"wait": "failed"}
    assert len(server.requests) == 2
    said = capfd.readouterr().out
    assert f"Intercom answered {status} {code}" in said
    assert "words of Intercom" in said


@pytest.mark.parametrize("mode", REMEMBERING)
@pytest.mark.parametrize("fault", ["500", "late", "429"])
def test_the_deadline_ends_the_wait_within_one_interval_whatever_the_server_does(
    run_dag: Any, server: Hostile, mode: str, fault: str
) -> None:
    server.pages = [[hostile.event("wamid.1", "sent")]]
    server.script(hostile.healthy())
    server.always(PASSING[fault])
    with DAG(f"deadline_{mode}_{fault}") as dag:
        wait(timeout=1.0, on_timeout="report", **MODES[mode])
    started = time.time()
    run = run_dag(dag)
    assert run.states == {"wait": "success"}
    assert run.xcom("wait", "timed_out") is True
    # The report is that of the last poll that succeeded.
    assert (run.xcom("wait", "total"), run.xcom("wait", "pending")) == (1, 1)
    polls = [request.time - server.requests[0].time for request in server.requests]
    assert len([poll for poll in polls if poll >= 1.0 + INTERVAL]) <= 1
    # Airflow starts the task anew in between, which takes long on a busy machine.
    assert polls[-1] <= 1.0 + INTERVAL + 2.0
    assert time.time() - started < 8


@pytest.mark.parametrize("mode", MODES)
def test_a_time_out_without_a_successful_poll_fails(run_dag: Any, server: Hostile, mode: str) -> None:
    server.always(PASSING["500"])
    with DAG(f"blind_{mode}") as dag:
        wait(timeout=1.0, on_timeout="report", **MODES[mode])
    assert run_dag(dag).states == {"wait": "failed"}


@pytest.mark.parametrize("mode", REMEMBERING)
def test_too_many_failed_polls_in_a_row_end_the_try(run_dag: Any, server: Hostile, mode: str) -> None:
    server.always(PASSING["500"])
    with DAG(f"too_many_{mode}") as dag:
        wait(timeout=600, poke_interval=0.05, **MODES[mode])
    assert run_dag(dag).states == {"wait": "failed"}
    assert len(server.requests) == 11


def test_a_page_that_leads_back_to_itself_is_an_error(
    run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str]
) -> None:
    page = {
        "type": "list",
        "events": [hostile.event("wamid.1", "delivered")],
        "pages": {"type": "pages", "next": {"starting_after": "again"}, "per_page": 100, "total_pages": 2},
        "total_count": 2,
    }
    server.always(hostile.answer(200, page))
    with DAG("circle") as dag:
        wait(retries=2)
    assert run_dag(dag).states == {"wait": "failed"}
    assert "leads back" in capfd.readouterr().out
    assert len(server.requests) <= 3


@pytest.mark.parametrize("last", [{"next": None}, {}, {"next": {}}, None], ids=["null", "absent", "{}", "no pages"])
def test_the_last_page_is_recognized_in_any_form(run_dag: Any, server: Hostile, last: dict[str, Any] | None) -> None:
    page = {"type": "list", "events": [hostile.event("wamid.1", "read")], "total_count": 1, "pages": last}
    server.always(hostile.answer(200, page))
    with DAG("last_page") as dag:
        wait()
    run = run_dag(dag)
    assert run.states == {"wait": "success"}
    assert run.xcom("wait", "read") == 1


def test_a_message_on_two_pages_counts_once_with_its_highest_status(run_dag: Any, server: Hostile) -> None:
    server.pages = [
        [hostile.event("wamid.1", "sent"), hostile.event("wamid.2", "failed")],
        [hostile.event("wamid.1", "delivered"), hostile.event("wamid.3", "read")],
        [hostile.event("wamid.3", "sent"), hostile.event("wamid.2", "failed")],
    ]
    with DAG("twice") as dag:
        wait(expected_count=3, max_failed=1)
    told = run_dag(dag).xcoms("wait")
    assert (told["total"], told["delivered"], told["read"], told["failed"]) == (3, 1, 1, 1)
    assert told["failed_whatsapp_message_ids"] == ["wamid.2"]
    assert len(told["failures"]) == 1


def state_after(total: int) -> dict[str, object]:
    """Return the state of a trigger that saw so many messages and has five more seconds."""
    now = time.time()
    wait = DeliveryWait(
        target=RulesetTarget("77"), criteria=Criteria(), growth=Growth(total, now), started=now, deadline=now + 5
    )
    return wait.state()


def page_of(events: list[dict[str, Any]], cursor: str | None, total: int) -> hostile.Act:
    following = {"starting_after": cursor} if cursor else None
    pages = {"type": "pages", "next": following, "per_page": 100, "total_pages": 1}
    return hostile.answer(200, {"type": "list", "events": events, "pages": pages, "total_count": total})


@pytest.mark.parametrize("mode", MODES)
def test_a_message_that_moves_while_the_list_is_read_is_not_lost(run_dag: Any, server: Hostile, mode: str) -> None:
    first, second = hostile.event("wamid.1", "read"), hostile.event("wamid.2", "read")
    moved = hostile.event("wamid.3", "failed")
    server.script(
        page_of([first, second], "a", 3),
        page_of([second], None, 3),  # the third has just moved to the top, which was read before
    )
    server.pages = [[moved, first, second]]
    with DAG(f"moves_{mode}") as dag:
        wait(expected_count=2, max_failed=None, **MODES[mode])
    run = run_dag(dag)
    assert run.states == {"wait": "success"}
    assert (run.xcom("wait", "total"), run.xcom("wait", "failed")) == (3, 1)


def test_a_list_that_is_always_shorter_than_announced_is_trusted_in_the_second_poll(
    run_dag: Any, server: Hostile
) -> None:
    server.always(page_of([hostile.event("wamid.1", "read")], None, 2))
    with DAG("shorter") as dag:
        wait()
    run = run_dag(dag)
    assert run.states == {"wait": "success"}
    assert len(server.requests) == 2


@pytest.mark.parametrize("mode", REMEMBERING)
def test_a_pause_that_intercom_asks_for_is_kept(run_dag: Any, server: Hostile, mode: str) -> None:
    server.script(hostile.rate_limited(retry_after="2"))
    with DAG(f"come_back_{mode}") as dag:
        wait(**MODES[mode])
    assert run_dag(dag).states == {"wait": "success"}
    assert server.requests[1].time - server.requests[0].time >= 1.9


def test_a_list_without_an_end_is_an_error_and_not_a_wait_without_an_end(
    run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str]
) -> None:
    numbers = iter(range(1_000_000))

    def run(exchange: hostile.Exchange) -> None:
        events = [hostile.event(f"wamid.{next(numbers)}", "sent") for _ in range(100)]
        act = page_of(events, f"cursor-{next(numbers)}", 125)
        act.run(exchange)

    server.always(hostile.Act(run))
    with DAG("endless") as dag:
        wait(timeout=60, retries=2)
    assert run_dag(dag).states == {"wait": "failed"}
    assert "does not end" in capfd.readouterr().out
    assert len(server.requests) < 30


def test_the_counts_are_pushed_when_the_results_cannot_be_written(
    run_dag: Any, server: Hostile, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with DAG("unwritten") as dag:
        wait(results="all", results_path=f"{tmp_path}/file/rows.jsonl", retries=2)
    run = run_dag(dag)
    assert run.states == {"wait": "failed"}
    assert run.xcom("wait", "total") == 1
    assert run.xcom("wait", "results_path") is None
    assert "results_path: " in capfd.readouterr().out
    assert len(server.requests) == 1


def test_limits_may_be_text(run_dag: Any, server: Hostile) -> None:
    server.pages = [[hostile.event("wamid.1", "failed"), hostile.event("wamid.2", "sent")]]
    with DAG("text_limits") as dag:
        wait(expected_count=2, max_failed="1", max_pending="0.5")
    assert run_dag(dag).states == {"wait": "success"}


def test_the_deadline_of_a_triggerer_whose_clock_is_ahead_ends_the_wait(server: Hostile) -> None:
    server.pages = [[hostile.event("wamid.1", "sent")]]
    with DAG("ahead"):
        sensor = wait(timeout=600, on_timeout="report", deferrable=True)
    event = {"status": "deadline", "state": state_after(total=1)}
    told = sensor.execute_complete({"ti": None}, event)  # type: ignore[typeddict-item]  # all that it asks for
    assert told["timed_out"] is True


@pytest.mark.parametrize(("again", "total"), [("answers", 3), ("fails", 2)])
def test_the_last_poll_is_repeated_when_the_list_moved(server: Hostile, again: str, total: int) -> None:
    first, second = hostile.event("wamid.1", "sent"), hostile.event("wamid.2", "read")
    server.script(page_of([first, second], "a", 3), page_of([second], None, 3))
    server.pages = [[hostile.event("wamid.3", "read"), first, second]]
    if again == "fails":
        server.script(*[PASSING["500"]] * 2)
    with DAG("moved_at_the_end"):
        sensor = wait(timeout=600, on_timeout="report", deferrable=True)
    event = {"status": "deadline", "state": state_after(total=2)}
    told = sensor.execute_complete({"ti": None}, event)  # type: ignore[typeddict-item]  # all that it asks for
    assert (told["timed_out"], told["settled"]) == (True, False)
    assert (told["total"], told["pending"]) == (total, 1)
