"""The same end states in poke, reschedule and deferrable mode."""

from __future__ import annotations

import time
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, BaseSensorOperator, PokeReturnValue

from intercom_provider.sensors.message_status import MessageStatusSensor

if TYPE_CHECKING:
    from airflow.sdk import Context

    from intercom_provider.sandbox import Sandbox

MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}
# Story -> the sensor's fields, the statuses of the ruleset, and the XCom.
STORIES: dict[str, tuple[dict[str, Any], list[str], dict[str, Any]]] = {
    "settled": (
        {"max_failed": 1},
        ["delivered", "read", "failed"],
        {"total": 3, "pending": 0, "delivered": 1, "read": 1, "failed": 1, "reached": 2, "settled": True},
    ),
    "too many failed": (
        {"max_failed": 0},
        ["delivered", "read", "failed"],
        {"total": 3, "pending": 0, "delivered": 1, "read": 1, "failed": 1, "reached": 2, "settled": True},
    ),
    "time-out fail": (
        {},
        ["delivered", "sent"],
        {"total": 2, "pending": 1, "delivered": 1, "read": 0, "failed": 0, "reached": 1, "settled": False},
    ),
    "time-out report": (
        {"on_timeout": "report"},
        ["delivered", "sent"],
        {"total": 2, "pending": 1, "delivered": 1, "read": 0, "failed": 0, "reached": 1, "settled": False},
    ),
}
ENDS_WELL = ("settled", "time-out report")
OPTIONS: dict[str, dict[str, Any]] = {"plain": {}, "soft_fail": {"soft_fail": True}, "never_fail": {"never_fail": True}}


def expected_state(story: str, option: str) -> str:
    if story in ENDS_WELL:
        return "success"
    return "failed" if option == "plain" else "skipped"


@pytest.mark.parametrize(("mode", "story", "option"), list(product(MODES, STORIES, OPTIONS)))
def test_the_mode_changes_neither_the_end_state_nor_the_xcom(
    run_dag: Any, sandbox: Sandbox, mode: str, story: str, option: str
) -> None:
    fields, statuses, told = STORIES[story]
    events = [{"whatsapp_message_id": f"wamid.{n}=", "status": status} for n, status in enumerate(statuses)]
    sandbox.add_ruleset("77", events=events)
    with DAG(f"wait_{mode}_{story.replace(' ', '_')}_{option}") as dag:
        MessageStatusSensor(
            task_id="wait",
            ruleset_id="77",
            expected_count=len(statuses),
            poke_interval=0.2,
            timeout=0.5,
            retries=2,
            **MODES[mode],
            **OPTIONS[option],
            **fields,
        )
    run = run_dag(dag)
    assert run.states == {"wait": expected_state(story, option)}
    xcoms = run.xcoms("wait")
    assert {key: xcoms.get(key) for key in told} == told
    assert xcoms["timed_out"] is ("time-out" in story)
    assert xcoms["failed_whatsapp_message_ids"] == [f"wamid.{n}=" for n, s in enumerate(statuses) if s == "failed"]
    assert len(xcoms["failures"]) == told["failed"]


class _Look(BaseSensorOperator):
    """Waits for the progress of the task `wait`."""

    def poke(self, context: Context) -> PokeReturnValue:
        progress = context["ti"].xcom_pull(task_ids="wait", key="progress")
        return PokeReturnValue(progress is not None, progress)


@pytest.mark.parametrize("mode", MODES)
def test_the_progress_shows_while_the_wait_goes_on(run_dag: Any, sandbox: Sandbox, mode: str) -> None:
    events = [
        {"whatsapp_message_id": f"wamid.{n}=", "status": status} for n, status in enumerate(["delivered", "sent"])
    ]
    sandbox.add_ruleset("77", events=events)
    with DAG(f"show_{mode}") as dag:
        wait = MessageStatusSensor(
            task_id="wait",
            ruleset_id="77",
            expected_count=2,
            poke_interval=0.2,
            timeout=3,
            on_timeout="report",
            **MODES[mode],
        )
        seen = _Look(task_id="look", poke_interval=0.2, timeout=60, mode="reschedule")
        # In one process the other modes hold everything up until the wait is over, and keep their progress.
        if mode != "reschedule":
            wait >> seen
    run = run_dag(dag)
    assert run.states == {"wait": "success", "look": "success"}
    progress = run.xcoms("look")["return_value"]
    assert (progress["total"], progress["delivered"], progress["pending"]) == (2, 1, 1)
    assert abs(time.time() - progress["as_of"]) < 300


def test_a_wait_without_xcoms_shows_no_progress(run_dag: Any, sandbox: Sandbox) -> None:
    sandbox.add_ruleset("77", events=[{"whatsapp_message_id": "wamid.1=", "status": "delivered"}])
    with DAG("show_nothing") as dag:
        MessageStatusSensor(task_id="wait", ruleset_id="77", expected_count=1, timeout=3, do_xcom_push=False)
    run = run_dag(dag)
    assert (run.states, run.xcoms("wait").keys() - {"_link_IntercomLink"}) == ({"wait": "success"}, set())
