"""A try that was deferred goes on where it was, or ends with an error that says how to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api.settings import Settings
from intercom_provider.compat import AirflowException
from intercom_provider.ledger.stateless import StatelessLedger
from intercom_provider.results.writer import ResultsWriter
from intercom_provider.sending.batch.input import BatchInput
from intercom_provider.sending.batch.legs import Legs, count_waiting
from intercom_provider.sending.batch.window import read_batch_window
from intercom_provider.sending.options import SendOptions
from tests.sending.batch.test_window import local, people, reached
from tests.support import hostile

if TYPE_CHECKING:
    from tests.support.hostile import Hostile


class TaskInstance:
    """What the legs ask of Airflow's task instance."""

    task_id, map_index = "send", -1

    def __init__(self, try_number: int, kept: object = None) -> None:
        self.try_number = try_number
        self.kept = kept

    def xcom_pull(self, **_: Any) -> object:
        return self.kept

    def xcom_push(self, *, key: str, value: object) -> None:
        assert key == "waiting"
        self.kept = value


def legs(server: Hostile, ti: TaskInstance, messages: list[dict[str, Any]], hours: tuple[str, str], **how: Any) -> Legs:
    settings = Settings(token=hostile.TOKEN, base_url=server.url, admin_id=1)
    batch = BatchInput(messages, None, duplicates="skip", salt="run", settings=settings)
    total = batch.check()
    context: Any = {"ti": ti}
    return Legs(
        context,
        batch,
        total,
        results=ResultsWriter(None, 1),
        settings=settings,
        options=SendOptions(),
        ledger=StatelessLedger(),
        stopped=lambda: False,
        reason_to_suppress=lambda _: None,
        window=read_batch_window(hours, None),
        **how,
    )


def test_a_deferred_try_goes_on_and_cleans_up(server: Hostile) -> None:
    ti, messages = TaskInstance(1), people("UTC", "Etc/GMT-1")
    first = legs(server, ti, messages, (local(-60), local(1_800)), is_resumed=False)
    opens_at = first.run()
    assert opens_at is not None
    first.suspend(opens_at)
    assert isinstance(ti.kept, dict)
    assert {name: ti.kept[name] for name in ("messages", "try")} == {"messages": 1, "try": 1}
    second = legs(server, ti, messages, (local(3_540), local(5_400)), is_resumed=True)
    assert [item.index for item in second.rest] == [1]
    assert second.run() is None
    assert (second.record.counts.sent, reached(server)) == (2, [0, 1])
    kept: object = ti.kept
    assert kept is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda kept, _: kept.clear(), "its XCom waiting is gone"),
        (lambda kept, _: kept.update({"try": 2}), "its XCom waiting is gone"),
        (lambda kept, _: kept.update({"record": "edited"}), "it cannot be read"),
        (lambda _, messages: messages.reverse(), "the input is another one now"),
        (lambda _, messages: messages.pop(), "the input is another one now"),
    ],
    ids=["no record", "of another try", "edited", "another order", "a shorter list"],
)
def test_a_try_that_cannot_go_on_says_how_to_go_on(server: Hostile, change: Any, words: str) -> None:
    ti, messages = TaskInstance(1), people("UTC", "Etc/GMT-1")
    first = legs(server, ti, messages, (local(-60), local(1_800)), is_resumed=False)
    opens_at = first.run()
    assert opens_at is not None
    first.suspend(opens_at)
    change(ti.kept, messages)
    with pytest.raises(AirflowException, match=f"{words}. Nothing more was sent. A retry, or the task cleared"):
        legs(server, ti, messages, (local(3_540), local(5_400)), is_resumed=True)
    assert reached(server) == [0]


def test_why_a_try_has_ended_is_not_hidden_by_an_xcom_that_cannot_be_read() -> None:
    class Silent(TaskInstance):
        def xcom_pull(self, **_: Any) -> object:
            raise RuntimeError("Airflow does not answer")

    operator: Any = None
    context: Any = {"ti": Silent(1)}
    with pytest.raises(AirflowException, match="the input is gone"), count_waiting(operator, context, may_wait=True):
        raise AirflowException("the input is gone")
