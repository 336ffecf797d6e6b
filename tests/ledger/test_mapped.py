"""What the instances of a mapped task publish to each other; stand-ins take Airflow's part."""

from __future__ import annotations

from typing import Any

import pytest

from intercom_provider.compat import AirflowException
from intercom_provider.ledger.ledger import Attempt, Entry, Ids
from intercom_provider.ledger.mapped import XCOM_KEY, MappedInstances
from intercom_provider.ledger.task_state import MESSAGE_KEY, MessageLedger
from intercom_provider.ledger.task_state_batch import BATCH_KEY, BatchLedger
from tests.support.ledgers import commit
from tests.support.stores import Store

SENT = Entry("sent", attempt=1, max_tries=0, ids=Ids("7", created_at=1), at=1.0)
INTENT = Entry("intent", attempt=1, max_tries=0, at=1.0)


class Run:
    """One DAG run of Airflow: the state store and the XComs of every map index."""

    def __init__(self, **states: str | None) -> None:
        self.stores: dict[int, Store] = {}
        self.xcoms: dict[int, Any] = {}
        self.states = {int(name.removeprefix("i")): state for name, state in states.items()}

    def store(self, map_index: int) -> Store:
        """Return the store of an instance whose first try began and sent nothing."""
        if map_index not in self.stores:
            self.stores[map_index] = store = Store()
            store.set(MESSAGE_KEY, {})
            store.set(BATCH_KEY, {"writer": "the first try"})
        return self.stores[map_index]

    def instances(self, map_index: int, *, was_cleared: bool = True) -> MappedInstances:
        return MappedInstances(Instance(self, map_index), was_cleared=was_cleared)

    def ledger(self, map_index: int, *, was_cleared: bool = True, asks: bool = True) -> MessageLedger:
        """Begin the second try of an instance that sends one message."""
        store = self.store(map_index)
        instances = self.instances(map_index, was_cleared=was_cleared)
        ledger = MessageLedger(store, Attempt(number=2, max_tries=1, retries=0), instances)
        ledger.begin_try()
        if asks:
            ledger.include_mapped_instances()
        return ledger

    def batch(self, map_index: int) -> BatchLedger:
        """Begin the second try of an instance that sends a batch."""
        store = self.store(map_index)
        ledger = BatchLedger(store, Attempt(number=2, max_tries=1, retries=0), self.instances(map_index))
        ledger.begin_try()
        return ledger

    def publish(self, map_index: int, *, is_final: bool = True, **entries: Entry) -> None:
        self.instances(map_index).publish(entries, is_final=is_final)


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


def test_a_recipient_who_moved_to_another_index_is_known_there() -> None:
    run = Run(i0="success", i1="running")
    run.publish(0, ada=SENT)
    found = run.ledger(1).find("ada")
    assert found == SENT._replace(map_index=0)
    assert str(found) == "map index 0, attempt 1 at 00:00:01 UTC"


def test_a_result_outranks_an_intent() -> None:
    run = Run(i0="success", i1="success", i2="running")
    run.publish(0, ada=INTENT)
    run.publish(1, ada=SENT)
    ledger = run.ledger(2)
    found = ledger.find("ada")
    assert found is not None
    assert found.state == "sent"
    assert not ledger.may_send(found, "never", "resend")


@pytest.mark.parametrize("state", ["failed", "up_for_retry", "success"])
def test_an_instance_that_ended_without_publishing_holds_the_others_back(state: str) -> None:
    ledger = Run(i0=state, i1="running").ledger(1)
    with pytest.raises(AirflowException, match="Map index 0 of this task ended before it published"):
        ledger.find("ada")


def test_an_instance_that_publishes_and_ends_between_two_reads_is_included() -> None:
    class Late(Instance):
        reads = 0

        def xcom_pull(self, **_: Any) -> list[Any]:
            self.reads += 1
            if self.reads > 1:
                self._run.publish(0)
            return super().xcom_pull()

    run = Run(i0="success", i1="running")
    mapped_instances = MappedInstances(Late(run, 1), was_cleared=True)
    assert mapped_instances.look_up("ada", changed=False) is None


@pytest.mark.parametrize("state", [None, "scheduled", "queued", "removed"])
def test_an_instance_that_never_started_has_sent_nothing(state: str | None) -> None:
    assert Run(i0=state, i1="running").ledger(1).find("ada") is None


def test_no_instance_is_asked_while_nothing_was_cleared_and_nothing_changed() -> None:
    assert Run(i0="failed", i1="running").ledger(1, was_cleared=False).find("ada") is None


def test_another_recipient_at_the_same_index_shows_that_the_list_changed() -> None:
    run = Run(i0="success", i1="running")
    run.publish(0, ada=SENT)
    before = run.ledger(1)
    commit(before, {"grace": Ids("6")}, [])
    assert run.ledger(1, was_cleared=False).find("ada") is not None


def test_no_instance_is_asked_by_a_sender_that_would_send_anyway() -> None:
    assert Run(i0="failed", i1="running").ledger(1, asks=False).find("ada") is None


