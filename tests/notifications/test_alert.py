"""When an alert is given: by what a callback is told, and by what is remembered."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api.errors import UnconfirmedError, UnreachableError
from intercom_provider.api.models import Receipt
from intercom_provider.ledger.ledger import Attempt
from intercom_provider.notifications.alert import Alert, read_alert
from intercom_provider.notifications.once import KEY, AlertRecord, reason_to_skip

if TYPE_CHECKING:
    from intercom_provider.ledger.ledger import Store

LOG = logging.getLogger(__name__)
SENT = Receipt(outcome="sent", id="403", message_type="in_app")


class Kept(dict[str, Any]):
    """A store that keeps all."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value


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
    assert "Airflow knows of no exception" in alert.text


def test_an_unknown_context_alerts_all_the_same() -> None:
    assert read_alert({}).text == "Airflow asked for an alert, and did not say why"


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


def memory(store: Store | None, *, max_tries: int = 0) -> AlertRecord:
    return AlertRecord(store, Attempt(1, max_tries=max_tries, retries=0), "identity", LOG)


def given(each: AlertRecord, outcome: str = "sent") -> bool:
    if not each.may_alert():
        return False
    with each.alerting():
        each.record(SENT.model_copy(update={"outcome": outcome}))
    return True


def test_what_was_given_is_given_again_only_when_somebody_cleared_the_task() -> None:
    store = Kept()
    assert given(memory(store))
    assert store.keys() == {KEY}
    assert not given(memory(store))
    assert given(memory(store, max_tries=1))


def test_what_certainly_was_not_given_is_given_by_the_next() -> None:
    store = Kept()
    assert given(memory(store), "rejected")
    failing = memory(store)
    assert failing.may_alert()
    with pytest.raises(UnreachableError), failing.alerting():
        raise UnreachableError("nobody there")
    assert given(memory(store))


def test_what_may_have_been_given_is_not_repeated() -> None:
    store = Kept()
    unsure = memory(store)
    assert unsure.may_alert()
    with pytest.raises(UnconfirmedError), unsure.alerting():
        raise UnconfirmedError("no reply")
    assert not memory(store).may_alert()


@pytest.mark.parametrize("store", [None, Refusing()])
def test_without_a_store_the_alert_is_given(store: Store | None) -> None:
    assert given(memory(store))
    assert given(memory(store))
