"""What the instances of a mapped task tell each other; Airflow's own part is played by stand-ins."""

from __future__ import annotations

from typing import Any

import pytest

from intercom_provider.compat import AirflowException
from intercom_provider.ledger.ledger import Attempt, Ledger
from intercom_provider.ledger.mapped import XCOM_KEY, MappedInstances
from intercom_provider.ledger.task_state import BatchLedger

SENT = {"state": "sent", "attempt": 1, "max_tries": 0, "at": 1.0, "receipt": {"id": "7"}}
INTENT = {"state": "intent", "attempt": 1, "max_tries": 0, "at": 1.0, "receipt": None}


class Run:
    """One DAG run of Airflow: the state store and the XComs of every map index."""

    def __init__(self, **states: str | None) -> None:
        self.stores: dict[int, dict[str, Any]] = {}
        self.xcoms: dict[int, Any] = {}
        self.states = {int(name.removeprefix("i")): state for name, state in states.items()}

    def ledger(self, map_index: int, *, was_cleared: bool = True, number: int = 2, max_tries: int = 1) -> Ledger:
        instance = Instance(self, map_index)
        store = Store(self.stores.setdefault(map_index, {}))
        attempt = Attempt(number=number, max_tries=max_tries, retries=0)
        return Ledger(store, attempt, MappedInstances(instance, was_cleared=was_cleared))

    def tells(self, map_index: int, *, is_final: bool = True, **entries: Any) -> None:
        self.xcoms[map_index] = {"map_index": map_index, "entries": entries, "is_all": is_final}

    def batch(self, map_index: int, **attempt: int) -> BatchLedger:
        store = Store(self.stores.setdefault(map_index, {}))
        return BatchLedger(store, Attempt(**{"number": 2, "max_tries": 1, "retries": 0, **attempt}))


class Store:
    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def get(self, key: str) -> Any:
        return self._values.get(key)

    def set(self, key: str, value: Any) -> None:
        self._values[key] = value

    def delete(self, key: str) -> None:
        self._values.pop(key, None)


class Instance:
    dag_id, run_id, task_id = "dag", "run", "send"

    def __init__(self, run: Run, map_index: int) -> None:
        self._run = run
        self.map_index = map_index

    def xcom_push(self, key: str, value: Any) -> None:
        assert key == XCOM_KEY
        self._run.xcoms[self.map_index] = value

    def xcom_pull(self, **_: Any) -> list[Any]:
        return list(self._run.xcoms.values())

    def get_task_states(self, **_: Any) -> dict[str, dict[str, str | None]]:
        return {"run": {f"send_{index}": state for index, state in self._run.states.items()}}


def test_who_moved_to_another_index_is_known_there() -> None:
    run = Run(i0="success", i1="running")
    run.tells(0, ada=SENT)
    ledger = run.ledger(1)
    ledger.open()
    found = ledger.find("ada", 2.0)
    assert found is not None
    assert (found.receipt, found.map_index) == ({"id": "7"}, 0)
    assert str(found).startswith("map index 0, attempt 1")


def test_a_result_counts_more_than_an_intent() -> None:
    run = Run(i0="success", i1="success", i2="running")
    run.tells(0, ada=INTENT)
    run.tells(1, ada=SENT)
    ledger = run.ledger(2)
    ledger.open()
    found = ledger.find("ada", 2.0)
    assert found is not None
    assert found.state == "sent"
    assert not ledger.may_send(found, "never", "resend")


@pytest.mark.parametrize("state", ["failed", "up_for_retry", "success"])
def test_one_that_ended_without_telling_holds_the_others_back(state: str) -> None:
    run = Run(i0=state, i1="running")
    ledger = run.ledger(1)
    ledger.open()
    with pytest.raises(AirflowException, match="map index 0 of this task ended before telling"):
        ledger.find("ada", 2.0)


def test_one_that_tells_and_ends_between_two_questions_is_heard() -> None:
    class Late(Instance):
        asked = 0

        def xcom_pull(self, **_: Any) -> list[Any]:
            self.asked += 1
            if self.asked > 1:
                self._run.tells(0)
            return super().xcom_pull()

    run = Run(i0="success", i1="running")
    mapped_instances = MappedInstances(Late(run, 1), was_cleared=True)
    assert mapped_instances.look_up("ada", changed=False) is None


@pytest.mark.parametrize("state", [None, "scheduled", "queued", "removed"])
def test_one_that_never_started_has_sent_nothing(state: str | None) -> None:
    ledger = Run(i0=state, i1="running").ledger(1)
    ledger.open()
    assert ledger.find("ada", 2.0) is None


def test_nobody_is_asked_while_nothing_was_cleared_and_nothing_changed() -> None:
    ledger = Run(i0="failed", i1="running").ledger(1, was_cleared=False)
    ledger.open()
    assert ledger.find("ada", 2.0) is None


