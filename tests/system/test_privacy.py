"""The logs and tables of all tests hold no token and no personal data; runs last."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from tests.support.hostile import TOKEN, drop
from tests.system.campaign import counts
from tests.system.people import BODY, EMAIL, NAME, PHONE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.airflow_instance import AirflowInstance
    from tests.support.hostile import Hostile

_SECRETS: Final = (TOKEN, EMAIL, PHONE.lstrip("+"), BODY, NAME)
# Not rendered_task_instance_fields: that is Airflow's own Rendered tab, which shows every template field.
_TABLES: Final = ("xcom", "task_state_store", "trigger", "log", "job")


def test_the_rendered_tab_shows_only_the_number_of_messages_of_a_list(
    airflow: AirflowInstance, intercom: Hostile
) -> None:
    send = airflow.run("batch_of_a_task", "send")
    assert send.end() == "success"
    assert send.info["rendered_fields"]["messages"] == "2 messages"
    assert {message["body"] for message in intercom.created} == {f"{BODY}, ada", f"{BODY}, grace"}


def test_no_log_and_no_table_holds_a_token_a_person_or_a_body(
    airflow: AirflowInstance, intercom: Hostile, tmp_path: Path
) -> None:
    assert airflow.run("sending", "send").end() == "success"
    assert airflow.run("settling", "send").end() == "success"
    email = {"message_type": "email", "template": "plain", "to": {"type": "user", "email": EMAIL}, "subject": "Hello"}
    messages = [
        {**email, "body": f"{BODY}, ${{name}}", "params": {"name": NAME}},
        {**email, "body": f"{BODY}, ${{surname}}", "params": {"name": NAME}, "key": "refused"},
        {"to": {"phone": PHONE, "name": NAME}},
        {"to": {"phone": PHONE, "name": NAME}},
        {"to": {"phone": PHONE, "name": NAME}, "key": "lost"},
    ]
    file = tmp_path / "messages.jsonl"
    file.write_text("\n".join(map(json.dumps, messages)))
    intercom.script(drop(), path="/messages")
    send = airflow.run("batch", "send", messages=str(file), conn="intercom_default")
    assert send.end() == "failed"
    counted = counts(send)
    assert [counted[name] for name in ("sent", "rejected", "unconfirmed", "duplicates")] == [2, 1, 1, 1]
    sent = b"".join(request.body for request in intercom.requests).decode()
    assert all(secret in sent for secret in _SECRETS if secret != TOKEN)

    logs = airflow.logs
    left = {str(path.relative_to(logs)): path.read_text(errors="replace") for path in logs.rglob("*") if path.is_file()}
    for table in _TABLES:
        left[table] = repr(airflow.select(f"SELECT * FROM {table}"))  # noqa: S608 - our own names
    for table in ("task_instance", "task_instance_history"):
        left[f"{table}.next_kwargs"] = repr(airflow.select(f"SELECT next_kwargs FROM {table}"))  # noqa: S608 - as above

    # The search covers the right files and tables, because an id that may be shown is found in several.
    assert sum("403900001" in text for text in left.values()) > 2
    assert {name: secret for name, text in left.items() for secret in _SECRETS if secret in text} == {}
