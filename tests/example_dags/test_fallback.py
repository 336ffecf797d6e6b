"""The example that emails whom WhatsApp did not reach, against the sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.results import read_results

from .test_examples import example

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox

PEOPLE = 200
ENDINGS = {"fails": "99901", "off": "99902", "refused": "99903", "delivered": "99904", "read": "99905"}


def phone_of(number: int) -> str:
    """Return a phone whose ending decides what becomes of its message: one in ten is not reached."""
    kind = {0: "fails", 10: "off", 20: "refused"}.get(number % 30, "read" if number % 2 else "delivered")
    return f"+4479{number:05}{ENDINGS[kind]}"


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    ledger = {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}
    monkeypatch.setenv("AIRFLOW_CONN_INTERCOM_LEDGER", json.dumps(ledger))
    lines = [
        {"key": f"00{n}", "params": {"name": "Ada", "phone": phone_of(n), "email": f"customer-{n}@example.com"}}
        for n in range(PEOPLE)
    ]
    (tmp_path / "customers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {"customers": str(tmp_path / "customers.jsonl"), "folder": str(tmp_path / "results")}


def test_everybody_is_reached_by_one_of_the_two_and_nobody_is_emailed_who_was_delivered(
    run_dag: Any, sandbox: Sandbox, where: dict[str, str]
) -> None:
    sandbox.settings.speed = 1000.0
    run = run_dag(example("whatsapp_batch_with_email_fallback", timeout=4.0), where)
    assert run.states == {"send": "success", "wait": "success", "email": "success"}
    left = {n for n in range(PEOPLE) if phone_of(n)[-5:] in ("99901", "99902", "99903")}
    emails = [message.wire["to"]["email"] for message in sandbox.messages if message.message_type == "email"]
    assert sorted(emails) == sorted(f"customer-{n}@example.com" for n in left)
    told = run.xcoms("wait")
    assert (told["total"], told["reached"], told["failed"] + told["pending"]) == (PEOPLE, PEOPLE - len(left), len(left))
    assert {row["key"] for row in read_results(told["results_path"])} == {f"00{n}" for n in left}

    before = len(sandbox.messages)
    again = run_dag(example("whatsapp_batch_with_email_fallback", timeout=1.0), where)
    assert set(again.states.values()) == {"success"}
    assert again.xcom("email", "already_sent") == len(left)
    # WhatsApp answered that it does not take these, which holds nobody back in the ledger.
    refused = [message.recipient for message in sandbox.messages[before:]]
    assert all(phone.endswith("99903") for phone in refused)


def write_customers(where: dict[str, str], *lines: dict[str, Any]) -> None:
    Path(where["customers"]).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def customer(number: int, kind: str, key: object = None, **without: None) -> dict[str, Any]:
    params = {"name": "Ada", "phone": f"+4479{number:05}{ENDINGS[kind]}", "email": f"customer-{number}@example.com"}
    kept = {name: value for name, value in params.items() if name not in without}
    return {"key": f"00{number}" if key is None else key, "params": kept}


def emailed(sandbox: Sandbox) -> list[str]:
    return [message.wire["to"]["email"] for message in sandbox.messages if message.message_type == "email"]


def test_where_everybody_is_reached_the_email_task_sends_nothing(
    run_dag: Any, sandbox: Sandbox, where: dict[str, str]
) -> None:
    sandbox.settings.speed = 1000.0
    write_customers(where, *(customer(n, "read") for n in range(3)))
    run = run_dag(example("whatsapp_batch_with_email_fallback", timeout=4.0), where)
    assert set(run.states.values()) == {"success"}
    assert (run.xcom("wait", "reached"), run.xcom("email", "total"), emailed(sandbox)) == (3, 0, [])


def test_where_nobody_is_reached_everybody_is_emailed(run_dag: Any, sandbox: Sandbox, where: dict[str, str]) -> None:
    sandbox.settings.speed = 1000.0
    write_customers(where, *(customer(n, ("fails", "refused")[n % 2]) for n in range(4)))
    run = run_dag(example("whatsapp_batch_with_email_fallback", timeout=4.0), where)
    assert set(run.states.values()) == {"success"}
    assert sorted(emailed(sandbox)) == [f"customer-{n}@example.com" for n in range(4)]


def test_a_key_that_is_a_number_finds_its_customer(run_dag: Any, sandbox: Sandbox, where: dict[str, str]) -> None:
    sandbox.settings.speed = 1000.0
    write_customers(where, customer(0, "read", 1000), customer(1, "fails", 1001))
    run = run_dag(example("whatsapp_batch_with_email_fallback", timeout=4.0), where)
    assert (set(run.states.values()), emailed(sandbox)) == ({"success"}, ["customer-1@example.com"])


@pytest.mark.parametrize("key", [1001.0, " 1001 "], ids=repr)
def test_a_key_that_finds_no_customer_fails_the_task_that_would_leave_somebody_out(
    run_dag: Any, sandbox: Sandbox, where: dict[str, str], key: object
) -> None:
    sandbox.settings.speed = 1000.0
    write_customers(where, customer(0, "fails"), customer(1, "fails", key))
    run = run_dag(example("whatsapp_batch_with_email_fallback", timeout=4.0), where)
    assert (run.states["email"], emailed(sandbox)) == ("failed", [])


def test_an_address_that_is_missing_keeps_nobody_elses_message_back(
    run_dag: Any, sandbox: Sandbox, where: dict[str, str]
) -> None:
    sandbox.settings.speed = 1000.0
    people = (
        customer(0, "read", phone=None),
        customer(1, "fails"),
        customer(2, "fails", email=None),
        customer(3, "read", email=None),
    )
    write_customers(where, *people)
    run = run_dag(example("whatsapp_batch_with_email_fallback", timeout=4.0), where)
    assert sorted(emailed(sandbox)) == ["customer-0@example.com", "customer-1@example.com"]
    # Whom neither has reached is told, and not hidden by a green task.
    assert run.states == {"send": "success", "wait": "success", "email": "failed"}
    (nobody,) = [row for row in read_results(run.xcom("email", "results_path")) if row["outcome"] == "rejected"]
    assert nobody["key"] == "002"
