"""The example that emails whom WhatsApp did not reach, on a real Airflow: everybody is reached by one of the two."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.airflow_instance import AirflowInstance
    from tests.system.campaign import SandboxProcess

PEOPLE: Final = 2_000
# Endings of phones that fail, are off and are refused; all others are delivered.
REFUSED: Final = 2
NOT_REACHED: Final = {0: "99901", 1: "99902", REFUSED: "99903"}


def phone_of(number: int) -> str:
    return f"+4479{number:05}{NOT_REACHED.get(number % 10, '99904')}"


def emailed(sandbox: SandboxProcess) -> list[str]:
    return sorted(message["recipient"] for message in sandbox.messages if message["message_type"] == "email")


def test_everybody_is_reached_by_one_of_the_two_and_nobody_is_emailed_who_was_delivered(
    airflow: AirflowInstance, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    customers = tmp_path / "customers.jsonl"
    lines = [
        {"key": f"00{n}", "params": {"name": "Ada", "phone": phone_of(n), "email": f"customer-{n}@example.com"}}
        for n in range(PEOPLE)
    ]
    customers.write_text("".join(json.dumps(line) + "\n" for line in lines))
    ledger = {"connection_id": "intercom_ledger", "conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}
    airflow.call("POST", "/connections", ledger)

    params = {"customers": str(customers), "folder": str(tmp_path / "results")}
    email = airflow.run("whatsapp_batch_with_email_fallback", "email", **params)
    assert email.end(within=300) == "success"

    left = {n for n in range(PEOPLE) if n % 10 in NOT_REACHED}
    assert emailed(sandbox) == sorted(f"customer-{n}@example.com" for n in left)
    wait = email.in_same_run("wait")
    assert wait.xcom("reached") == PEOPLE - len(left)
    assert wait.xcom("timed_out") is True
    assert email.xcom("sent") == len(left)
    assert set(sandbox.times.values()) == {1}

    # A clear tries only those again whom WhatsApp has refused.
    refused = {phone_of(n) for n in left if n % 10 == REFUSED}
    for task in (email.in_same_run("send"), wait, email):
        task.clear()
        assert task.end(within=120) == "success"
        assert {count for recipient, count in sandbox.times.items() if recipient not in refused} == {1}
    assert emailed(sandbox) == sorted(f"customer-{n}@example.com" for n in left)
