"""When an alert is given: by the context of a callback, and by what is recorded."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.ledger.ledger import Attempt, Ids
from intercom_provider.ledger.task_state import MessageLedger
from intercom_provider.notifications.alert import Alert, read_alert
from intercom_provider.notifications.once import ALERTS_KEY, AlertLedger, reason_to_skip
from tests.support.stores import Store as MemoryStore

if TYPE_CHECKING:
    from intercom_provider.ledger.task_state import Store

LOG = logging.getLogger(__name__)
SENT = Ids("403")
UNKNOWN = Ids()


class Refusing:
    """A store that is there, and refuses."""

    def get(self, key: str) -> Any:
        raise RuntimeError(f"no {key} here")

    def set(self, key: str, value: Any) -> None:
        raise RuntimeError(f"no {key} for {value} here")


def task_context(state: str | None, *, number: int = 1, max_tries: int = 3, **more: Any) -> dict[str, Any]:
    ti = SimpleNamespace(
        dag_id="sales",
        task_id="load",
        run_id="run-1",
        map_index=-1,
        try_number=number,
        max_tries=max_tries,
        state=state,
        log_url="http://airflow/log",
    )
    return {"ti": ti, **more}


@pytest.mark.parametrize(
    ("number", "will_retry", "kind"),
    [
        (1, None, "up_for_retry"),
        (4, None, "failed"),
        # It never began, and will not be tried again, whatever the number of its try.
        (1, False, "failed"),
        (4, True, "up_for_retry"),
    ],
)
def test_where_the_state_is_not_told_the_callback_tells(number: int, will_retry: bool | None, kind: str) -> None:
    alert = read_alert(task_context(None, number=number), will_retry=will_retry)
    assert (alert.kind, alert.from_dag_processor) == (kind, True)
    assert "There is no exception" in alert.text


def test_an_unknown_context_alerts_all_the_same() -> None:
    assert read_alert({}).text == "Airflow asked for an alert, and gave no reason"


def test_a_dag_whose_last_task_is_gone_alerts_without_it() -> None:
    context = {"dag": SimpleNamespace(dag_id="sales"), "run_id": "run-1", "reason": "timed_out"}
    assert read_alert(context).text == "DAG sales failed: timed_out\nRun: run-1"


def alerting_tries(kind: Any, *, is_covered: bool, from_dag_processor: bool = False) -> list[int]:
    alert = Alert(kind, "", "", from_dag_processor)
    return [
        number
        for number in (1, 2, 3, 4)
        if not reason_to_skip(alert, Attempt(number, max_tries=3, retries=3), is_covered=is_covered)
    ]


def test_of_all_tries_one_alerts_and_where_nobody_may_hear_of_the_last_one_two() -> None:
    assert alerting_tries("failed", is_covered=True) == [1, 2, 3, 4]
    assert alerting_tries("running", is_covered=True) == [1]
    assert alerting_tries("up_for_retry", is_covered=False) == [1]
    assert alerting_tries("up_for_retry", is_covered=True) == []
    assert alerting_tries("up_for_retry", is_covered=True, from_dag_processor=True) == [1, 3]
    assert alerting_tries("up_for_retry", is_covered=False, from_dag_processor=True) == [1]


def give(store: Store, ids: Ids | None = SENT, *, max_tries: int = 0) -> bool:
    """Give an alert, unless the ledger knows that it was given; None for ids: it is certainly not sent."""
    ledger = AlertLedger(MessageLedger(store, Attempt(1, max_tries, retries=0), key=ALERTS_KEY), LOG)
    ledger.begin_try()
    entry = ledger.find("alert")
    if entry is not None and not ledger.may_send(entry, "on_clear", "fail"):
        return False
    ledger.commit({}, ["alert"])
    if ids is not UNKNOWN:
        ledger.commit({"alert": ids}, [])
    return True


def test_what_was_given_is_given_again_only_when_somebody_cleared_the_task() -> None:
    store = MemoryStore()
    assert give(store)
    assert store.values.keys() == {ALERTS_KEY}
    assert not give(store)
    assert give(store, max_tries=1)


def test_what_certainly_was_not_given_is_given_by_the_next() -> None:
    store = MemoryStore()
    assert give(store, None)
    assert give(store)


def test_what_may_have_been_given_is_not_repeated() -> None:
    store = MemoryStore()
    assert give(store, UNKNOWN)
    assert not give(store)


def test_a_store_that_refuses_keeps_no_alert_back(caplog: pytest.LogCaptureFixture) -> None:
    assert give(Refusing())
    assert give(Refusing())
    assert caplog.text.count("This alert cannot be recorded, so it may be sent once more: no intercom/alerts here") == 2


@pytest.mark.parametrize("writes", [0, 1])
def test_a_store_that_cannot_be_written_keeps_no_alert_back(writes: int, caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    store.fail_after = writes
    if writes:
        with pytest.raises(ConnectionError):
            give(store)
    else:
        assert give(store)
        assert "This alert cannot be recorded" in caplog.text
