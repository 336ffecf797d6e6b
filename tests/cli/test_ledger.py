"""`ledger init`, `show`, `mark` and `forget`, on each database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.operators.message import SendMessageBatchOperator
from tests.support.ledger_rows import add_rows, set_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from intercom_provider.sandbox import Sandbox
    from tests.support.databases import LedgerDatabase

    from .conftest import Ended

    Run = Callable[..., Ended]

LEDGER = ("--conn-id", "ledger")
DEFAULTS = {"message_type": "in_app", "body": "Hello"}


@pytest.mark.parametrize("arguments", [("init",), ("show",), ("mark", "c", "[]"), ("forget", "--key", "k")])
def test_without_a_ledger_each_command_names_the_setting(run: Run, arguments: tuple[str, ...]) -> None:
    ended = run("ledger", *arguments)
    assert ended.code == 1
    assert ended.err.startswith("--conn-id: is missing: give the connection of the ledger's database")


def test_init_prints_what_it_would_create_and_creates_it(run: Run, database: LedgerDatabase) -> None:
    printed = run("ledger", "init", "--print", *LEDGER)
    assert printed.code == 0
    assert "CREATE TABLE IF NOT EXISTS intercom_messages (" in printed.out
    ended = run("ledger", "init", *LEDGER)
    assert ended.out == "The ledger is in the table intercom_messages of the connection ledger, version 1.\n"
    assert run("ledger", "init", *LEDGER).code == 0
    assert database.execute("SELECT count(*) FROM intercom_messages") == [(0,)]


def test_a_table_made_by_hand_from_what_init_prints_is_a_ledger(run: Run, database: LedgerDatabase) -> None:
    for statement in run("ledger", "init", "--print", *LEDGER).out.split(";\n"):
        if statement.strip():
            database.execute(statement)
    add_rows("ledger", 3)
    assert "welcome/0     3" in run("ledger", "show", *LEDGER).out


def test_a_ledger_of_a_later_release_is_used_with_a_warning(
    run: Run, database: LedgerDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    set_up("ledger")
    database.execute("UPDATE intercom_messages_meta SET value = '7' WHERE name = 'version'")
    assert run("ledger", "init", *LEDGER).code == 0
    assert "has version 7, that of a later release" in caplog.text
    assert database.execute("SELECT value FROM intercom_messages_meta WHERE name = 'version'") == [("7",)]


def test_show_counts_all_campaigns_or_one(run: Run, database: LedgerDatabase) -> None:
    assert run("ledger", "show", *LEDGER).out == "The ledger is empty.\n" if set_up("ledger") else ""
    add_rows("ledger", 60, campaigns=2, runs=3, unconfirmed=4)
    database.execute("UPDATE intercom_messages SET delivery_status = 'read' WHERE key = 'key-10'")
    assert run("ledger", "show", *LEDGER).out == (
        "campaign   sent  others\nwelcome/0    28  2 unconfirmed\nwelcome/1    28  2 unconfirmed\n"
    )
    ended = run("ledger", "show", "welcome/0", *LEDGER)
    assert ended.out.startswith(
        "Campaign welcome/0\n\noutcome      messages\nsent               28\nunconfirmed         2\n\n"
        "delivery status of those sent  messages\n(not known)                          27\n"
        "read                                  1\n\nday (UTC)   sent  others\n2026-11-01     1  1 unconfirmed\n"
    )
    assert "\ndag run-0     9  1 unconfirmed\n" in ended.out
    assert all(len(line) <= 80 for line in ended.out.splitlines())
    told = json.loads(run("ledger", "show", "welcome/0", *LEDGER, "--output", "json").out)
    assert told["outcomes"] == {"sent": 28, "unconfirmed": 2}
    assert told["delivery_statuses"] == {"read": 1}
    assert sum(each["count"] for each in told["days"]) == sum(each["count"] for each in told["runs"]) == 30
    assert run("ledger", "show", "unknown", *LEDGER).code == 1


def batch(dag_id: str, numbers: range) -> DAG:
    with DAG(dag_id) as dag:
        SendMessageBatchOperator(
            task_id="send",
            messages=[{"to": {"type": "user", "user_id": f"customer-{number}"}} for number in numbers],
            defaults=DEFAULTS,
            campaign="welcome/1",
            ledger_conn_id="ledger",
        )
    return dag


def test_whoever_is_marked_is_not_messaged(
    run: Run, run_dag: Any, sandbox: Sandbox, database: LedgerDatabase, tmp_path: Path
) -> None:
    file = tmp_path / "had.jsonl"
    people = [{"to": {"type": "user", "user_id": f"customer-{number}"}} for number in range(20)]
    file.write_text("".join(f"{json.dumps(each)}\n" for each in people))
    command = ("ledger", "mark", "welcome/1", str(file), "--defaults", json.dumps(DEFAULTS), *LEDGER)
    refused = run(*command, stdin="n\n")
    assert (refused.code, refused.out) == (1, "")
    assert "20 messages are entered as sent in the campaign welcome/1" in refused.err
    assert run(*command, stdin="y\n").out == "20 messages entered as sent; 0 were known as sent before\n"
    assert run(*command, "--yes").out == "0 messages entered as sent; 20 were known as sent before\n"
    ended = run_dag(batch("monday", range(30)))
    assert [ended.xcom("send", name) for name in ("sent", "already_sent")] == [10, 20]
    assert len(sandbox.messages) == 10
    assert database.execute("SELECT DISTINCT outcome FROM intercom_messages WHERE dag_id = '(marked)'") == [("sent",)]


@pytest.mark.usefixtures("database")
def test_thousands_of_people_are_marked(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "had.jsonl"
    file.write_text("".join(f'{{"to": {{"type": "user", "user_id": "customer-{n}"}}}}\n' for n in range(5_000)))
    ended = run("ledger", "mark", "welcome/1", str(file), "--defaults", json.dumps(DEFAULTS), *LEDGER, "--yes")
    assert ended.out.startswith("5,000 messages entered as sent")


@pytest.mark.usefixtures("sandbox")
def test_forget_takes_one_person_out(run: Run, run_dag: Any, database: LedgerDatabase) -> None:
    run_dag(batch("monday", range(3)))
    add_rows("ledger", 3)
    count = "SELECT count(*) FROM intercom_messages"
    assert database.execute(count) == [(6,)]
    assert run("ledger", "forget", "--key", "key-1", *LEDGER, stdin="n\n").code == 1
    assert database.execute(count) == [(6,)]
    assert run("ledger", "forget", "--key", "key-1", *LEDGER, stdin="y\n").out == "1 rows deleted\n"
    assert run("ledger", "forget", "other", "--key", "key-2", *LEDGER, "--yes").code == 1
    assert run("ledger", "forget", "--to", "user:customer-1", *LEDGER, "--yes").out == "1 rows deleted\n"
    assert run("ledger", "forget", "welcome/1", "--to", "user:customer-2", *LEDGER, "--yes").out == "1 rows deleted\n"
    nobody = run("ledger", "forget", "--to", "+447900123456", *LEDGER, "--yes")
    assert nobody.code == 1
    assert "Messages with a key are found by --key only" in nobody.err
    assert database.execute(count) == [(3,)]


def test_a_message_that_is_being_sent_is_not_forgotten(run: Run, database: LedgerDatabase) -> None:
    set_up("ledger")
    add_rows("ledger", 1)
    database.execute("UPDATE intercom_messages SET outcome = NULL, lease_until = '2999-01-01 00:00:00.000000'")
    ended = run("ledger", "forget", "--key", "key-0", *LEDGER, "--yes")
    assert ended.code == 1
    assert "1 rows stay: their messages are being sent" in ended.err
    assert database.execute("SELECT count(*) FROM intercom_messages") == [(1,)]


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    "options", [(), ("--key", "k", "--to", "user:1"), ("--to", '{"type": "user"}'), ("--to", "[]")]
)
def test_a_person_has_to_be_named_in_one_way(run: Run, options: tuple[str, ...]) -> None:
    ended = run("ledger", "forget", *options, *LEDGER)
    assert ended.code == 1
    assert "exactly one of" in ended.err


def test_unconfirmed_lists_a_campaign_over_all_runs(
    run: Run, run_dag: Any, sandbox: Sandbox, database: LedgerDatabase, tmp_path: Path
) -> None:
    run_dag(batch("monday", range(2)))
    run_dag(batch("tuesday", range(2, 4)))
    database.execute("UPDATE intercom_messages SET outcome = 'unconfirmed', message_id = NULL, reason = 'lost'")
    ended = run("unconfirmed", "--campaign", "welcome/1", "--ledger-conn-id", "ledger")
    assert ended.out.startswith("4 messages of the campaign welcome/1 are unconfirmed\n")
    assert ended.out.count("DAG monday, run ") == ended.out.count("DAG tuesday, run ") == 2
    sandbox.settings.speed = 1_000_000
    sandbox.reply(sandbox.messages[0].id)
    file = tmp_path / "people.jsonl"
    people = [{"to": {"type": "user", "user_id": f"customer-{number}"}} for number in (0, 1, 2, 9)]
    file.write_text("".join(f"{json.dumps(each)}\n" for each in people))
    options = ("--messages", str(file), "--defaults", json.dumps(DEFAULTS), "--output", "-")
    found = run("unconfirmed", "--campaign", "welcome/1", "--ledger-conn-id", "ledger", *options)
    assert sorted(str(json.loads(line)["finding"]) for line in found.out.splitlines()) == [
        "None",
        "found",
        "unknown",
        "unknown",
    ]


def test_a_campaign_may_stand_in_place_of_the_folder(run: Run, database: LedgerDatabase, monkeypatch: Any) -> None:
    monkeypatch.setenv("AIRFLOW__INTERCOM__LEDGER_CONN_ID", "ledger")
    assert database
    set_up("ledger")
    assert run("unconfirmed", "welcome/1").out == "0 messages of the campaign welcome/1 are unconfirmed\n"
    assert run("unconfirmed").err.startswith("RESULTS_PATH, --campaign: exactly one of them has to be given")
