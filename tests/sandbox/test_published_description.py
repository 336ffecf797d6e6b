"""Validate the sandbox's replies against Intercom's own description of its API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.eventually import eventually, until
from tests.support.project import PROJECT

from .wire import email, in_app, whatsapp

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from intercom_provider.sandbox import Sandbox

jsonschema = pytest.importorskip("jsonschema")

DESCRIPTION = PROJECT / "../shared/intercom-openapi/2.16.json"

pytestmark = pytest.mark.skipif(
    not DESCRIPTION.exists(), reason="Intercom's OpenAPI description is not beside the project"
)


class Description:
    """An OpenAPI 3.0 description, read as JSON Schema."""

    def __init__(self, path: Path) -> None:
        self._paths = json.loads(path.read_text())["paths"]
        self._components = _as_json_schema(json.loads(path.read_text())["components"])

    def check(self, path: str, response: httpx.Response) -> dict[str, Any]:
        """Validate a reply against the published schema of its path, method and status."""
        published = self._paths[path][response.request.method.lower()]["responses"]
        status = str(response.status_code)
        assert status in published, f"{status} is not documented for {path}"
        schema = published[status]["content"]["application/json"]["schema"]
        body: dict[str, Any] = response.json()
        self._validate(_as_json_schema(schema), body)
        return body

    def check_against(self, name: str, body: dict[str, Any]) -> None:
        """Validate a body against a published schema."""
        self._validate({"$ref": f"#/components/schemas/{name}"}, body)

    def _validate(self, schema: dict[str, Any], body: dict[str, Any]) -> None:
        jsonschema.Draft202012Validator({**schema, "components": self._components}).validate(body)


def _as_json_schema(node: Any) -> Any:
    """Convert OpenAPI 3.0's `nullable`, which JSON Schema lacks, to `anyOf`."""
    if isinstance(node, list):
        return [_as_json_schema(each) for each in node]
    if not isinstance(node, dict):
        return node
    rest = {name: _as_json_schema(value) for name, value in node.items() if name != "nullable"}
    return {"anyOf": [rest, {"type": "null"}]} if node.get("nullable") is True else rest


@pytest.fixture(scope="module")
def published() -> Description:
    return Description(DESCRIPTION)


@pytest.fixture
def api(api: httpx.Client) -> httpx.Client:
    api.headers["Intercom-Version"] = "2.16"
    return api


def test_me_and_admins(published: Description, api: httpx.Client) -> None:
    published.check("/me", api.get("/me"))
    published.check("/admins", api.get("/admins"))
    published.check("/admins", api.get("/admins", headers={"Authorization": "no"}))


def test_created_messages(published: Description, api: httpx.Client) -> None:
    for wire in (in_app(), email(), in_app(create_conversation_without_contact_reply=True)):
        assert published.check("/messages", api.post("/messages", json=wire))["id"]


def test_a_created_whatsapp_message_differs_only_where_the_description_contradicts_itself(
    published: Description, api: httpx.Client
) -> None:
    response = api.post("/messages", json=whatsapp())
    # The description allows such a request, but neither the type `whatsapp` nor a missing body in the reply.
    reply = response.json() | {"message_type": "inapp", "body": ""}
    published.check_against("message", reply)


@pytest.mark.parametrize("wire", [{}, in_app(body=None), email(subject=None), whatsapp(template=None)])
def test_refused_messages(published: Description, api: httpx.Client, wire: dict[str, Any]) -> None:
    published.check("/messages", api.post("/messages", json=wire))


def test_ruleset_statuses(published: Description, sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.settings.failures = 0.3
    sandbox.add_ruleset(77, 60)
    for query in ("ruleset_id=77", "ruleset_id=77&per_page=100", "ruleset_id=78"):
        published.check("/messages/status", api.get(f"/messages/status?{query}"))


@pytest.mark.parametrize(
    ("phone", "last"), [("+447700999901", "failed"), ("+447700999904", "delivered"), ("+447700999905", "read")]
)
def test_the_status_of_a_whatsapp_message(
    published: Description, sandbox: Sandbox, api: httpx.Client, phone: str, last: str
) -> None:
    api.post("/messages", json=whatsapp(phone))
    params = {"message_id": str(sandbox.messages[0].whatsapp_message_id)}

    def status() -> str | None:
        path = "/messages/whatsapp/status"
        found: str | None = published.check(path, api.get(path, params=params)).get("status")
        return found

    assert eventually(lambda: status() == last)


def test_conversations_and_contacts(published: Description, sandbox: Sandbox, api: httpx.Client) -> None:
    for wire in (in_app(), email(), whatsapp()):
        message_id = api.post("/messages", json=wire).json()["id"]
        sandbox.reply(message_id)
        query = {"query": {"field": "source.id", "operator": "=", "value": message_id}}

        def found(query: dict[str, Any] = query) -> bool:
            response = api.post("/conversations/search", json=query)
            return bool(published.check("/conversations/search", response)["conversations"])

        assert eventually(found)
    query = {"query": {"field": "email", "operator": "=", "value": "ada@example.com"}}
    published.check("/contacts/search", api.post("/contacts/search", json=query))
    path = "/contacts/find_by_external_id/{external_id}"
    published.check(path, api.get("/contacts/find_by_external_id/7"))


def test_exports(published: Description, api: httpx.Client) -> None:
    api.post("/messages", json=email(created_at=1_734_520_000))
    span = {"created_at_after": 1_734_519_776, "created_at_before": 1_734_537_776}
    job = published.check("/export/content/data", api.post("/export/content/data", json=span))

    def refused() -> httpx.Response | None:
        # A busy machine may end the first job before it asks for the next one.
        answer = api.post("/export/content/data", json=span)
        return answer if answer.is_error else None

    published.check_against("error", until(refused, "a job beside another one").json())
    path, mine = "/export/content/data/{job_identifier}", f"/export/content/data/{job['job_identifier']}"
    assert eventually(lambda: published.check(path, api.get(mine))["status"] == "completed")
    canceled = api.post(f"/export/cancel/{job['job_identifier']}")
    published.check("/export/cancel/{job_identifier}", canceled)


def test_errors_whose_status_is_not_published(published: Description, api: httpx.Client) -> None:
    published.check_against("error", api.get("/nothing").json())
    published.check_against("error", api.get("/me", headers={"Accept": "text/html"}).json())
    published.check_against("error", api.post("/messages", json=in_app(to={"type": "user", "id": "unknown"})).json())
