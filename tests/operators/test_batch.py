"""Sending many messages in one task, as DAGs do it."""

from __future__ import annotations

import html
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, task

from intercom_provider.exceptions import InvalidFieldError
from intercom_provider.ledger.task_state_batch import BATCH_KEY
from intercom_provider.operators.message import SendMessageBatchOperator
from intercom_provider.results.reader import TryResults
from intercom_provider.sending.batch.counts import COUNT_NAMES
from intercom_provider.sending.batch.recorder import STOPPED_BEFORE
from intercom_provider.sensors.message_status import MessageStatusSensor
from tests.support import hostile
from tests.support.dags import connect

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.sdk import Context

    from intercom_provider.sandbox import Sandbox
    from tests.support.hostile import Hostile

DEFAULTS = {"message_type": "whatsapp", "template": "hello"}
COUNTS = ("total", *COUNT_NAMES)


def phones(number: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"to": {"phone": f"+4479009{index:05}"}, "key": index} for index in range(start, start + number)]


def users(number: int) -> list[dict[str, Any]]:
    return [{"to": {"type": "user", "id": f"{index}"}} for index in range(number)]


def batch(messages: Any, **fields: Any) -> SendMessageBatchOperator:
    usual = {"task_id": "send", "defaults": DEFAULTS, "retry_delay": timedelta(seconds=0.1)}
    return SendMessageBatchOperator(messages=messages, **{**usual, **fields})


def in_app(messages: Any, **fields: Any) -> SendMessageBatchOperator:
    return batch(messages, **{"defaults": {"message_type": "in_app", "body": "Hi"}, **fields})


def counts(run: Any, map_index: int = -1) -> dict[str, int]:
    told = run.xcoms("send", map_index)
    return {name: told[name] for name in COUNTS if told[name]}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for part in sorted(folder.rglob("*.jsonl")) for line in part.read_text().splitlines() if line
    ]


def test_a_campaign_is_sent_and_waited_for(run_dag: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    with DAG("campaign") as dag:
        send = batch(phones(120), results_path=str(tmp_path))
        MessageStatusSensor(task_id="wait", sent=send.output, poke_interval=0.1, timeout=30)
    run = run_dag(dag)
    assert run.states == {"send": "success", "wait": "success"}
    told = run.xcoms("send")
    assert set(told) == {*COUNTS, "reasons", "whatsapp_message_ids", "results_path", "results_try", "return_value"}
    assert counts(run) == {"total": 120, "sent": 120}
    assert set(told["whatsapp_message_ids"]) == {each.whatsapp_message_id for each in sandbox.messages}
    assert run.xcom("wait", "total") == 120
    assert told["results_path"] == f"{tmp_path}/campaign/{run.run_id}/send/-1"
    assert told["results_try"] == 1
    assert TryResults.of_try(told["results_path"], told["results_try"], told["total"]).is_complete()
    written = lines(tmp_path)
    assert sorted(line["index"] for line in written) == list(range(120))
    assert set(written[0]) == {"index", "key", "outcome", "id", "conversation_id", "whatsapp_message_id", "reason"}
    assert all(line["key"] == line["index"] and line["outcome"] == "sent" for line in written)


def test_json_lines_are_sent_and_the_path_is_a_template(run_dag: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "2026.jsonl").write_text("\n".join(map(json.dumps, phones(30))))
    with DAG("file") as dag:
        batch(f"file://{tmp_path}/{{{{ 2000 + 26 }}}}.jsonl", defaults={**DEFAULTS, "template": "{{ 'hel' + 'lo' }}"})
    run = run_dag(dag)
    assert counts(run) == {"total": 30, "sent": 30}
    assert {request.json["template"] for request in sandbox.requests if request.method == "POST"} == {"hello"}


def test_customers_words_arrive_as_written_and_are_never_code(run_dag: Any, server: Hostile) -> None:
    words = "{{ 1/0 }} {% x %} ${name} \"quoted\" 'quoted' <b>bold</b> $$ &amp; \u00e9\U0001f600"
    defaults = {"message_type": "in_app", "body": "<p>Dear ${who}</p>"}
    listed: list[dict[str, Any]] = [
        {"to": {"type": "user", "id": "1"}, "params": {"who": words}},
        {"to": {"type": "user", "id": "2"}, "body": words, "body_format": "text"},
        {"to": {"type": "user", "id": "3"}, "body": words},
    ]

    @task
    def customers() -> list[dict[str, Any]]:
        return listed

    with DAG("words") as dag:
        in_app(customers(), defaults=defaults)
        in_app(listed, task_id="literal", defaults=defaults)
        SendMessageBatchOperator.partial(task_id="mapped", defaults=defaults).expand(messages=[listed])
    run = run_dag(dag)
    assert set(run.states.values()) == {"success"}
    bodies = [(each["to"]["id"], each["body"]) for each in server.created]
    escaped = html.escape(words)
    assert sorted(bodies) == sorted([("1", f"<p>Dear {escaped}</p>"), ("2", escaped), ("3", words)] * 3)


@pytest.mark.parametrize("as_text", [False, True])
def test_the_messages_are_not_among_what_airflow_shows(run_dag: Any, server: Hostile, *, as_text: bool) -> None:
    shown: list[str] = []

    class Looks(SendMessageBatchOperator):
        def execute(self, context: Context) -> dict[str, Any]:
            shown.append(str(self.messages))
            return super().execute(context)

    @task
    def customers() -> list[dict[str, Any]]:
        return users(3)

    with DAG("shown") as dag:
        listed = customers()
        text = "{{ ti.xcom_pull(task_ids='customers') | tojson }}"
        send = Looks(
            task_id="send", messages=text if as_text else listed, defaults={"message_type": "in_app", "body": "Hi"}
        )
        listed >> send
    assert run_dag(dag).states["send"] == "success"
    assert shown == ["messages" if as_text else "3 messages"]
    assert len(server.created) == 3


def test_an_empty_list_succeeds_with_a_warning(
    run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str]
) -> None:
    with DAG("empty") as dag:
        in_app([])
    run = run_dag(dag)
    assert run.states == {"send": "success"}
    assert counts(run) == {}
    assert run.xcom("send", "whatsapp_message_ids") == []
    assert "There are no messages" in capfd.readouterr().out
    assert server.requests == []


