"""What parsing a DAG costs: no request, no connection, few imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from intercom_provider.exceptions import InvalidFieldError
from intercom_provider.sensors.message_status import MessageStatusSensor

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "example_dags").glob("*.py"))

# Reports each module that importing a public module adds to what Airflow has loaded already.
IMPORTS = """
import json, sys
import airflow.sdk
from airflow.sdk import BaseOperator, BaseOperatorLink, BaseSensorOperator, BaseHook, DAG
import airflow.triggers.base, airflow.sdk.configuration
import httpx, pydantic, pendulum, tenacity, structlog, jinja2
before = set(sys.modules)
import {module}
print("ADDED", json.dumps(sorted({{name.partition('.')[0] for name in set(sys.modules) - before}})))
"""

# Fails whatever opens a socket or reads a connection while a DAG file is loaded.
PARSING = """
import runpy, socket, sys
import airflow.sdk
from airflow.sdk import BaseHook, Connection

def forbidden(*args, **kwargs):
    raise SystemExit("something was asked for while a DAG was parsed")

socket.socket.connect = forbidden
BaseHook.get_connection = classmethod(forbidden)
Connection.get = classmethod(forbidden)
runpy.run_path(sys.argv[1])
print("PARSED")
"""


def run_python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own code


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_parsed_without_a_request_or_a_connection(path: Path) -> None:
    assert "PARSED" in run_python(PARSING, str(path))


@pytest.mark.parametrize(
    "module",
    [
        "operators.message",
        "sensors.message_status",
        "sensors.message_reply",
        "triggers.message_status",
        "triggers.message_reply",
        "triggers.ruleset",
        "notifications.message",
    ],
)
def test_a_public_module_loads_nothing_that_airflow_has_not(module: str) -> None:
    (line,) = [
        line
        for line in run_python(IMPORTS.format(module=f"intercom_provider.{module}")).splitlines()
        if line.startswith("ADDED")
    ]
    added = set(json.loads(line.removeprefix("ADDED ")))
    assert added <= {"intercom_provider", *sys.stdlib_module_names}


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
