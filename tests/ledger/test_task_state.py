"""The ledger of one message in the task state store, and what both there have in common: lost records."""

from __future__ import annotations

from typing import Any

import pytest

from intercom_provider.ledger.ledger import Attempt, Entry, Ids
from intercom_provider.ledger.task_state import MESSAGE_KEY, MessageLedger
from intercom_provider.ledger.task_state_batch import BATCH_KEY, BatchLedger
from tests.support.ledgers import commit
from tests.support.stores import Store

FIRST = Attempt(number=1, max_tries=2, retries=2)
SECOND = Attempt(number=2, max_tries=2, retries=2)


def begun(store: Store, attempt: Attempt = FIRST) -> MessageLedger:
    ledger = MessageLedger(store, attempt)
    ledger.begin_try()
    return ledger


def test_one_message_costs_one_read_and_three_writes() -> None:
    store = Store()
    ledger = begun(store)
    assert ledger.find("ada") is None
    commit(ledger, {}, ["ada"])
    commit(ledger, {"ada": Ids("7", conversation_id="8", created_at=9)}, [])
    assert (store.gets, len(store.sets)) == (1, 3)
    found = begun(store, SECOND).find("ada")
    assert found is not None
    assert (found.state, found.ids, found.attempt) == ("sent", Ids("7", None, "8", 9), 1)


def test_reading_for_a_try_that_may_not_come_to_send_leaves_no_record() -> None:
    store = Store()
    MessageLedger(store, FIRST).begin_try(read_only=True)
    BatchLedger(store, FIRST).begin_try(read_only=True)
    assert store.sets == []


def test_an_intent_that_is_withdrawn_leaves_what_stood_before() -> None:
    store = Store()
    commit(begun(store), {"ada": Ids("7")}, [])
    again = begun(store, SECOND)
    commit(again, {}, ["ada", "bob"])
    commit(again, {"ada": None, "bob": None}, [])
    third = begun(store, Attempt(number=3, max_tries=2, retries=2))
    ada = third.find("ada")
    assert ada is not None
    assert (ada.ids.id, ada.attempt) == ("7", 1)
    assert third.find("bob") is None


@pytest.mark.parametrize(
    "edited",
    [
        "sent, I think",
        ["ada"],
        7,
        {"ada": 1},
        {"ada": {"state": "sent"}},
        {"ada": {"state": "sent", "receipt": {}}},
        {"ada": {"state": "posted", "attempt": 1, "max_tries": 2}},
        {"ada": {"state": ["sent"], "attempt": 1, "max_tries": 2}},
        {"ada": {"state": "sent", "attempt": "1", "max_tries": 2, "ids": {"id": "7"}}},
        {"ada": {"state": "sent", "attempt": 1, "max_tries": None, "ids": {"id": "7"}}},
        {"ada": {"state": "sent", "attempt": 1, "max_tries": 2, "ids": ["7"]}},
        {"ada": {"state": "sent", "attempt": 1, "max_tries": 2, "ids": {"id": 7}}},
        {"ada": {"state": "intent", "attempt": -1, "max_tries": 2}},
    ],
)
def test_an_edited_entry_lets_a_message_be_sent_again_once_and_not_with_every_try(edited: Any) -> None:
    store = Store()
    store.set(MESSAGE_KEY, edited)
    ledger = begun(store, SECOND)
    found = ledger.find("ada")
    assert found is not None
    assert not ledger.may_send(found, "never", "fail")
    assert ledger.may_send(found, "never", "resend")
    commit(ledger, {}, ["ada"])
    commit(ledger, {"ada": Ids("7")}, [])
    again = begun(store, SECOND)
    found = again.find("ada")
    assert found is not None
    assert not again.may_send(found, "never", "resend")


def test_a_try_that_was_given_up_for_dead_withdraws_nothing_of_the_next_one() -> None:
    store = Store()
    first = begun(store)
    commit(first, {}, ["ada"])
    second = begun(store, SECOND)
    commit(second, {}, ["ada"])
    commit(second, {"ada": Ids("7")}, [])
    commit(first, {"ada": None}, [])
    assert (first.is_current(), second.is_current()) == (False, True)
    found = begun(store, SECOND).find("ada")
    assert found is not None
    assert found.ids.id == "7"