def test_one_wrong_message_keeps_all_of_them_back_and_is_named(
    run_dag: Any, sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    @task
    def customers() -> list[dict[str, Any]]:
        return [*phones(200), {"to": {"phone": "07900"}}]

    with DAG("wrong") as dag:
        batch(customers(), retries=2)
    run = run_dag(dag)
    assert run.states["send"] == "failed"
    assert sandbox.messages == []
    said = capfd.readouterr().out
    assert "messages[200].to.phone" in said


@pytest.mark.needs("task_state_store")
def test_a_retry_sends_only_what_was_refused_and_its_summary_is_complete(
    run_dag: Any, server: Hostile, tmp_path: Path
) -> None:
    server.script(*[hostile.error(404, "not_found", "no")] * 3)
    with DAG("retry") as dag:
        in_app(users(20), contact_wait=0, retries=1, results_path=str(tmp_path))
    run = run_dag(dag)
    assert run.states == {"send": "success"}
    assert counts(run) == {"total": 20, "sent": 3, "already_sent": 17}
    assert sorted(int(each["to"]["id"]) for each in server.created) == list(range(20))
    second = [json.loads(line) for path in tmp_path.rglob("try-2-*") for line in path.read_text().splitlines()]
    assert sorted(line["index"] for line in second) == list(range(20))
    assert all(line["id"] for line in second)


@pytest.mark.parametrize(
    ("fault", "max_failed", "state", "tries"),
    [
        (hostile.error(422, "parameter_invalid", "no"), 0, "failed", 1),
        (hostile.error(422, "parameter_invalid", "no"), 1, "failed", 1),
        (hostile.error(422, "parameter_invalid", "no"), 2, "success", 1),
        (hostile.error(422, "parameter_invalid", "no"), 0.2, "success", 1),
        (hostile.error(422, "parameter_invalid", "no"), 0.1, "failed", 1),
        (hostile.error(422, "parameter_invalid", "no"), None, "success", 1),
        (hostile.drop(), 0, "failed", 1),
        (hostile.drop(), 2, "success", 1),
        pytest.param(
            *(hostile.error(404, "not_found", "no"), 0, "success", 2), marks=pytest.mark.needs("task_state_store")
        ),
    ],
)
def test_max_failed_is_judged_after_everything_was_sent(
    run_dag: Any, server: Hostile, fault: Any, max_failed: Any, state: str, tries: int
) -> None:
    server.script(fault, fault)
    numbers: list[int] = []

    class Counted(SendMessageBatchOperator):
        def execute(self, context: Context) -> dict[str, Any]:
            numbers.append(context["ti"].try_number)
            return super().execute(context)

    with DAG("limit") as dag:
        Counted(
            task_id="send",
            messages=users(10),
            defaults={"message_type": "in_app", "body": "Hi"},
            max_failed=max_failed,
            contact_wait=0,
            retries=1,
            retry_delay=timedelta(seconds=0.1),
        )
    run = run_dag(dag)
    assert run.states == {"send": state}
    assert len(numbers) == tries
    assert len(server.created) == (10 if tries == 2 else 8)
    assert run.xcom("send", "total") == 10


def test_the_error_names_the_cause_and_the_log_has_it_line_by_line(
    run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    server.script(hostile.error(422, "parameter_invalid", "Body is required"), hostile.drop())
    with DAG("told") as dag:
        in_app(users(10))
    assert run_dag(dag).states == {"send": "failed"}
    said = capfd.readouterr().out
    refused = "1 x Intercom answered 422 parameter_invalid to POST /messages: Body is required"
    assert f"2 of 10 messages failed: {refused}; 1 x it may have been sent or not" in said
    assert "The batch failed: 2 of 10 messages failed" in caplog.messages
    assert f"  {refused} (index " in caplog.text
    assert "(8 sent, 1 rejected, 1 unconfirmed; max_failed allows 0)" in said
    assert 'on_unconfirmed="resend"' in said


@pytest.mark.parametrize(
    "on_unconfirmed", [pytest.param("resend", marks=pytest.mark.needs("task_state_store")), "assume_sent"]
)
def test_on_unconfirmed_decides_about_unconfirmed_messages(run_dag: Any, server: Hostile, on_unconfirmed: str) -> None:
    server.script(hostile.drop())
    with DAG("unconfirmed") as dag:
        in_app(users(5), on_unconfirmed=on_unconfirmed, retries=1)
    run = run_dag(dag)
    assert run.states == {"send": "success"}
    expected = {"resend": {"sent": 1, "already_sent": 4}, "assume_sent": {"sent": 4, "unconfirmed": 1}}
    assert counts(run) == {"total": 5, **expected[on_unconfirmed]}


def test_a_wrong_token_stops_the_batch_at_once_and_is_not_retried(
    run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    server.always(hostile.error(401, "token_unauthorized", "no"))
    with DAG("token") as dag:
        in_app(users(300), retries=2)
    run = run_dag(dag)
    assert run.states == {"send": "failed"}
    assert "regenerated" in capfd.readouterr().out
    assert "The batch failed: Intercom answered 401 token_unauthorized to POST /messages" in caplog.text
    told = counts(run)
    posts = [request for request in server.requests if request.method == "POST"]
    # The first write intends twenty messages: no more can be under way when the first refusal is read.
    assert len(posts) <= 20
    assert told == {"total": 300, "rejected": len(posts), "not_sent": 300 - len(posts)}
    assert f"  {told['not_sent']} x {STOPPED_BEFORE} (index " in caplog.text


def test_each_instance_of_a_mapped_batch_has_a_ledger_of_its_own(run_dag: Any, sandbox: Sandbox) -> None:
    with DAG("mapped") as dag:
        send = SendMessageBatchOperator.partial(task_id="send", defaults=DEFAULTS).expand(
            messages=[phones(30), phones(30, start=30)]
        )
        MessageStatusSensor(task_id="wait", sent=send.output, poke_interval=0.1, timeout=30)
    run = run_dag(dag)
    assert run.states == {"send[0]": "success", "send[1]": "success", "wait": "success"}
    assert len(sandbox.messages) == 60
    assert run.xcom("wait", "total") == 60


class Overtaken:
    """A task state store by which another attempt takes over when the first intents are written."""

    def __init__(self, store: Any, finds: Any) -> None:
        self._store = store
        self._finds = finds
        self._is_overtaken = False

    def get(self, key: str) -> Any:
        return self._finds if self._is_overtaken and key == BATCH_KEY else self._store.get(key)

    def set(self, key: str, value: Any, **how: Any) -> None:
        self._store.set(key, value, **how)
        self._is_overtaken = key.count("/") > 2


@pytest.mark.needs("task_state_store")
@pytest.mark.parametrize("finds", [{"writer": "another"}, None])
def test_a_try_that_another_one_has_overtaken_pushes_no_counts(run_dag: Any, server: Hostile, finds: Any) -> None:
    class OvertakenSender(SendMessageBatchOperator):
        """Has its store replaced before its try begins."""

        def _do_render_template_fields(self, *args: Any, **kwargs: Any) -> None:
            context = next(each for each in (*args, *kwargs.values()) if isinstance(each, dict) and "ti" in each)
            context["task_state_store"] = Overtaken(context["task_state_store"], finds)
            super()._do_render_template_fields(*args, **kwargs)

    with DAG("overtaken") as dag:
        OvertakenSender.partial(task_id="send", defaults={"message_type": "in_app", "body": "Hi"}).expand(
            messages=[users(10)]
        )
    run = run_dag(dag)
    assert run.states == {"send[0]": "failed"}
    assert [request for request in server.requests if request.method == "POST"] == []
    told = run.xcoms("send", 0)
    assert told["ledger"]["is_final"] is False
    assert "total" not in told


def test_a_dry_run_checks_everything_and_sends_nothing(
    run_dag: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    connect(monkeypatch, sandbox.connection, dry_run=True)
    with DAG("dry") as dag:
        batch(phones(5))
    run = run_dag(dag)
    assert counts(run) == {"total": 5, "dry_run": 5}
    assert sandbox.messages == []
    assert capfd.readouterr().out.count("dry_run") == 1


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"budget": 0}, "budget"),
        ({"budget": 1.1}, "budget"),
        ({"budget": True}, "budget"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": 2.5}, "concurrency"),
        ({"results_path": ["results"]}, "results_path"),
        ({"max_failed": -1}, "max_failed"),
        ({"max_failed": 1.0}, "max_failed"),
        ({"duplicates": "maybe"}, "duplicates"),
        ({"repeat": "often"}, "repeat"),
        ({"on_unconfirmed": "hope"}, "on_unconfirmed"),
        ({"contact_wait": -1}, "contact_wait"),
        ({"not_after": "soon"}, "not_after"),
        ({"api_version": "two"}, "api_version"),
        ({"defaults": {"message_type": "pigeon"}}, "message_type"),
        ({"messages": {"to": {"phone": "+447900900900"}}}, "messages"),
        ({"messages": [{"to": {"phone": "07900"}}]}, "messages[0].to.phone"),
    ],
)
def test_a_literal_mistake_is_named_when_the_dag_is_parsed(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidFieldError) as caught, DAG("mistake"):
        batch(**{"messages": phones(1), **fields})
    assert named in str(caught.value)


def test_a_results_path_that_cannot_be_used_is_an_error_before_anything_is_sent(
    run_dag: Any, sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    with DAG("nowhere") as dag:
        batch(phones(3), results_path="nosuch://bucket/folder")
    assert run_dag(dag).states == {"send": "failed"}
    assert sandbox.messages == []
    assert "results_path" in capfd.readouterr().out


@pytest.mark.usefixtures("sandbox")
def test_the_log_names_no_recipient(run_dag: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with DAG("quiet") as dag:
        batch([*phones(5), {"to": {"phone": "+447900999901"}}], max_failed=None)
    assert run_dag(dag).states == {"send": "success"}
    assert "4479009" not in capfd.readouterr().out


@pytest.mark.needs("task_state_store")
def test_an_execution_timeout_leaves_nothing_unconfirmed_and_the_retry_sends_the_rest(
    run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    server.always(hostile.late(0.1, created=True))
    with DAG("timeout") as dag:
        in_app(users(150), concurrency=5, retries=5, execution_timeout=timedelta(seconds=1.5))
    run = run_dag(dag)
    assert run.states == {"send": "success"}
    assert "AirflowTaskTimeout" in capfd.readouterr().out
    assert STOPPED_BEFORE in caplog.text
    told = counts(run)
    assert told["already_sent"] > 0
    assert told.get("sent", 0) + told["already_sent"] == 150
    assert sorted(int(each["to"]["id"]) for each in server.created) == list(range(150))


@pytest.mark.needs("task_state_store")
def test_a_mapped_batch_whose_template_fails_has_published_its_ledger(run_dag: Any, server: Hostile) -> None:
    defaults = {"message_type": "in_app", "body": "{{ nothing.here }}"}
    with DAG("fails_to_render") as dag:
        SendMessageBatchOperator.partial(task_id="send", defaults=defaults).expand(messages=[users(1)])
    run = run_dag(dag)
    assert run.states == {"send[0]": "failed"}
    assert run.xcom("send", "ledger", 0) == {"map_index": 0, "entries": {}, "is_final": True}
    assert server.requests == []
