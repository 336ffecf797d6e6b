"""The commands `check`, `send`, `status` and `unconfirmed`, against a sandbox or a faulty server."""

from __future__ import annotations

import json
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.hooks.intercom import IntercomHook
from tests.support import hostile
from tests.support.dags import connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from intercom_provider.sandbox import Sandbox
    from tests.support.hostile import Hostile

    from .conftest import Ended

    Run = Callable[..., Ended]

WHATSAPP = ("send", "--type", "whatsapp", "--template", "hello", "--components", "[]", "--to", "+447900123456")
REFUSED = hostile.error(403, "forbidden", "You do not have the required scope (read_conversations)")


def test_check_shows_the_tokens_admin_and_permissions(run: Run, sandbox: Sandbox) -> None:
    ended = run("check", "--probe-send")
    assert ended.code == 0, ended.err
    assert "workspace 'Sandbox' (id sandbox1, region US) with API version 2.17" in ended.out
    assert "belongs to admin 814860" in ended.out
    assert ended.out.count("  yes  ") == 5
    assert sandbox.token not in ended.out + ended.err


def test_the_probe_posts_what_cannot_become_a_message(run: Run, sandbox: Sandbox) -> None:
    run("check", "--probe-send")
    (probe,) = [request for request in sandbox.requests if request.path == "/messages" and request.method == "POST"]
    assert probe.json == {"message_type": "inapp"}
    assert not sandbox.messages


def test_without_the_probe_nothing_is_posted_to_messages(run: Run, sandbox: Sandbox) -> None:
    assert "send messages: not tried" in run("check").out
    assert not [request for request in sandbox.requests if request.path == "/messages"]


def test_a_missing_permission_is_named_with_what_to_do(run: Run, server: Hostile) -> None:
    server.script(hostile.healthy(), REFUSED)
    ended = run("check")
    assert ended.code == 1
    assert "  no   find conversations\n" in ended.out
    assert "the token must be regenerated" in ended.out
    assert "  yes  find contacts\n" in ended.out


def test_a_token_that_may_not_send_shows_in_the_probe(run: Run, server: Hostile) -> None:
    server.script(*[hostile.healthy()] * 5, hostile.error(401, "token_unauthorized", "Not authorized"))
    ended = run("check", "--probe-send")
    assert ended.code == 1
    assert "  no   send messages\n" in ended.out


def test_a_permission_that_cannot_be_found_out_is_a_question_mark(run: Run, server: Hostile) -> None:
    server.script(hostile.healthy(), *[hostile.html(502)] * 2)
    ended = run("check")
    assert ended.code == 1
    assert "  ?    find conversations\n" in ended.out


def test_an_old_api_version_has_no_statuses(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, sandbox.connection, api_version="2.15")
    ended = run("check")
    assert ended.code == 1
    assert "  no   read the statuses of a ruleset\n" in ended.out


def test_a_wrong_token_ends_the_check(run: Run, sandbox: Sandbox) -> None:
    sandbox.settings.token = "regenerated"
    ended = run("check")
    assert (ended.code, ended.out) == (1, "")
    assert "Intercom does not accept this access token" in ended.err


@pytest.mark.usefixtures("_airflow")
def test_an_unknown_connection_is_an_error_of_one_line(run: Run) -> None:
    ended = run("check", "--conn-id", "nobodys")
    assert ended.code == 1
    assert "Airflow has no connection nobodys" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.usefixtures("_airflow")
def test_a_connection_in_airflows_database_is_found(run: Run, sandbox: Sandbox) -> None:
    from airflow.models import Connection
    from airflow.utils.session import create_session

    stored = Connection("stored", "intercom", host=sandbox.url, password=sandbox.token)
    with create_session() as session:
        session.add(stored)
    try:
        assert run("check", "--conn-id", "stored").code == 0
    finally:
        with create_session() as session:
            session.delete(stored)


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "no\n"])
def test_nothing_is_sent_without_a_yes(answer: str, run: Run, sandbox: Sandbox) -> None:
    ended = run(*WHATSAPP, stdin=answer)
    assert (ended.code, ended.out) == (1, "")
    assert "whatsapp message to +447900123456, from admin 814860, in workspace 'Sandbox' (US)" in ended.err
    assert not sandbox.messages


