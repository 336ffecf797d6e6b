"""The ledger of a batch in the task state store: what a retry, a killed worker and a cleared task find."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from intercom_provider.ledger.ledger import Attempt, Entry, Ids, SupersededError
from intercom_provider.ledger.task_state_batch import BATCH_KEY, BatchLedger
from tests.support.ledgers import commit
from tests.support.stores import Store

FIRST = Attempt(number=1, max_tries=2, retries=2)
SECOND = Attempt(number=2, max_tries=2, retries=2)
CLEARED = Attempt(number=3, max_tries=4, retries=2)


def opened(store: Store, attempt: Attempt = FIRST) -> BatchLedger:
    ledger = BatchLedger(store, attempt)
    ledger.begin_try()
    return ledger


def state(ledger: BatchLedger, digest: str) -> str | None:
    found = ledger.find(digest)
    return found.state if found else None


def test_a_retry_finds_what_was_sent_and_what_was_only_intended() -> None:
    store = Store()
    ledger = opened(store)
    commit(ledger, {}, ["ada", "bob", "cid"])
    commit(ledger, {"ada": Ids("7", "wamid.7"), "cid": None}, ["dan"])
    retry = opened(store, SECOND)
    assert retry.find("ada") == Entry("sent", attempt=1, max_tries=2, ids=Ids("7", "wamid.7"))
    assert [state(retry, name) for name in ("bob", "cid", "dan", "eve")] == ["intent", None, "intent", None]


def test_many_messages_take_several_values_none_above_64_kb_and_all_are_found() -> None:
    store, numbers = Store(), random.Random(4)  # noqa: S311 - no secret
    ledger = opened(store)
    truth: dict[str, str | None] = {}
    open_now: list[str] = []
    for start in range(0, 5_000, 50):
        results: dict[str, Any] = {}
        numbers.shuffle(open_now)
        for name in open_now[: numbers.randint(0, 90)]:
            results[name] = Ids(name, f"wamid.{name:0>56}") if numbers.random() < 0.8 else None
            truth[name] = "sent" if results[name] else None
            open_now.remove(name)
        names = [f"{number:024}" for number in range(start, start + 50)]
        commit(ledger, results, names)
        open_now += names
        truth |= dict.fromkeys(names, "intent")
    parts = [len(value) for key, value in store.values.items() if key.count("/") == 3]
    assert len(parts) > 5
    assert max(store.sets) < 64_000
    retry = opened(store, SECOND)
    assert {name: state(retry, name) for name in truth} == truth


def test_an_intent_that_was_carried_into_the_next_value_can_still_be_taken_back() -> None:
    store = Store()
    ledger = opened(store)
    commit(ledger, {}, ["slow", "late"])
    for number in range(0, 1_000, 100):
        names = [f"{each:024}" for each in range(number, number + 100)]
        commit(ledger, {}, names)
        commit(ledger, {name: Ids(name, "wamid" * 12) for name in names}, [])
    commit(ledger, {"slow": None, "late": Ids("8")}, [])
    retry = opened(store, SECOND)
    assert (state(retry, "slow"), state(retry, "late")) == (None, "sent")


@pytest.mark.parametrize(
    ("repeat", "on_unconfirmed", "attempt", "sent", "intended"),
    [
        ("never", "fail", SECOND, False, False),
        ("never", "fail", CLEARED, False, False),
        ("never", "resend", SECOND, False, True),
        ("never", "assume_sent", SECOND, False, False),
        ("on_clear", "fail", SECOND, False, False),
        ("on_clear", "fail", CLEARED, True, True),
        ("always", "fail", SECOND, True, True),
    ],
)
def test_what_may_be_sent_again_is_decided_as_for_a_single_message(
    repeat: str, on_unconfirmed: str, attempt: Attempt, *, sent: bool, intended: bool
) -> None:
    store = Store()
    ledger = opened(store)
    commit(ledger, {}, ["ada", "bob"])
    commit(ledger, {"ada": Ids("7")}, [])
    later = opened(store, attempt)
    answers = []
    for name in ("ada", "bob"):
        found = later.find(name)
        assert found is not None
        answers.append(later.may_send(found, repeat, on_unconfirmed))
    assert answers == [sent, intended]


def test_what_was_to_be_sent_once_more_and_was_not_stands_as_before() -> None:
    store = Store()
    ledger = opened(store)
    commit(ledger, {}, ["ada", "bob"])
    commit(ledger, {"ada": Ids("7")}, [])
    again = opened(store, SECOND)
    commit(again, {}, ["ada", "bob"])
    commit(again, {"ada": None, "bob": None}, [])
    third = opened(store, Attempt(number=3, max_tries=2, retries=2))
    assert third.find("ada") == Entry("sent", attempt=1, max_tries=2, ids=Ids("7"))
    assert state(third, "bob") == "intent"


@pytest.mark.parametrize("between", [0, 1_000])
def test_what_a_cleared_task_was_to_send_again_and_did_not_is_left_to_its_retry(between: int) -> None:
    store = Store()
    ledger = opened(store)
    commit(ledger, {}, ["ada", "bob"])
    commit(ledger, {"ada": Ids("7")}, [])
    cleared = opened(store, CLEARED)
    commit(cleared, {}, ["ada", "bob"])
    for number in range(0, between, 100):
        names = [f"{each:024}" for each in range(number, number + 100)]
        commit(cleared, {}, names)
        commit(cleared, {name: Ids(name, "wamid" * 12) for name in names}, [])
    commit(cleared, {"ada": None, "bob": None}, [])
    retry = opened(store, Attempt(number=4, max_tries=4, retries=2))
    entries = [retry.find(name) for name in ("ada", "bob")]
    assert entries == [Entry("sent", 1, 2, Ids("7")), Entry("intent", 1, 2)]
    assert [entry and retry.may_send(entry, "on_clear", "fail") for entry in entries] == [True, True]


@pytest.mark.parametrize("lost", [1, 2])
@pytest.mark.parametrize("attempts", [(FIRST, FIRST), (FIRST, SECOND)])
def test_a_ledger_that_could_not_be_written_once_can_be_read_for_ever(attempts: list[Attempt], lost: int) -> None:
    store = Store()
    store.fail_after = lost
    ledger = opened(store)
    with pytest.raises(ConnectionError):
        commit(ledger, {}, ["ada"])
    store.fail_after = None
    commit(ledger, {"ada": None}, [])
    for attempt in attempts:
        commit(opened(store, attempt), {}, [f"bob {attempt.number}"])
    third = opened(store, Attempt(number=3, max_tries=2, retries=2))
    assert [state(third, name) for name in ("ada", "bob 1", "eve")] == [None, "intent", None]


def test_an_attempt_that_was_given_up_for_dead_stops_before_it_sends() -> None:
    store = Store()
    zombie = opened(store)
    commit(zombie, {}, ["ada"])
    retry = opened(store, SECOND)
    with pytest.raises(SupersededError):
        commit(zombie, {"ada": Ids("7")}, ["bob"])
    assert (state(retry, "ada"), state(retry, "bob")) == ("intent", None)
    commit(retry, {}, ["bob"])
    third = opened(store, Attempt(number=3, max_tries=2, retries=2))
    assert (state(third, "ada"), state(third, "bob")) == ("sent", "intent")


def test_the_same_attempt_that_starts_anew_adds_to_what_it_wrote() -> None:
    store = Store()
    commit(opened(store), {}, ["ada"])
    again = opened(store)
    assert state(again, "ada") == "intent"
    commit(again, {}, ["bob"])
    third = opened(store, SECOND)
    assert (state(third, "ada"), state(third, "bob")) == ("intent", "intent")


ODD = ["nonsense", ["a"], {}, {"sent": 3}, {"max_tries": 1, "sent": {"a": []}}, 7, 0, -5, True, 1.5, 10**12, [[]], ""]


@pytest.mark.parametrize("edited", ODD)
@pytest.mark.parametrize("key", [f"{BATCH_KEY}/1", f"{BATCH_KEY}/1/1"])
def test_a_value_that_makes_no_sense_does_not_say_that_nothing_was_sent(key: str, edited: Any) -> None:
    store = Store()
    ledger = opened(store)
    commit(ledger, {}, ["ada"])
    commit(ledger, {"ada": Ids("7")}, [])
    store.values[key] = json.dumps(edited)
    retry = opened(store, SECOND)
    assert state(retry, "eve") == "intent"
    # The parts are read whatever their count says.
    assert state(retry, "ada") == ("sent" if key.endswith("/1") and key.count("/") == 2 else "intent")
    found = retry.find("eve")
    assert found is not None
    assert "unreadable" in found.no_result


@pytest.mark.parametrize("count", [None, 1, 2, 9])
def test_a_count_that_differs_from_the_parts_does_not_hide_what_was_sent(count: int | None) -> None:
    store = Store()
    ledger = opened(store)
    names = [f"{number:024}" for number in range(1_200)]
    for start in range(0, 1_200, 100):
        commit(ledger, {name: Ids(name, "wamid" * 12) for name in names[start : start + 100]}, [])
    assert json.loads(store.values[f"{BATCH_KEY}/1"]) > 3
    if count is None:
        del store.values[f"{BATCH_KEY}/1"]
    else:
        store.values[f"{BATCH_KEY}/1"] = json.dumps(count)
    retry = opened(store, SECOND)
    assert {state(retry, name) for name in names} == {"sent"}
    assert state(retry, "eve") == "intent"


@pytest.mark.parametrize("deleted", [1, 2])
def test_a_part_that_is_missing_leaves_what_it_held_unconfirmed(deleted: int) -> None:
    store = Store()
    ledger = opened(store)
    names = [f"{number:024}" for number in range(1_200)]
    for start in range(0, 1_200, 100):
        commit(ledger, {name: Ids(name, "wamid" * 12) for name in names[start : start + 100]}, [])
    del store.values[f"{BATCH_KEY}/1/{deleted}"]
    retry = opened(store, SECOND)
    assert {state(retry, name) for name in names} == {"sent", "intent"}
    assert (state(retry, names[-1]), state(retry, "eve")) == ("sent", "intent")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (["7", "wamid.7", None, 9, "a newer version's"], "sent"),
        ([1, 2, ["7"], "a newer version's"], "sent"),
        ([], "intent"),
        ("7", "intent"),
        ([{}], "intent"),
        ([1, 2], "intent"),
        ([1, "2", ["7"]], "intent"),
        ([1, 2, [7]], "intent"),
        (None, "intent"),
    ],
)
def test_one_odd_entry_of_a_batch_is_unconfirmed_and_the_others_are_read(sent: Any, expected: str) -> None:
    store = Store()
    commit(opened(store), {}, ["ada"])
    part = {"max_tries": 2, "sent": {"ada": sent, "bob": ["8"]}, "intents": [["cid", 1, 2, "new"]], "not_sent": []}
    store.values[f"{BATCH_KEY}/1/1"] = json.dumps({**part, "a newer version's": 1})
    retry = opened(store, SECOND)
    assert [state(retry, name) for name in ("ada", "bob", "cid", "eve")] == [expected, "sent", "intent", None]


def test_an_odd_entry_does_not_hide_what_an_earlier_attempt_has_written() -> None:
    store = Store()
    ledger = opened(store)
    commit(ledger, {"ada": Ids("7")}, [])
    commit(opened(store, SECOND), {}, ["bob"])
    part = {"max_tries": 2, "sent": {"ada": 5}, "intents": [], "not_sent": []}
    store.values[f"{BATCH_KEY}/2/1"] = json.dumps(part)
    assert state(opened(store, Attempt(3, 2, 2)), "ada") == "sent"


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_killed_cleared_and_fails_the_ledger_says_of_each_message_what_became_of_it(seed: int) -> None:
    store, chance = Store(), random.Random(seed)  # noqa: S311 - no secret
    # Long names, so that a part is full after some writes.
    names = [f"{number:0500}" for number in range(60)]
    truth: dict[str, Entry | None] = dict.fromkeys(names)
    number, max_tries = 0, 2
    for _ in range(chance.randint(2, 6)):
        # Seldom Airflow starts a try anew; now and then somebody clears the task.
        number += number == 0 or chance.random() > 0.1
        max_tries += chance.random() < 0.25
        ledger = opened(store, Attempt(number, max_tries, 2))
        assert {name: ledger.find(name) for name in names} == truth
        before, under_way = dict(truth), set[str]()
        results: dict[str, Ids | None] = {}
        for _ in range(chance.randint(1, 25)):
            idle = [name for name in names if name not in under_way and truth[name] == before[name]]
            intents = [name for name in chance.sample(idle, min(len(idle), 8)) if results.get(name) is None]
            store.fail_after = len(store.sets) + chance.randint(0, 1) if chance.random() < 0.05 else None
            try:
                commit(ledger, results, intents)
            except ConnectionError:
                results |= dict.fromkeys(intents)
            else:
                truth |= {
                    name: Entry("sent", number, max_tries, ids) if ids else before[name]
                    for name, ids in results.items()
                }
                truth |= {name: Entry("intent", number, max_tries) for name in intents}
                under_way.update(intents)
                results = {}
            done = {name for name in sorted(under_way) if chance.random() < 0.4}
            under_way -= done
            results |= {name: Ids(name[-2:]) if chance.random() < 0.6 else None for name in sorted(done)}
        store.fail_after = None


def test_ten_thousand_messages_cost_a_known_number_of_calls_and_bytes() -> None:
    store = Store()
    ledger = opened(store)
    calls = len(store.sets) + store.gets
    assert calls <= 4
    names = [f"{number:024}" for number in range(10_000)]
    for start in range(0, 10_000, 75):
        done = names[max(0, start - 75) : start]
        commit(ledger, {name: Ids(f"1{name[-9:]}", f"wamid.{name:0>56}") for name in done}, names[start : start + 75])
    commit(ledger, {name: Ids(f"1{name[-9:]}", f"wamid.{name:0>56}") for name in names[-75:]}, [])
    assert len(store.sets) <= 200
    assert store.gets <= 150
    assert sum(store.sets) <= 4_000_000
    assert sum(map(len, store.values.values())) <= 1_800_000
