"""Who is left out of a batch: a list of the DAG's, contacts who have unsubscribed, and inputs that are too long."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, task

from intercom_provider.exceptions import InvalidFieldError
from intercom_provider.operators.message import SendMessageBatchOperator
from intercom_provider.sending.batch.counts import COUNT_NAMES
from tests.support import hostile
from tests.support.dags import connect
from tests.support.sandbox import create_contact

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.sdk import Context

    from intercom_provider.sandbox import Sandbox
    from tests.support.hostile import Hostile

EMAIL = {"message_type": "email", "subject": "News", "body": "Hi"}
IN_APP = {"message_type": "in_app", "body": "Hi"}
SEARCH = "/contacts/search"


def users(*ids: object, **fields: Any) -> list[dict[str, Any]]:
    return [{"to": {"type": "user", "user_id": str(each)}, **fields} for each in ids]


def batch(messages: Any, **fields: Any) -> SendMessageBatchOperator:
    return SendMessageBatchOperator(**{"task_id": "send", "messages": messages, "defaults": IN_APP, **fields})


def counts(run: Any) -> dict[str, int]:
    left = run.xcoms("send")
    assert sum(left[name] for name in COUNT_NAMES) == left["total"]
    return {name: left[name] for name in ("total", *COUNT_NAMES) if left[name]}


def reached(sandbox: Sandbox) -> list[str]:
    return [message.wire["to"]["user_id"] for message in sandbox.messages]


def searches(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [each.json["query"] for each in sandbox.requests if each.path == SEARCH]


def lines(folder: Path) -> dict[int, dict[str, Any]]:
    texts = (line for part in folder.rglob("*.jsonl") for line in part.read_text().splitlines())
    return {line["index"]: line for line in map(json.loads, texts)}


def test_who_is_in_a_file_is_not_messaged_counted_listed_and_no_failure(
    run_dag: Any, sandbox: Sandbox, tmp_path: Path
) -> None:
    tmp_path.joinpath("2026.txt").write_text('user:3\n{"user_id": 5}\n')
    with DAG("suppress") as dag:
        batch(users(*range(10)), suppress=f"{tmp_path}/{{{{ 2026 }}}}.txt", results_path=str(tmp_path / "results"))
    run = run_dag(dag)
    assert run.states == {"send": "success"}
    assert counts(run) == {"total": 10, "sent": 8, "suppressed": 2}
    [reason] = run.xcom("send", "reasons")
    assert (reason["reason"], reason["count"], len(reason["first"])) == ("suppress holds its recipient", 2, 2)
    assert not {"3", "5"}.intersection(reached(sandbox))
    written = lines(tmp_path / "results")
    assert [index for index, line in written.items() if line["outcome"] == "suppressed"] == [3, 5]
    assert written[3]["reason"] == "suppress holds its recipient"


@pytest.mark.parametrize("as_text", [False, True])
def test_the_list_may_be_another_tasks_output_and_is_neither_a_template_nor_shown(
    run_dag: Any, sandbox: Sandbox, *, as_text: bool
) -> None:
    shown: list[str] = []

    class Looks(SendMessageBatchOperator):
        def execute(self, context: Context) -> dict[str, Any]:
            shown.append(str(self.suppress))
            return super().execute(context)

    @task
    def opted_out() -> list[str]:
        return ["1", "{{ 1/0 }}"]

    with DAG("output") as dag:
        left_out = opted_out()
        text = "{{ ti.xcom_pull(task_ids='opted_out') | tojson }}"
        left_out >> Looks(task_id="send", messages=users(1, 2), defaults=IN_APP, suppress=text if as_text else left_out)
    run = run_dag(dag)
    assert counts(run) == {"total": 2, "sent": 1, "suppressed": 1}
    assert reached(sandbox) == ["2"]
    assert shown == ["keys and recipients" if as_text else "2 keys and recipients"]


@pytest.mark.parametrize("nothing", ["{{ params.get('who') }}", "{{ '' }}", "no/such/file", "{{ '/' }}"])
def test_a_list_that_comes_to_nothing_keeps_all_of_them_back(
    run_dag: Any, sandbox: Sandbox, nothing: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with DAG("nothing") as dag:
        batch(users(1), suppress=nothing)
    assert run_dag(dag).states == {"send": "failed"}
    assert sandbox.messages == []
    assert "InvalidFieldError: suppress: " in capfd.readouterr().out


def test_an_upstream_task_that_returns_no_list_keeps_all_of_them_back(run_dag: Any, sandbox: Sandbox) -> None:
    @task
    def opted_out() -> None:
        pass

    with DAG("forgot") as dag:
        batch(users(1), suppress=opted_out())
    assert run_dag(dag).states["send"] == "failed"
    assert sandbox.messages == []


@pytest.mark.needs("task_state_store")
def test_a_message_that_was_sent_before_stays_already_sent_and_one_that_was_not_is_suppressed(
    run_dag: Any, server: Hostile, tmp_path: Path
) -> None:
    tmp_path.joinpath("out.txt").write_text("")
    server.script(hostile.error(422, "parameter_invalid", "no"))
    with DAG("later") as dag:
        batch(users(1, 2), suppress=str(tmp_path / "out.txt"), max_failed=None, concurrency=1)
    run = run_dag(dag)
    assert counts(run) == {"total": 2, "sent": 1, "rejected": 1}
    tmp_path.joinpath("out.txt").write_text("1\n2\n")
    run.clear("send")
    assert counts(run) == {"total": 2, "already_sent": 1, "suppressed": 1}
    assert len(server.created) == 1


@pytest.mark.needs("task_state_store")
def test_a_suppressed_message_that_an_earlier_try_may_have_sent_says_so(
    run_dag: Any, server: Hostile, tmp_path: Path
) -> None:
    tmp_path.joinpath("out.txt").write_text("")
    server.script(hostile.drop(created=True))
    with DAG("lost") as dag:
        fields = {"on_unconfirmed": "resend", "repeat": "on_clear", "max_failed": None, "concurrency": 1}
        batch(users(1, 2), suppress=str(tmp_path / "out.txt"), results_path=str(tmp_path / "results"), **fields)
    run = run_dag(dag)
    assert counts(run) == {"total": 2, "sent": 1, "unconfirmed": 1}
    tmp_path.joinpath("out.txt").write_text("1\n2\n")
    run.clear("send")
    assert counts(run) == {"total": 2, "suppressed": 2}
    assert [(each["reason"], each["count"]) for each in run.xcom("send", "reasons")] == [
        ("suppress holds its recipient", 2)
    ]
    second = [line for part in tmp_path.rglob("try-2-*") for line in map(json.loads, part.read_text().splitlines())]
    lost, sent = (line["reason"] for line in sorted(second, key=lambda line: line["index"]))
    assert lost.startswith("suppress holds its recipient; it may have been sent before: ")
    assert sent.startswith("suppress holds its recipient; it was sent before by ")
    assert len(server.created) == 2


def test_the_error_of_a_batch_names_the_failures_only(
    run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str]
) -> None:
    server.script(hostile.error(422, "parameter_invalid", "no"))
    with DAG("judged") as dag:
        batch(users(*range(10)), suppress=["1", "2", "3"])
    run = run_dag(dag)
    assert counts(run) == {"total": 10, "sent": 6, "rejected": 1, "suppressed": 3}
    said = capfd.readouterr().out
    assert "1 of 10 messages failed: 1 x Intercom answered 422 parameter_invalid to POST /messages: no (6 sent" in said


def test_too_long_an_input_is_refused_whole(run_dag: Any, sandbox: Sandbox, capfd: pytest.CaptureFixture[str]) -> None:
    with DAG("long") as dag:
        batch(users(*range(1_001)), max_messages=1_000, retries=2)
        batch(users(1, 2), max_messages=2, task_id="fits")
    run = run_dag(dag)
    assert run.states == {"send": "failed", "fits": "success"}
    assert len(sandbox.messages) == 2
    assert "max_messages: the input has 1,001 messages, and max_messages allows 1,000" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"max_messages": 0}, "max_messages"),
        ({"max_messages": True}, "max_messages"),
        ({"max_messages": 1.5}, "max_messages"),
        ({"unsubscribed": "fail"}, "unsubscribed"),
        ({"suppress": [1.5]}, "suppress[0]"),
        ({"suppress": {"user_id": "1"}}, "suppress"),
        ({"suppress": ""}, "suppress"),
    ],
)
def test_a_literal_mistake_is_named_when_the_dag_is_parsed(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidFieldError) as caught, DAG("mistake"):
        batch(users(1), **fields)
    assert named in str(caught.value)


def test_contacts_who_have_unsubscribed_bounced_or_complained_are_left_out_of_emails(
    run_dag: Any, sandbox: Sandbox, tmp_path: Path
) -> None:
    flags = {"b": "has_hard_bounced", "c": "marked_email_as_spam", "d": "unsubscribed_from_emails"}
    for name, flag in flags.items():
        create_contact(sandbox, external_id=name, **{flag: True})
    create_contact(sandbox, email="Gone@example.com", has_hard_bounced=True)
    people = users(*range(115), "a", *flags, "unsubscribed-9", "unknown-1", subject="News")
    people.append({"to": {"type": "user", "email": "gone@Example.com"}, "subject": "News"})
    people += users("unsubscribed-9", message_type="in_app")
    with DAG("unsubscribed") as dag:
        send = {
            "defaults": {"message_type": "email", "body": "Hi"},
            "unsubscribed": "skip",
            "contact_wait": 0,
            "max_failed": None,
        }
        batch(people, results_path=str(tmp_path), suppress=["7"], **send)
    run = run_dag(dag)
    # A contact that the search does not know is messaged: only then Intercom says that there is none.
    assert counts(run) == {"total": 123, "sent": 116, "rejected": 1, "suppressed": 6}
    assert sorted(set(reached(sandbox))) == sorted({*map(str, range(115)), "a", "unsubscribed-9"} - {"7"})
    assert [m.message_type for m in sandbox.messages if m.wire["to"].get("user_id") == "unsubscribed-9"] == ["inapp"]
    written = [line["reason"] for line in lines(tmp_path).values() if line["outcome"] == "suppressed"]
    found = [*flags.values(), "has_hard_bounced", "unsubscribed_from_emails"]
    assert sorted(written) == sorted(["suppress holds its recipient", *(f"the contact has {flag}" for flag in found)])
    asked = searches(sandbox)
    assert sorted(len(query["value"]) for query in asked) == [1, 20, 50, 50]
    assert all(query["operator"] == "IN" for query in asked)
    # Nobody was messaged before everybody was looked up.
    paths = [each.path for each in sandbox.requests if each.path in (SEARCH, "/messages")]
    assert paths.index("/messages") == len(asked)


def test_a_dry_run_counts_as_the_run_that_sends_would(
    run_dag: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> dict[str, int]:
        people = [*users(*range(8)), *users("unsubscribed-1", 0)]
        with DAG("counted") as dag:
            batch(people, defaults=EMAIL, suppress=["1", "2"], unsubscribed=" skip\u200b")
        return counts(run_dag(dag))

    real = run()
    assert real == {"total": 10, "sent": 6, "suppressed": 3, "duplicates": 1}
    connect(monkeypatch, sandbox.connection, dry_run=True)
    assert run() == {"dry_run" if name == "sent" else name: count for name, count in real.items()}
    assert len(sandbox.messages) == 6


@pytest.mark.parametrize("fields", [{"unsubscribed": "send"}, {"defaults": IN_APP, "unsubscribed": "skip"}])
def test_nobody_is_looked_up_without_need(run_dag: Any, sandbox: Sandbox, fields: dict[str, Any]) -> None:
    with DAG("unneeded") as dag:
        batch(users(1, "unsubscribed-1"), **{"defaults": EMAIL, "max_failed": None, **fields})
    run = run_dag(dag)
    assert searches(sandbox) == []
    assert "suppressed" not in counts(run)


def test_an_sms_is_held_back_by_what_is_about_phones_and_not_by_what_is_about_emails(
    run_dag: Any, server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, server.connection, api_version="Preview")
    about_emails = {"unsubscribed_from_emails": True, "has_hard_bounced": True, "marked_email_as_spam": True}
    contacts = [{"external_id": "1", "unsubscribed_from_sms": True}, {"external_id": "2", **about_emails}]
    server.always(hostile.answer(200, {"data": contacts, "pages": {}}), path=SEARCH)
    with DAG("sms") as dag:
        batch(users(1, 2, 3), defaults={"message_type": "sms", "body": "Hi"}, unsubscribed="skip")
    run = run_dag(dag)
    assert counts(run) == {"total": 3, "sent": 2, "suppressed": 1}
    assert run.xcom("send", "reasons")[0]["reason"] == "the contact has unsubscribed_from_sms"
    assert sorted(each["to"]["user_id"] for each in server.created) == ["2", "3"]


@pytest.mark.needs("task_state_store")
def test_a_retry_looks_up_only_whom_it_would_message(run_dag: Any, server: Hostile) -> None:
    server.script(hostile.error(429, "rate_limit_exceeded"), path=SEARCH)
    server.script(hostile.error(422, "parameter_invalid", "no"), path="/messages")
    server.always(hostile.answer(200, {"data": [], "pages": {}}), path=SEARCH)
    with DAG("retried") as dag:
        batch(users(*range(60)), defaults=EMAIL, unsubscribed="skip", max_failed=None, concurrency=1)
    run = run_dag(dag)
    assert counts(run) == {"total": 60, "sent": 59, "rejected": 1}
    before = len(server.requests)
    run.clear("send")
    assert counts(run) == {"total": 60, "already_sent": 59, "sent": 1}
    asked = [each.json["query"]["value"] for each in server.requests[before:] if each.path == SEARCH]
    assert asked == [["0"]]


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (
            hostile.error(403, "forbidden", "You do not have the required scope (read_users)"),
            "InvalidFieldError: unsubscribed",
        ),
        (
            hostile.error(401, "token_unauthorized", "Not authorized"),
            "InvalidFieldError: unsubscribed",
        ),
        (hostile.error(401, "unauthorized", "Access Token Invalid"), "IntercomRefusedError: Intercom answered 401"),
    ],
)
def test_a_token_that_may_not_read_contacts_is_told_before_anything_is_sent(
    run_dag: Any, server: Hostile, refusal: Any, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    server.always(refusal, path=SEARCH)
    with DAG("forbidden") as dag:
        batch(users(1), defaults=EMAIL, unsubscribed="skip", retries=2)
    assert run_dag(dag).states == {"send": "failed"}
    assert server.created == []
    said = capfd.readouterr().out
    assert words in said
    assert ("Read and list users and companies" in said) == ("InvalidFieldError" in words)
