"""The example DAGs, unchanged, against the sandbox."""

from __future__ import annotations

import json
import runpy
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.sending.batch.counts import COUNT_NAMES
from tests.support.answers import answered
from tests.support.project import PROJECT
from tests.support.sandbox import create_contact

if TYPE_CHECKING:
    from pathlib import Path

    from intercom_provider.sandbox import Sandbox

FOLDER = PROJECT / "example_dags"


def example(name: str, **fields: Any) -> DAG:
    """Load an example, and let its sensors poll often, because the sandbox runs faster than real time."""
    loaded = runpy.run_path(str(FOLDER / f"{name}.py"))
    dag: DAG = next((value for value in loaded.values() if isinstance(value, DAG)), None) or loaded[name]()
    for each in dag.tasks:
        if "wait" in each.task_id:
            for field, value in {"poke_interval": 0.2, **fields}.items():
                setattr(each, field, value)
    return dag


@pytest.mark.parametrize(
    ("phone", "emails"),
    [("+447900900905", 0), ("+447900999901", 1), ("+447900999903", 1)],
    ids=["read", "fails", "refused"],
)
def test_an_email_is_sent_only_if_the_whatsapp_message_did_not_arrive(
    run_dag: Any, sandbox: Sandbox, phone: str, emails: int
) -> None:
    sandbox.settings.speed = 100.0
    run = run_dag(example("whatsapp_with_email_fallback"), {"phone": phone, "user_id": "customer-1001", "order": "A-1"})
    assert run.states["send_email"] == ("success" if emails else "skipped")
    assert [m.message_type for m in sandbox.messages].count("email") == emails
    assert "failed" not in run.states.values()


