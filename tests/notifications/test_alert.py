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
from tests.support.ledgers import commit
from tests.support.stores import Store as MemoryStore

if TYPE_CHECKING:
    from intercom_provider.ledger.stored import Store

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


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class MutePath:
    """Has a text that cannot be sent, as a file name of another encoding."""

    def __str__(self) -> str:
        return "caf\udce9"


def dag_run_context(**values: Any) -> dict[str, Any]:
    usual = {"dag": SimpleNamespace(dag_id="sales"), "run_id": "run-1", "reason": "timed_out"}
    return {**usual, **values}


ODD_CONTEXTS: dict[str, tuple[dict[str, Any], str]] = {
    "an exception with half a character": (
        task_context("failed", exception=OSError("caf\udce9.csv is gone")),
        "OSError: caf\\udce9.csv is gone",
    ),
    "an exception that cannot be printed": (
        task_context("failed", exception=MuteError()),
        "MuteError: (its text cannot be read: RuntimeError)",
    ),
    "an exception with control characters": (
        task_context("failed", exception=ValueError("a\x00b\x1b[31mc")),
        "ValueError: a\\x00b\\x1b[31mc",
    ),
    "an exception of a megabyte": (task_context("failed", exception=ValueError("x" * 1_000_000)), "ValueError: xxx"),
    "an exception that is text": (task_context("failed", exception="caf\udce9"), "caf\\udce9"),
    "a reason": (dag_run_context(reason="caf\udce9"), "DAG sales failed: caf\\udce9"),
    "a name of a DAG": (dag_run_context(dag=SimpleNamespace(dag_id="caf\udce9")), "DAG caf\\udce9 failed"),
    "a run id": (dag_run_context(run_id=MutePath()), "Run: caf\\udce9"),
    "a DAG without a name": (dag_run_context(dag=None), "what it is about cannot be read (AttributeError"),
    "a deadline without a time": ({"deadline": None}, "what it is about cannot be read (TypeError"),
    "a name of a DAG that missed a deadline": (
        {"deadline": {"deadline_time": "now"}, "dag_run": {"dag_id": "caf\udce9"}},
        "DAG caf\\udce9 missed a deadline",
    ),
}


@pytest.mark.parametrize("odd", ODD_CONTEXTS)
def test_an_odd_text_does_not_keep_an_alert_back(odd: str) -> None:
    context, said = ODD_CONTEXTS[odd]
    alert = read_alert(context)
    assert said in alert.text
    for text in (alert.headline, alert.text):
        assert text.encode()
        assert "\x00" not in text
        assert len(text) < 2_100


def test_a_log_address_that_airflow_cannot_make_is_unknown() -> None:
    class Instance(SimpleNamespace):
        @property
        def log_url(self) -> str:
            raise RuntimeError("no base_url")

    values = {name: value for name, value in vars(task_context("failed")["ti"]).items() if name != "log_url"}
    assert "Log: unknown" in read_alert({"ti": Instance(**values)}).text


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
    ledger.begin_try(read_only=True)
    entry = ledger.find("alert")
    if entry is not None and not ledger.may_send(entry, "on_clear", "fail"):
        return False
    commit(ledger, {}, ["alert"])
    if ids is not UNKNOWN:
        commit(ledger, {"alert": ids}, [])
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