def test_a_yes_sends_and_prints_the_receipt(run: Run, sandbox: Sandbox) -> None:
    ended = run(*WHATSAPP, "--key", "order-1", stdin="y\n")
    assert ended.code == 0
    (message,) = sandbox.messages
    receipt = json.loads(ended.out)
    assert receipt["whatsapp_message_id"] == message.whatsapp_message_id
    assert (receipt["outcome"], receipt["key"]) == ("sent", "order-1")


@pytest.mark.parametrize(
    ("to", "wire"),
    [
        ("user:ada", {"type": "user", "id": "ada"}),
        ("lead:lead-7", {"type": "lead", "id": "lead-7"}),
        ('{"type": "user", "email": "ada@example.com"}', {"type": "user", "email": "ada@example.com"}),
    ],
)
def test_a_recipient_is_named_as_is_handy(to: str, wire: dict[str, str], run: Run, sandbox: Sandbox) -> None:
    ended = run("send", "--type", "in_app", "--to", to, "--body", "a < b", "--body-format", "text", "--yes")
    assert ended.code == 0, ended.err
    (message,) = sandbox.messages
    assert message.wire["to"] == wire
    assert message.wire["body"] == "a &lt; b"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "ada", "--body", "Hi"), "--to: must be a phone"),
        (("--to", "{ada", "--body", "Hi"), "--to: must be JSON"),
        (("--to", '{"type": "user", "id": "1", "id": "2"}', "--body", "Hi"), "--to: has the key 'id' twice"),
        (
            ("--to", "user:ada", "--components", '[{"type": "body", "type": "header"}]'),
            "--components: has the key 'type'",
        ),
        (("--to", "user:ada"), "body"),
    ],
)
def test_what_is_wrong_is_said_before_the_question(
    arguments: tuple[str, ...], said: str, run: Run, sandbox: Sandbox
) -> None:
    ended = run("send", "--type", "in_app", *arguments, stdin="y\n")
    assert ended.code == 1
    assert said in ended.err
    assert not sandbox.requests


@pytest.mark.usefixtures("sandbox")
def test_a_message_that_whatsapp_does_not_accept_is_a_failure(run: Run) -> None:
    ended = run(*WHATSAPP[:-1], "+447900199903", "--yes")
    assert ended.code == 1
    assert json.loads(ended.out)["outcome"] == "rejected"


def test_a_dry_run_sends_nothing(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, sandbox.connection, dry_run=True)
    ended = run(*WHATSAPP, stdin="y\n")
    assert ended.code == 0
    assert "dry_run set: nothing will be sent" in ended.err
    assert json.loads(ended.out)["outcome"] == "dry_run"
    assert not sandbox.messages


def test_a_lost_answer_is_told_as_such_and_not_sent_again(run: Run, server: Hostile) -> None:
    server.script(hostile.drop(created=True))
    ended = run(*WHATSAPP, "--from-admin-id", "814860", "--yes")
    assert (ended.code, ended.out) == (1, "")
    assert "may or may not have created the message" in ended.err
    assert len(server.created) == 1