def test_each_recipient_whom_a_campaign_did_not_reach_is_emailed_once(
    run_dag: Any, sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.settings.speed = 1000.0
    statuses = ["delivered", "failed", "read", "failed"]
    sandbox.add_ruleset(
        "12345",
        events=[
            {"whatsapp_message_id": f"wamid.{n}=", "status": status, "user_id": f"contact-{n % 2}"}
            for n, status in enumerate(statuses)
        ],
    )
    dag = example("whatsapp_campaign_retarget", settle_for=0.3)
    run = run_dag(dag, {"ruleset_id": "12345", "results_folder": str(tmp_path)})
    assert run.states["send_email[0]"] == "success"
    emails = [m for m in sandbox.messages if m.message_type == "email"]
    assert [email.wire["to"]["id"] for email in emails] == ["contact-1"]


def test_a_campaign_reaches_everybody_once_chunk_by_chunk(run_dag: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.settings.speed = 1000.0
    people = {f"+44790012340{number}": f"{{{{ {number} }}}} & ${{name}}" for number in range(5)}
    lines = [{"to": {"phone": phone}, "params": {"name": name}, "key": phone} for phone, name in people.items()]
    tmp_path.joinpath("recipients.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    where = {"recipients": tmp_path.joinpath("recipients.jsonl").as_uri(), "folder": tmp_path.as_uri()}
    run = run_dag(example("whatsapp_campaign_over_workers"), {**where, "chunk_size": 2})
    assert [state for task, state in run.states.items() if task.startswith("send[")] == ["success"] * 3
    reached = {m.recipient: m.wire["components"][0]["parameters"][0]["text"] for m in sandbox.messages}
    assert len(sandbox.messages) == len(people)
    assert reached == people
    assert run.xcoms("wait_for_campaign")["reached"] == len(people)


def test_each_of_a_few_contacts_gets_one_message(run_dag: Any, sandbox: Sandbox) -> None:
    run = run_dag(example("daily_lifecycle"))
    assert [state for task, state in run.states.items() if task.startswith("send[")] == ["success"] * 3
    assert len({m.wire["to"]["user_id"] for m in sandbox.messages}) == len(sandbox.messages) == 3


def test_everybody_gets_a_lifecycle_message_once_over_days_a_backfill_and_another_dag(
    run_dag: Any, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}
    monkeypatch.setenv("AIRFLOW_CONN_INTERCOM_LEDGER", json.dumps(ledger))
    customers = tmp_path / "customers.db"
    with closing(sqlite3.connect(customers)) as database, database:
        database.execute("CREATE TABLE customers (customer_id TEXT, first_name TEXT, plan TEXT, trial_began TEXT)")
        rows = [(f"customer-{n}", "Ada", "team" if n % 2 else "solo", f"2026-11-{n:02}") for n in range(1, 15)]
        database.executemany("INSERT INTO customers VALUES (?, ?, ?, ?)", rows)
    params = {"customers": str(customers)}
    days = [datetime(2026, 11, day, 9, tzinfo=UTC) for day in range(6, 11)]
    sent = [run_dag(example("daily_lifecycle_campaign"), params, day).xcom("send", "sent") for day in days]
    assert sent == [3, 1, 1, 1, 1]
    again = [run_dag(example("daily_lifecycle_campaign"), params, day).xcom("send", "already_sent") for day in days[:2]]
    assert again == [3, 3]
    other = run_dag(runpy.run_path(str(FOLDER / "daily_lifecycle_campaign.py"))["lifecycle_campaign_by_hand"](), params)
    assert (other.xcom("send", "sent"), other.xcom("send", "already_sent")) == (4, 3)
    reached = [message.wire["to"]["user_id"] for message in sandbox.messages]
    assert len(reached) == len(set(reached)) == 11


def test_a_daily_batch_addresses_everybody_by_name_and_is_reported(
    run_dag: Any, sandbox: Sandbox, tmp_path: Path
) -> None:
    run = run_dag(example("lifecycle_batch"), {"results_folder": str(tmp_path)})
    assert set(run.states.values()) == {"success"}
    assert run.xcom("report") == "3 of 3 reminded"
    bodies = {m.wire["to"]["user_id"]: m.wire["body"] for m in sandbox.messages}
    assert bodies["customer-1001"].startswith("<p>Hello Ada, your trial ends in 3 days.")
    assert bodies["customer-1002"].startswith("<p>Hello &lt;b&gt;Bob&lt;/b&gt; {{ 1 + 1 }}, your trial ends in 1 days.")
    assert bodies["customer-1003"].startswith("<p>Hello there, your trial ends in 2 days.")
    (email,) = [m.wire for m in sandbox.messages if m.message_type == "email"]
    assert email["subject"] == "Your trial ends in 2 days"
    assert len(list(tmp_path.rglob("try-1-part-1.jsonl"))) == 1


@pytest.mark.needs("human_input")
@pytest.mark.parametrize(("answer", "state", "sent"), [("Approve", "success", 3), ("Reject", "skipped", 0)])
def test_a_campaign_is_sent_as_it_was_rehearsed_once_somebody_has_approved(
    run_dag: Any, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, state: str, sent: int
) -> None:
    rehearsal = {**sandbox.connection, "extra": {**sandbox.connection["extra"], "dry_run": True}}
    monkeypatch.setenv("AIRFLOW_CONN_INTERCOM_DRY_RUN", json.dumps(rehearsal))
    tmp_path.joinpath("out.txt").write_text("user:customer-1001\ncustomer-1002\n")
    create_contact(sandbox, external_id="customer-1003", unsubscribed_from_emails=True)
    with answered("campaign_approved", "approve", answer) as shown:
        run = run_dag(example("campaign_approved"), {"folder": str(tmp_path), "opted_out": str(tmp_path / "out.txt")})
    assert (run.states["rehearse"], run.states["approve"], run.states["send"]) == ("success", "success", state)
    rehearsed = run.xcoms("rehearse")
    assert (rehearsed["total"], rehearsed["dry_run"], rehearsed["suppressed"]) == (6, 3, 3)
    subject, body = shown
    assert subject == "Send it to 3 people?"
    assert "| are left out | 3 |" in body
    assert "- 1 x the contact has unsubscribed_from_emails" in body
    assert len(sandbox.messages) == sent
    if sent:
        really = run.xcoms("send")
        assert (really["sent"], really["dry_run"]) == (rehearsed["dry_run"], 0)
        same = ("total", *(name for name in COUNT_NAMES if name not in ("sent", "dry_run")))
        assert {name: really[name] for name in same} == {name: rehearsed[name] for name in same}


@pytest.mark.parametrize(("rows", "alerts"), [(100, 0), (0, 1)])
def test_an_alert_goes_out_only_when_the_pipeline_fails(run_dag: Any, sandbox: Sandbox, rows: int, alerts: int) -> None:
    run_dag(example("pipeline_alert"), {"rows": rows})
    assert len(sandbox.messages) == alerts


@pytest.mark.needs("deadline_imports")
@pytest.mark.parametrize(("rows", "alerted"), [(100, []), (0, ["data-on-call", "shop-owner-7"])])
def test_a_watched_pipeline_alerts_each_of_them_once(
    run_dag: Any, sandbox: Sandbox, rows: int, alerted: list[str]
) -> None:
    dag = example("pipeline_watched")
    # dag.test() fails on a run with a deadline, because it uses the alert as its id (Airflow 3.3.2).
    dag.deadline = None
    for each in dag.tasks:
        each.retry_delay = timedelta(seconds=0.1)
    run_dag(dag, {"rows": rows})
    assert [message.wire["to"]["user_id"] for message in sandbox.messages] == alerted


@pytest.mark.parametrize(("phone", "nudges"), [("+447900999905", 0), ("+447900999904", 1)], ids=["read", "never read"])
def test_a_customer_who_has_not_read_in_time_is_nudged(run_dag: Any, sandbox: Sandbox, phone: str, nudges: int) -> None:
    sandbox.settings.speed = 100.0
    run = run_dag(example("whatsapp_until_read", timeout=2.0), {"phone": phone, "user_id": "customer-1001"})
    assert "failed" not in run.states.values()
    assert [m.message_type for m in sandbox.messages].count("inapp") == nudges
