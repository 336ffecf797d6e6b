"""Parsing a DAG makes no request, reads no connection and imports few modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.exceptions import InvalidFieldError
from intercom_provider.sensors.message_status import MessageStatusSensor
from tests.support.fresh import Fresh
from tests.support.project import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES = sorted((PROJECT / "example_dags").glob("*.py"))

# The modules that every error and every field needs.
ERRORS = {"api", "api.advice", "api.errors", "compat"}
BASE = {*ERRORS, "api.cells", "api.characters", "api.values", "api.version", "exceptions", "fields"}
LEDGER = {"ledger", "ledger.configuration"}
SENDING = {
    *BASE,
    *LEDGER,
    "ledger.ledger",
    "ledger.repeat_after",
    "ledger.stateless",
    "sending",
    "sending.options",
    "sending.task_instance",
    "templates",
}
OPERATORS = {
    *SENDING,
    "links",
    "operators",
    "operators.batch",
    "operators.hidden_input",
    "sending.held_timeout",
    "sending.window",
}
MESSAGE = {
    "api.components",
    "api.json_text",
    "api.json_values",
    "api.message",
    "api.message_problems",
    "api.recipient",
}
SENSORS = {*BASE, "links", "sensors", "sensors.base"}
TRIGGERS = {*ERRORS, "triggers", "triggers.schedule"}

# The modules of this package that the import of a public module may load. Those that only a running task needs are not
# among them: no hook, no client, no settings, no statuses, and of a batch only the operator.
LOADED = {
    "operators.message": {*OPERATORS, *MESSAGE, "operators.message"},
    "operators.batch": OPERATORS,
    "sensors.message_status": {*SENSORS, "api.json_text", "sensors.message_status", "waiting", "waiting.sent"},
    "sensors.message_reply": {*SENSORS, "sensors.message_reply"},
    "triggers.message_status": {*TRIGGERS, "triggers.message_status", "triggers.base"},
    "triggers.message_reply": {*TRIGGERS, "triggers.message_reply", "triggers.base"},
    "triggers.ruleset": {*BASE, *TRIGGERS, "api.json_text", "triggers.ruleset", "waiting", "waiting.sent"},
    "notifications.message": {
        *SENDING,
        *MESSAGE,
        "notifications",
        "notifications.message",
        "notifications.alert",
    },
}


@pytest.fixture(scope="module")
def fresh() -> Iterator[Fresh]:
    with Fresh() as process:
        yield process


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=pytest.mark.needs("deadline_imports")) if path.stem == "pipeline_watched" else path
        for path in EXAMPLES
    ],
    ids=lambda path: path.stem,
)
def test_an_example_is_parsed_without_a_request_or_a_connection(path: Path, fresh: Fresh) -> None:
    assert fresh.call("parsed", str(path))


@pytest.mark.parametrize("module", LOADED)
def test_a_public_module_loads_only_what_it_needs_and_no_new_library(module: str, fresh: Fresh) -> None:
    added = fresh.call("added_by", f"intercom_provider.{module}")
    assert not added["others"]
    assert set(added["own"]) == LOADED[module]
    # Each dataclass and each pydantic model costs a millisecond, because its methods or validator are compiled.
    assert not added["generated"]


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("ruleset_id", {}),
        ("ruleset_id", {"ruleset_id": 1, "whatsapp_message_id": "wamid.x"}),
        ("whatsapp_message_id", {"whatsapp_message_id": "1488971108"}),
        ("whatsapp_message_id", {"whatsapp_message_id": [f"wamid.{n}" for n in range(1001)]}),
        ("max_failed", {"ruleset_id": 1, "max_failed": 1.0}),
        ("max_failed", {"ruleset_id": 1, "max_failed": True}),
        ("max_pending", {"ruleset_id": 1, "max_pending": -1}),
        ("wait_for", {"ruleset_id": 1, "wait_for": "sent"}),
        ("on_timeout", {"ruleset_id": 1, "on_timeout": "skip"}),
        ("results", {"ruleset_id": 1, "results": "some"}),
        ("results_path", {"ruleset_id": 1, "results_path": "s3://bucket/"}),
        ("settle_for", {"ruleset_id": 1, "settle_for": -5}),
        ("expected_count", {"ruleset_id": 1, "expected_count": 1.5}),
        ("created_after", {"ruleset_id": 1, "created_after": "yesterday"}),
        ("api_version", {"ruleset_id": 1, "api_version": "2"}),
        ("sent", {"sent": [{"a": 1}]}),
        ("sent", {"sent": [{"outcome": "sent", "message_type": "email", "id": "1"}]}),
    ],
)
def test_a_wrong_literal_of_the_sensor_fails_when_the_dag_is_parsed(field: str, fields: dict[str, Any]) -> None:
    with DAG("wrong"), pytest.raises(InvalidFieldError, match=field):
        MessageStatusSensor(task_id="wait", **fields)