def test_status_shows_the_counts_of_a_ruleset_and_writes_a_line_a_message(
    run: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.settings.speed = 10_000
    sandbox.add_ruleset("4711", 148)
    events: list[dict[str, Any]] = [
        {"status": "sent"},
        {"status": "failed", "error": {"message": "Blocked", "details": "by her"}},
    ]
    sandbox.add_ruleset("4711", events=events)
    ended = run("status", "--ruleset-id", "4711", "--output", str(tmp_path / "rows.jsonl"))
    assert ended.code == 0, ended.err
    assert ended.out.startswith("150 messages: ")
    assert ", 1 failed, 1 still pending\n" in ended.out
    assert ": Blocked: by her\n" in ended.out
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert len({row["whatsapp_message_id"] for row in rows}) == 150


def test_with_output_to_the_standard_output_the_counts_are_on_standard_error(run: Run, sandbox: Sandbox) -> None:
    sandbox.settings.speed = 10_000
    sandbox.add_ruleset("4711", 3)
    ended = run("status", "--ruleset-id", "4711", "--output", "-")
    assert [json.loads(line)["status"] in ("delivered", "read") for line in ended.out.splitlines()] == [True] * 3
    assert "3 messages: " in ended.err


def sent(phone: str) -> str:
    message: dict[str, Any] = {"message_type": "whatsapp", "to": {"phone": phone}, "template": "t", "components": []}
    receipt = IntercomHook().send_message(message)
    assert receipt.whatsapp_message_id
    return receipt.whatsapp_message_id


@pytest.mark.usefixtures("sandbox")
def test_status_with_wait_ends_when_all_have_settled(run: Run) -> None:
    ids = [sent("+447900123456"), sent("+447900199901")]
    ended = run("status", "--whatsapp-message-id", *ids, "--wait", "--poll", "1")
    assert ended.code == 0, ended.err
    assert "2 messages: " in ended.out
    assert " 1 failed, 0 still pending\n" in ended.out
    assert f"  {ids[1]}: " in ended.out
    assert "of 2 settled" in ended.err


@pytest.mark.usefixtures("sandbox")
def test_status_shows_the_counts_when_a_wait_times_out(run: Run) -> None:
    ended = run("status", "--whatsapp-message-id", sent("+447900199902"), "--wait", "--poll", "1", "--timeout", "1.2")
    assert ended.code == 1
    assert "1 messages: 0 delivered, 0 read, 0 failed, 1 still pending\n" in ended.out


def test_status_goes_on_when_one_message_is_refused(run: Run, server: Hostile) -> None:
    def act(exchange: hostile.Exchange) -> None:
        refused = exchange.request.query["message_id"] == "wamid.1"
        (hostile.error(400, "parameter_invalid", "bad id") if refused else hostile.healthy()).run(exchange)

    server.always(hostile.Act(act), "/messages/whatsapp/status")
    ended = run("status", "--whatsapp-message-id", "wamid.0", "wamid.1", "wamid.2", "--wait")
    assert ended.code == 0
    assert "3 messages: 2 delivered, 0 read, 1 failed, 0 still pending" in ended.out
    assert "wamid.1: not known: Intercom answered 400 parameter_invalid" in ended.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "exactly one of them"),
        (("--ruleset-id", "1", "--whatsapp-message-id", "wamid.1"), "exactly one of them"),
        (("--whatsapp-message-id", "403900001"), "it is the message's id"),
        (("--ruleset-id", "1", "--poll", "0"), "--poll: must be 1 second or more"),
        *((("--ruleset-id", "1", "--poll", odd), "--poll: must be seconds") for odd in ("-1", "nan", "inf", "1e300")),
        *(
            (("--ruleset-id", "1", "--timeout", odd), "--timeout: must be")
            for odd in ("0", "-1", "nan", "inf", "1e300")
        ),
        (("--ruleset-id", "1", "--settle-for", "nan"), "settle_for: must be seconds"),
        (("--ruleset-id", "1", "--settle-for", "-1"), "settle_for: must be seconds"),
        (("--ruleset-id", "1", "--timeout", "inf"), "--timeout: must be seconds, above 0"),
        (("--ruleset-id", "1", "--expected-count", "-3"), "expected_count: must be a whole number from 0 on"),
    ],
)
def test_a_status_of_nothing_in_particular_is_refused(
    arguments: tuple[str, ...], said: str, run: Run, sandbox: Sandbox
) -> None:
    ended = run("status", *arguments)
    assert ended.code == 1
    assert said in ended.err
    assert not sandbox.requests


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("written", [True, False])
def test_a_send_that_is_interrupted_says_whether_the_message_may_be_out(
    run: Run, server: Hostile, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    server.always(hostile.late(20.0, created=True) if written else hostile.rate_limited(retry_after="20"), "/messages")
    connect(monkeypatch, server.connection, timeout=30)

    def interrupt() -> None:
        while not [request for request in server.requests if request.path == "/messages"]:
            time.sleep(0.01)
        time.sleep(0.2)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    ended = run("send", "--type", "in_app", "--to", "user:ada", "--body", "Hi", "--yes")
    assert ended.out == ""
    if written:
        assert len(server.created) == ended.code == 1
        assert ended.err.startswith("unconfirmed: the command was interrupted. Intercom may or may not have created")
    else:
        assert (ended.code, ended.err) == (130, "")


def write_try(folder: Path, number: int, *outcomes: str) -> None:
    lines = [
        json.dumps({"index": index, "key": f"k{index}", "outcome": outcome, "id": None, "reason": f"why {index}"})
        for index, outcome in enumerate(outcomes)
    ]
    (folder / f"try-{number}-part-1.jsonl").write_text("".join(f"{line}\n" for line in lines))


def test_the_unconfirmed_of_the_last_try_are_listed_with_what_to_do(run: Run, tmp_path: Path) -> None:
    write_try(tmp_path, 9, "unconfirmed", "unconfirmed", "sent")
    write_try(tmp_path, 10, "sent", "unconfirmed", "sent")
    ended = run("unconfirmed", str(tmp_path))
    assert ended.code == 0
    assert ended.out.startswith("1 of 3 messages are unconfirmed (try 10)\n  message 1, key k1: why 1\n")
    assert 'on_unconfirmed="resend"' in ended.out
    ended = run("unconfirmed", str(tmp_path), "--try", "9", "--output", "-")
    assert [json.loads(line)["index"] for line in ended.out.splitlines()] == [0, 1]


def test_a_try_that_was_cut_short_does_not_pass_for_the_whole(run: Run, tmp_path: Path) -> None:
    write_try(tmp_path, 1, "unconfirmed", "sent", "sent")
    write_try(tmp_path, 2, "already_sent")
    ended = run("unconfirmed", str(tmp_path))
    assert "0 of 1 messages" in ended.out
    assert "An earlier try has 3" in ended.out


def test_a_folder_without_results_or_with_others_is_told_in_a_line(run: Run, tmp_path: Path) -> None:
    assert "has no results of a batch" in run("unconfirmed", str(tmp_path)).err
    (tmp_path / "try-1-part-1.jsonl").write_text("no JSON\n")
    assert "line 1 of try-1-part-1.jsonl is not a batch's" in run("unconfirmed", str(tmp_path)).err
    write_try(tmp_path, 1, "sent")
    assert "--try: there are 1" in run("unconfirmed", str(tmp_path), "--try", "2").err
    missing = run("unconfirmed", str(tmp_path / "none"))
    assert missing.code == 1
    assert missing.err.startswith("RESULTS_PATH: cannot be read: ")


def test_storage_that_is_not_there_is_told_in_a_line_with_its_option(run: Run, tmp_path: Path) -> None:
    write_try(tmp_path, 1, "unconfirmed")
    for place in ("nowhere://bucket/left", "s3://no_such_conn@bucket/left"):
        assert run("unconfirmed", place).err.startswith("RESULTS_PATH: cannot be read: ")
        ended = run("unconfirmed", str(tmp_path), "--output", place)
        assert (ended.code, ended.err.partition(": ")[0]) == (1, "--output")


def test_what_a_batch_left_is_read(run: Run, server: Hostile, run_dag: Any, tmp_path: Path) -> None:
    from airflow.sdk import DAG

    from intercom_provider.operators.message import SendMessageBatchOperator

    server.script(hostile.drop(created=True))
    users = [{"to": {"type": "user", "id": str(number)}, "key": f"order-{number}"} for number in range(3)]
    with DAG("unconfirmed") as dag:
        SendMessageBatchOperator(
            task_id="send",
            messages=users,
            defaults={"message_type": "in_app", "body": "Hi", "from_admin_id": "1"},
            concurrency=1,
            results_path=str(tmp_path),
        )
    done = run_dag(dag)
    ended = run("unconfirmed", done.xcom("send", "results_path"))
    whose = f"task send of DAG unconfirmed, run {done.run_id}"
    assert ended.out.startswith(f"1 of 3 messages are unconfirmed (try 1 of {whose})\n  message 0, key order-0: ")
