"""Requests of all kinds, made up from Intercom's own description, and the sandbox's answers held against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks
from schemathesis.core.failures import FailureGroup

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox

_LIMITS: Final = settings(
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
_CHECKS: Final = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
# Intercom answers so, as its pages say, and the description does not.
KNOWN_GAPS: Final = {
    # It lists no refusal at all for these.
    ("POST /conversations/search", 400, "UndefinedStatusCode"),
    ("POST /export/content/data", 400, "UndefinedStatusCode"),
    ("POST /export/content/data", 429, "UndefinedStatusCode"),
    ("GET /export/content/data/{job_identifier}", 404, "UndefinedStatusCode"),
    ("POST /export/cancel/{job_identifier}", 404, "UndefinedStatusCode"),
    ("GET /download/content/data/{job_identifier}", 404, "UndefinedStatusCode"),
    # A contact, an admin or a path that is not there.
    ("GET /contacts/find_by_external_id/{external_id}", 404, "UndefinedStatusCode"),
    ("POST /messages", 404, "UndefinedStatusCode"),
    # An admin without an inbox seat.
    ("POST /messages", 405, "UndefinedStatusCode"),
    # Its own examples are of another shape than its schema: a message in place of a list of errors.
    ("GET /messages/status", 400, "JsonSchemaError"),
    ("GET /messages/whatsapp/status", 400, "JsonSchemaError"),
}


def test_no_answer_is_outside_the_description_but_the_known_ones(sandbox: Sandbox, description: dict[str, Any]) -> None:
    found: set[tuple[str, int, str]] = set()
    answered: set[str] = set()
    for each in schemathesis.openapi.from_dict(description).get_all_operations():
        operation = each.ok()

        def ask(case: schemathesis.Case) -> None:
            accepts = "application/octet-stream" if "download" in case.path else "application/json"
            own = {"Authorization": f"Bearer {sandbox.token}", "Accept": accepts, "Intercom-Version": "2.16"}
            response = case.call(base_url=sandbox.url, headers=own)
            label = case.operation.label
            answered.add(label)
            try:
                case.validate_response(response, checks=_CHECKS)
            except FailureGroup as group:
                found.update((label, response.status_code, type(one).__name__) for one in group.exceptions)

        _LIMITS(given(case=operation.as_strategy())(ask))()
    assert len(answered) == sum(len(methods.keys() & {"get", "post"}) for methods in description["paths"].values())
    assert found <= KNOWN_GAPS