def test_unknown_fields_of_a_newer_version_are_ignored() -> None:
    store = Store()
    entry = {"state": "sent", "attempt": 1, "max_tries": 2, "ids": {"id": "7", "region": "eu"}, "campaign": "spring"}
    store.set(MESSAGE_KEY, {"ada": {**entry, "at": 1.0}, "version": 2})
    ledger = begun(store, SECOND)
    assert ledger.find("ada") == Entry("sent", 1, 2, Ids("7"), 1.0)
    assert ledger.find("eve") is None


@pytest.mark.parametrize("at", ["noon", -1, 1e300, True, [], 10**30, float("nan"), float("inf")])
def test_a_time_that_makes_no_sense_loses_the_time_alone(at: Any) -> None:
    store = Store()
    store.set(MESSAGE_KEY, {"ada": {"state": "sent", "attempt": 1, "max_tries": 2, "ids": {"id": "7"}, "at": at}})
    found = begun(store, SECOND).find("ada")
    assert found is not None
    assert found.ids == Ids("7")
    assert str(found).startswith("attempt 1")


LOSER = Attempt(number=3, max_tries=4, retries=2)


@pytest.mark.parametrize("kind", [MessageLedger, BatchLedger])
@pytest.mark.parametrize(
    ("attempt", "expected"),
    [
        (FIRST, None),
        (SECOND, None),
        (Attempt(number=3, max_tries=2, retries=2), None),
        (LOSER, "intent"),
        (Attempt(number=2, max_tries=1, retries=0), "intent"),
        # Cleared while it ran: the run counts it, max_tries does not.
        (Attempt(number=2, max_tries=2, retries=2, clear_number=1), "intent"),
        (Attempt(number=1, max_tries=2, retries=2, clear_number=1), None),
    ],
)
def test_no_record_at_all_leaves_the_outcome_unknown_where_the_task_was_cleared(
    kind: type[MessageLedger | BatchLedger], attempt: Attempt, expected: str | None
) -> None:
    ledger = kind(Store(), attempt)
    ledger.begin_try()
    found = ledger.find("ada")
    assert (found and found.state) == expected
    if found:
        assert ledger.may_send(found, "on_clear", "fail")
        assert ledger.may_send(found, "never", "resend")
        assert not ledger.may_send(found, "never", "fail")


@pytest.mark.parametrize("kind", [MessageLedger, BatchLedger])
def test_a_try_that_began_leaves_a_small_record_and_nobody_asks_later(kind: type[MessageLedger | BatchLedger]) -> None:
    store = Store()
    kind(store, FIRST).begin_try()
    assert sum(store.sets) < 60
    later = kind(store, LOSER)
    later.begin_try()
    assert later.find("ada") is None


@pytest.mark.parametrize("kind", [MessageLedger, BatchLedger])
def test_that_records_were_lost_is_remembered_until_a_message_has_a_record_of_its_own(
    kind: type[MessageLedger | BatchLedger],
) -> None:
    store = Store()
    kind(store, LOSER).begin_try()
    again = kind(store, Attempt(number=4, max_tries=4, retries=2))
    again.begin_try()
    found = again.find("ada")
    assert found is not None
    assert found.no_result.startswith("no record is left of the earlier tries")
    commit(again, {}, ["ada"])
    commit(again, {"ada": Ids("7")}, [])
    last = kind(store, Attempt(number=5, max_tries=4, retries=2))
    last.begin_try()
    states = [entry.state for entry in (last.find("ada"), last.find("eve")) if entry]
    assert states == ["sent", "intent"]


@pytest.mark.parametrize("odd", ["three", -1, None, [], True])
@pytest.mark.parametrize(("kind", "key"), [(MessageLedger, MESSAGE_KEY), (BatchLedger, BATCH_KEY)])
def test_lost_records_are_remembered_whatever_stands_for_their_attempt(
    kind: type[MessageLedger | BatchLedger], key: str, odd: Any
) -> None:
    store = Store()
    store.set(key, {"lost": odd})
    ledger = kind(store, SECOND)
    ledger.begin_try()
    found = ledger.find("ada")
    assert found is not None
    assert found.state == "intent"