def test_another_recipient_at_the_same_index_is_a_change() -> None:
    run = Run(i0="success", i1="running")
    run.tells(0, ada=SENT)
    run.stores[1] = {"intercom/ledger": {"grace": SENT}}
    ledger = run.ledger(1, was_cleared=False)
    ledger.open()
    assert ledger.find("ada", 2.0) is not None


def test_nobody_is_asked_by_one_that_would_send_anyway() -> None:
    ledger = Run(i0="failed", i1="running").ledger(1)
    ledger.open()
    assert ledger.find("ada", 2.0, ask=False) is None


def test_a_ledger_edited_beyond_recognition_lets_one_resend_and_not_one_with_every_try() -> None:
    run = Run(i0="running")
    run.stores[0] = {"intercom/ledger": "sent, I think"}
    ledger = run.ledger(0)
    ledger.open()
    found = ledger.find("ada", 2.0)
    assert found is not None
    assert not ledger.may_send(found, "never", "fail")
    assert ledger.may_send(found, "never", "resend")
    ledger.record_intent(3.0)
    ledger.record({"id": "7"}, 4.0)
    again = run.ledger(0)
    again.open()
    found = again.find("ada", 5.0)
    assert found is not None
    assert not again.may_send(found, "never", "resend")


def test_a_try_that_airflow_gave_up_for_dead_takes_nothing_of_the_next_one_back() -> None:
    run = Run(i0="running")
    first, second = run.ledger(0, number=1), run.ledger(0, number=2)
    first.open()
    first.find("ada", 1.0)
    first.record_intent(1.0)
    second.open()
    second.find("ada", 2.0)
    second.record_intent(2.0)
    second.record({"id": "7"}, 3.0)
    first.withdraw_intent(None)
    assert run.stores[0]["intercom/ledger"]["ada"]["receipt"] == {"id": "7"}


def test_a_batch_knows_whom_another_chunk_has_reached() -> None:
    run = Run(i0="success", i1="running")
    other = run.batch(0)
    other.open()
    other.commit({}, ["ada", "bob"])
    other.commit({"ada": ("7", "wamid.7")}, [])
    MappedInstances(Instance(run, 0), was_cleared=True).publish(other.entries())
    mine = run.batch(1)
    mine.open()
    for map_index, entries in MappedInstances(Instance(run, 1), was_cleared=True).look_up_all().items():
        mine.merge_from(entries, map_index)
    ada, bob = mine.find("ada"), mine.find("bob")
    assert ada is not None
    assert (ada.state, ada.ids, str(ada)) == ("sent", ("7", "wamid.7"), "map index 0")
    assert not mine.may_send(ada, "never", "resend")
    assert mine.may_send(ada, "on_clear", "fail")
    assert bob is not None
    assert bob.state == "intent"
    assert mine.find("eve") is None


def test_what_one_knows_itself_counts_more_than_what_another_meant_to_do() -> None:
    run = Run(i0="running")
    mine = run.batch(0)
    mine.open()
    mine.commit({}, ["ada", "bob"])
    mine.commit({"ada": ("7", None)}, [])
    mine = run.batch(0)
    mine.open()
    mine.merge_from({"ada": None, "bob": ["8", None]}, 1)
    states = [mine.find(name) for name in ("ada", "bob")]
    assert [each and (each.state, each.ids[0]) for each in states] == [("sent", "7"), ("sent", "8")]


@pytest.mark.parametrize("state", ["failed", "success", "up_for_retry"])
def test_a_chunk_that_was_killed_before_its_last_word_holds_the_others_back(state: str) -> None:
    run = Run(i0=state, i1="running")
    run.tells(0, is_final=False, ada=None)
    with pytest.raises(AirflowException, match="map index 0"):
        MappedInstances(Instance(run, 1), was_cleared=True).look_up_all()


def test_a_chunk_that_is_sending_has_told_what_it_sent_before() -> None:
    run = Run(i0="running", i1="running")
    run.tells(0, is_final=False, ada=["7", None])
    assert MappedInstances(Instance(run, 1), was_cleared=True).look_up_all() == {0: {"ada": ["7", None]}}


def test_chunks_of_a_run_in_which_nothing_was_cleared_are_not_asked() -> None:
    run = Run(i0="failed", i1="running")
    assert MappedInstances(Instance(run, 1), was_cleared=False).look_up_all() == {}


def test_a_chunk_whose_ledger_cannot_be_read_has_told_nothing() -> None:
    run = Run(i0="success", i1="running")
    run.stores[0] = {"intercom/batch/1": "seven"}
    other = run.batch(0)
    other.open()
    MappedInstances(Instance(run, 0), was_cleared=True).publish(other.entries())
    with pytest.raises(AirflowException, match="map index 0"):
        MappedInstances(Instance(run, 1), was_cleared=True).look_up_all()
