"""A batch with a send window, as a task: it sleeps or defers, and counts once."""

from __future__ import annotations

import json
import shutil
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.exceptions import InvalidFieldError
from intercom_provider.operators.batch import SendMessageBatchOperator
from intercom_provider.results import read_results
from intercom_provider.sending.batch.counts import COUNT_NAMES
from tests.support.dags import connect
from tests.support.databases import LedgerDatabase, connect_ledger
from tests.support.messages import in_app
from tests.support.storage import hanging_storage
from tests.support.timezones import write_zone, zones_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from intercom_provider.sandbox import Sandbox
    from tests.support.hostile import Hostile

USERS = [f"6762f2391bb69f9f2193bc{n:02}" for n in range(3)]


def local(seconds: float) -> str:
    """Return the local time in UTC in so many seconds."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).time().isoformat(timespec="seconds")


def people(*zones: str) -> list[dict[str, Any]]:
    return [in_app(to={"type": "user", "id": USERS[n]}, timezone=zone) for n, zone in enumerate(zones)]


def batch(**fields: Any) -> SendMessageBatchOperator:
    return SendMessageBatchOperator(task_id="send", **fields)


@pytest.mark.needs("task_state_store")
def test_windows_that_open_soon_are_waited_for_in_place(run_dag: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    write_zone(tmp_path / "zones", "Test/Behind", -4)
    write_zone(tmp_path / "zones", "Test/FurtherBehind", -8)
    begun = time.time()
    with zones_in(tmp_path / "zones"), DAG("soon") as dag:
        batch(
            messages=people("UTC", "Test/Behind", "Test/FurtherBehind"),
            send_window=(local(-1), local(3_600)),
            results_path=str(tmp_path / "results"),
        )
        run = run_dag(dag)
    assert run.states == {"send": "success"}
    assert (run.xcom("send", "sent"), run.xcom("send", "total")) == (3, 3)
    assert [message.recipient for message in sandbox.messages] == USERS
    assert sandbox.messages[2].time >= int(begun) + 6
    rows = list(read_results(run.xcom("send", "results_path")))
    assert [(row["index"], row["outcome"]) for row in rows] == [(0, "sent"), (1, "sent"), (2, "sent")]


@pytest.mark.needs("task_state_store")
def test_the_time_zone_is_that_of_the_message_else_of_the_defaults_else_of_the_operator(
    run_dag: Any, sandbox: Sandbox
) -> None:
    hours = (local(-60), local(1_800))
    with DAG("zones") as dag:
        batch(
            messages=people("UTC", "Etc/GMT-1", "${zone}"),
            defaults={"params": {"zone": "Etc/GMT-1"}, "timezone": "UTC"},
            send_window=hours,
            timezone="Etc/GMT-1",
            not_after=time.time() + 600,
            max_failed=None,
        )
    run = run_dag(dag)
    assert (run.xcom("send", "sent"), run.xcom("send", "expired")) == (1, 2)
    assert len(sandbox.messages) == 1


def test_a_dry_run_does_not_wait(run_dag: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, sandbox.connection, dry_run=True)
    with DAG("dry") as dag:
        batch(messages=people("UTC", "UTC"), send_window=(local(3_600), local(7_200)))
    assert run_dag(dag).xcom("send", "dry_run") == 2


@pytest.mark.needs("task_state_store")
@pytest.mark.usefixtures("sandbox")
def test_a_message_without_a_time_zone_is_wrong_where_the_batch_has_none(run_dag: Any) -> None:
    messages = [*people("UTC"), in_app(to={"type": "user", "id": USERS[1]})]
    with DAG("no_zone") as dag:
        batch(messages=messages, send_window=(local(-60), local(3_600)), invalid="reject", max_failed=1)
    run = run_dag(dag)
    assert (run.xcom("send", "sent"), run.xcom("send", "rejected")) == (1, 1)
    (reason,) = run.xcom("send", "reasons")
    assert reason["reason"].startswith("timezone: is needed with send_window")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"send_window": ("9", "20:00")}, "send_window: must be two local times"),
        ({"send_window": "09:00-20:00"}, "send_window: must be two local times"),
        ({"send_window": ("09:00", "09:00")}, "send_window: opens and closes at the same time"),
        ({"send_window": ("09:00", "20:00"), "timezone": "Nowhere"}, "timezone: must be the name of a time zone"),
    ],
)
def test_a_window_that_is_wrong_is_refused_when_the_dag_is_parsed(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidFieldError, match=words):
        batch(messages=people("UTC"), **fields)


@pytest.fixture
def overnight(run_dag: Any, at_opening: Any, tmp_path: Path, server: Hostile) -> Any:
    """Return a function that runs a batch of two, one of whom waits, and lets something happen meanwhile."""

    def run(happen: Callable[[], object], another: dict[str, Any] | None = None, **fields: Any) -> Any:
        messages = people("UTC", "Etc/GMT-1")
        tmp_path.joinpath("messages.jsonl").write_text("\n".join(map(json.dumps, messages)))
        with DAG("overnight") as dag:
            send = batch(
                messages=str(tmp_path / "messages.jsonl"),
                send_window=(local(-60), local(1_800)),
                **{"results_path": str(tmp_path / "results"), **fields},
            )

        def open_the_window() -> None:
            assert len(server.created) == 1
            send.send_window = (local(3_540), local(5_400))
            for name, value in (another or {}).items():
                setattr(send, name, value)
            happen()

        at_opening(open_the_window)
        return run_dag(dag)

    return run


def counts(run: Any) -> dict[str, int]:
    xcoms = run.xcoms("send")
    assert sum(xcoms[name] for name in COUNT_NAMES) == xcoms["total"]
    return {name: xcoms[name] for name in COUNT_NAMES if xcoms[name]}


@pytest.mark.needs("task_state_store")
@pytest.mark.parametrize(
    "change",
    [
        lambda folder: folder.joinpath("messages.jsonl").unlink(),
        lambda folder: folder.joinpath("messages.jsonl").write_text(json.dumps(people("UTC")[0])),
        lambda folder: folder.joinpath("suppress.txt").unlink(),
    ],
    ids=["an input that is gone", "another input", "a list to suppress that is gone"],
)
def test_an_error_before_the_task_goes_on_counts_what_waited(
    overnight: Any, server: Hostile, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    tmp_path.joinpath("suppress.txt").write_text("somebody@else.example\n")
    run = overnight(lambda: change(tmp_path), suppress=str(tmp_path / "suppress.txt"))
    assert run.states == {"send": "failed"}
    assert (counts(run), run.xcom("send", "waiting"), len(server.created)) == ({"sent": 1, "not_sent": 1}, None, 1)
    assert run.xcom("send")["not_sent"] == 1
    # The try has come to its end, and what it sent can be read.
    assert [row["outcome"] for row in read_results(run.xcom("send", "results_path"))] == ["sent"]


@pytest.mark.needs("task_state_store")
def test_results_that_are_gone_when_the_task_goes_on_are_no_complete_results(
    overnight: Any, server: Hostile, tmp_path: Path
) -> None:
    run = overnight(lambda: shutil.rmtree(tmp_path / "results"))
    assert (run.states, counts(run), len(server.created)) == ({"send": "failed"}, {"sent": 2}, 2)
    assert (run.xcom("send", "results_path"), list(tmp_path.rglob("*.end.json"))) == (None, [])


@pytest.mark.needs("task_state_store")
@pytest.mark.parametrize(
    ("fields", "another"),
    [
        ({"campaign": "promo/1", "ledger_conn_id": "ledger"}, {"campaign": "promo/2"}),
        ({}, {"ledger_conn_id": "ledger"}),
        ({"ledger_conn_id": "ledger"}, {"ledger_conn_id": None}),
    ],
    ids=["another campaign", "from the store to a table", "from a table to the store"],
)
def test_another_ledger_ends_the_task_as_a_retry_would_send_to_everybody_again(
    overnight: Any,
    server: Hostile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    *,
    fields: dict[str, Any],
    another: dict[str, Any],
) -> None:
    file = tmp_path / "ledger.db"
    connect_ledger(monkeypatch, LedgerDatabase({"conn_type": "sqlite", "host": str(file)}, file))
    run = overnight(lambda: None, another, retries=1, retry_delay=timedelta(0), **fields)
    assert (run.states, counts(run), len(server.created)) == ({"send": "failed"}, {"sent": 1, "not_sent": 1}, 1)
    assert "its ledger is another one now" in capfd.readouterr().out


@pytest.mark.needs("task_state_store")
def test_a_time_out_is_heard_although_the_storage_hangs_when_the_task_goes_on(overnight: Any, server: Hostile) -> None:
    with hanging_storage() as storage:
        # If it were asked once more, the test would wait for it.
        answering = threading.Timer(60, storage.answers.set)
        answering.daemon = True
        answering.start()
        run = overnight(
            lambda: storage.hang(finds_nothing=True),
            results_path=storage.path,
            execution_timeout=timedelta(seconds=5),
        )
        assert not storage.answers.is_set()
        answering.cancel()
    assert (run.states, counts(run), len(server.created)) == ({"send": "failed"}, {"sent": 1, "not_sent": 1}, 1)
    assert (run.xcom("send", "results_path"), run.xcom("send", "waiting")) == (None, None)
