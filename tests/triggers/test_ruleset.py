"""The trigger for event-driven DAGs: it fires once for a settled ruleset, and never ends."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, Asset, AssetWatcher
from airflow.serialization.serialized_objects import LazyDeserializedDAG

from intercom_provider.exceptions import InvalidFieldError
from intercom_provider.triggers.ruleset import RulesetSettledTrigger
from tests.support.dags import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from intercom_provider.sandbox import Sandbox


class Store:
    """Airflow's asset state store, as far as a trigger uses it."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.broken = 0

    async def aget(self, key: str) -> Any:
        if self.broken:
            self.broken -= 1
            raise RuntimeError("the API server is away")
        return json.loads(json.dumps(self.values.get(key)))

    async def aset(self, key: str, value: Any) -> None:
        self.values[key] = json.loads(json.dumps(value))


def event(number: int, status: str = "delivered") -> dict[str, Any]:
    return {"whatsapp_message_id": f"wamid.{number}=", "status": status}


def fired(
    store: Store | None, *steps: Callable[[], object], during: float = 0.8, **fields: Any
) -> list[dict[str, Any]]:
    """Run the trigger for a moment before and after each step; return the payloads that it fired."""
    usual = {"ruleset_id": 77, "settle_for": 0, "poke_interval": 0.1}
    _, stored = RulesetSettledTrigger(**{**usual, **fields}).serialize()
    trigger = RulesetSettledTrigger(**json.loads(json.dumps(stored)))
    if store is not None:
        trigger.asset_state_store = store  # type: ignore[assignment]  # it has what is used
    told: list[dict[str, Any]] = []

    async def collect() -> None:
        async for each in trigger.run():
            told.append(each.payload)  # noqa: PERF401 - it never ends

    async def run() -> None:
        task = asyncio.create_task(collect())
        for step in (*steps, lambda: None):
            await asyncio.sleep(during)
            assert not task.done(), "the trigger ended"
            await asyncio.to_thread(step)
        task.cancel()

    asyncio.run(run())
    return told


def test_it_fires_once_when_all_have_arrived(sandbox: Sandbox) -> None:
    sandbox.add_ruleset("77", events=[event(0), event(1, "failed"), event(2, "sent")])
    told = fired(Store(), lambda: sandbox.set_status("wamid.2=", "read"))
    assert told == [
        {
            "ruleset_id": "77",
            "total": 3,
            "reached": 2,
            "pending": 0,
            "failed": 1,
            "delivered": 1,
            "read": 1,
        }
    ]


def test_it_fires_again_only_when_there_are_more_and_they_have_arrived(sandbox: Sandbox) -> None:
    sandbox.add_ruleset("77", events=[event(0)])
    told = fired(
        Store(),
        lambda: sandbox.set_status("wamid.0=", "read"),
        lambda: sandbox.add_ruleset("77", events=[event(1, "sent")]),
        lambda: sandbox.set_status("wamid.1=", "delivered"),
    )
    assert [(each["total"], each["delivered"], each["read"]) for each in told] == [(1, 1, 0), (2, 1, 1)]


def test_another_triggerer_does_not_fire_again(sandbox: Sandbox) -> None:
    store = Store()
    sandbox.add_ruleset("77", events=[event(0)])
    assert len(fired(store)) == 1
    assert fired(store) == []
    assert [each["total"] for each in fired(store, lambda: sandbox.add_ruleset("77", events=[event(1)]))] == [2]
    assert "wamid" not in json.dumps(store.values)


def test_without_a_store_a_ruleset_that_had_settled_before_fires_nothing(sandbox: Sandbox) -> None:
    sandbox.add_ruleset("77", events=[event(0)])
    told = fired(None, lambda: sandbox.add_ruleset("77", events=[event(1)]), settle_for=0.2)
    assert [each["total"] for each in told] == [2]


def test_a_settled_ruleset_costs_one_page_a_poll(sandbox: Sandbox) -> None:
    sandbox.settings.speed = 100_000.0
    sandbox.add_ruleset("77", 1000)
    seen: list[int] = []
    told = fired(Store(), lambda: seen.append(len(sandbox.requests)), during=1.5, max_pending=1000)
    assert len(told) == 1
    # Eleven requests until it fired: the first page, and the ten pages of a full poll.
    assert seen[0] < 11 + 20
    assert all("starting_after" not in request.params for request in sandbox.requests[seen[0] :])


@pytest.mark.parametrize("break_it", ["token", "nobody there", "connection", "store"])
def test_it_stays_whatever_happens_and_fires_afterwards(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, break_it: str
) -> None:
    sandbox.add_ruleset("77", events=[event(0)])
    store = Store()
    if break_it == "token":
        connect(monkeypatch, {**sandbox.connection, "password": "another-token"})
    elif break_it == "nobody there":
        connect(monkeypatch, {**sandbox.connection, "host": "http://127.0.0.1:9"})
    elif break_it == "connection":
        monkeypatch.delenv("AIRFLOW_CONN_INTERCOM_DEFAULT")
    else:
        store.broken = 3
    told = fired(store, lambda: connect(monkeypatch, sandbox.connection), during=1.0)
    assert [each["total"] for each in told] == [1]


def test_it_waits_longer_and_longer_when_it_is_refused(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, {**sandbox.connection, "password": "another-token"})
    assert fired(Store(), during=1.5) == []
    assert 2 <= len(sandbox.requests) <= 5


def test_settle_for_is_waited_for(sandbox: Sandbox) -> None:
    sandbox.add_ruleset("77", events=[event(0)])
    started = time.time()
    moments: list[float] = []
    told = fired(Store(), lambda: moments.append(time.time()), settle_for=0.6, during=1.2)
    assert len(told) == 1
    assert time.time() - started > 0.6


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ruleset_id", None),
        ("ruleset_id", ""),
        ("ruleset_id", "{{ params.ruleset_id }}"),
        ("wait_for", "sent"),
        ("settle_for", -1),
        ("max_pending", 1.0),
        ("expected_count", "many"),
        ("created_after", "yesterday"),
        ("poke_interval", 0),
        ("api_version", "2.15"),
    ],
)
def test_a_wrong_argument_fails_when_the_dag_is_parsed(field: str, value: Any) -> None:
    with pytest.raises(InvalidFieldError, match=field):
        RulesetSettledTrigger(**{"ruleset_id": 1, field: value})


def test_the_same_arguments_make_the_same_watcher_each_time_a_dag_is_parsed() -> None:
    def parse() -> str:
        trigger = RulesetSettledTrigger("77", created_after="2026-11-01")
        asset = Asset("campaign", watchers=[AssetWatcher(name="settled", trigger=trigger)])
        with DAG("watching", schedule=[asset]) as dag:
            pass
        return json.dumps(LazyDeserializedDAG.from_dag(dag).data, sort_keys=True, default=str)

    first = parse()
    assert first == parse()
    assert "RulesetSettledTrigger" in first