def test_a_try_publishes_what_was_sent_when_it_begins_and_with_each_write() -> None:
    run = Run(i0="running", i1="running")
    ledger = run.ledger(0)
    assert run.instances(1).look_up_all() == {}
    commit(ledger, {}, ["ada"])
    commit(ledger, {"ada": Ids("7")}, ["bob"])
    found = run.instances(1).look_up_all()
    assert {name: (entry.state, entry.ids.id) for name, entry in found.items()} == {
        "ada": ("sent", "7"),
        "bob": ("intent", None),
    }


def test_a_batch_knows_what_another_chunk_has_sent() -> None:
    run = Run(i0="success", i1="running")
    other = run.batch(0)
    commit(other, {}, ["ada", "bob"])
    commit(other, {"ada": Ids("7", "wamid.7")}, [])
    other.end_try()
    mine = run.batch(1)
    mine.include_mapped_instances()
    ada, bob = mine.find("ada"), mine.find("bob")
    assert ada == Entry("sent", 2, 1, Ids("7", "wamid.7"), map_index=0)
    assert str(ada) == "map index 0, attempt 2"
    assert not mine.may_send(ada, "never", "resend")
    assert mine.may_send(ada, "on_clear", "fail")
    assert bob is not None
    assert bob.state == "intent"
    assert mine.find("eve") is None


def test_the_own_records_outrank_the_intents_of_others() -> None:
    run = Run(i0="running", i1="success")
    mine = run.batch(0)
    commit(mine, {}, ["ada", "bob"])
    commit(mine, {"ada": Ids("7")}, [])
    run.publish(1, ada=INTENT, bob=SENT._replace(ids=Ids("8")))
    mine = run.batch(0)
    mine.include_mapped_instances()
    found = [mine.find(name) for name in ("ada", "bob")]
    assert [each and (each.state, each.ids.id) for each in found] == [("sent", "7"), ("sent", "8")]


@pytest.mark.parametrize("state", ["failed", "success", "up_for_retry"])
def test_a_chunk_that_was_killed_while_it_sent_holds_the_others_back(state: str) -> None:
    run = Run(i0="running", i1="running")
    commit(run.batch(0), {}, ["ada"])
    run.states[0] = state
    with pytest.raises(AirflowException, match="Map index 0"):
        run.batch(1).include_mapped_instances()


def test_a_chunk_that_ended_before_it_sent_holds_nobody_back() -> None:
    run = Run(i0="running", i1="running")
    run.batch(0)
    run.states[0] = "failed"
    mine = run.batch(1)
    mine.include_mapped_instances()
    assert mine.find("ada") is None


def test_a_chunk_that_is_sending_has_published_what_it_sent_before() -> None:
    run = Run(i0="running", i1="running")
    run.publish(0, is_final=False, ada=SENT)
    assert run.instances(1).look_up_all() == {"ada": SENT._replace(map_index=0)}


def test_chunks_of_a_run_in_which_nothing_was_cleared_are_not_asked() -> None:
    assert Run(i0="failed", i1="running").instances(1, was_cleared=False).look_up_all() == {}


@pytest.mark.parametrize("kind", ["batch", "ledger"])
def test_an_instance_whose_ledger_cannot_be_read_has_published_nothing(kind: str) -> None:
    run = Run(i0="success", i1="running")
    store = run.store(0)
    store.set("intercom/batch/1", "seven")
    store.set("intercom/ledger", "seven")
    getattr(run, kind)(0)
    with pytest.raises(AirflowException, match="Map index 0"):
        run.instances(1).look_up_all()


@pytest.mark.parametrize(
    "odd",
    [
        "sent",
        {},
        {"map_index": 0},
        {"map_index": "0", "entries": {}, "is_final": True},
        {"map_index": 0, "entries": "all"},
        {"map_index": 0, "entries": {"ada": 7}, "is_final": True},
        {"map_index": 0, "entries": {"ada": []}, "is_final": True},
        {"map_index": 0, "entries": {"ada": ["1", 0, ["7"]]}, "is_final": True},
        {"map_index": 0, "entries": {"ada": [1, 0, 7]}, "is_final": True},
    ],
)
def test_an_instance_whose_published_records_make_no_sense_has_published_nothing(odd: Any) -> None:
    run = Run(i0="success", i1="running")
    run.xcoms[0] = odd
    with pytest.raises(AirflowException, match="Map index 0"):
        run.instances(1).look_up_all()


def test_an_instance_that_lost_its_records_leaves_the_others_messages_unconfirmed() -> None:
    run = Run(i0="running", i1="running", i2="running")
    run.stores[0] = Store()
    run.ledger(0)
    run.publish(2)
    found = run.ledger(1).find("ada")
    assert found is not None
    assert found.map_index == 0
    assert "no record is left of the earlier tries of map index 0" in found.no_result
    mine = run.batch(1)
    mine.include_mapped_instances()
    found = mine.find("ada")
    assert found is not None
    assert mine.may_send(found, "on_clear", "fail")


def test_an_instance_that_lost_its_records_still_hears_what_another_has_sent() -> None:
    run = Run(i0="running", i1="success")
    run.stores[0] = Store()
    run.publish(1, ada=SENT)
    found = run.ledger(0).find("ada")
    assert found is not None
    assert (found.state, found.map_index) == ("sent", 1)
