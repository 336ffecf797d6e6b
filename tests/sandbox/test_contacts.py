from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.support.eventually import eventually

from .wire import email, in_app, whatsapp

if TYPE_CHECKING:
    import httpx

    from intercom_provider.sandbox import Sandbox


def search(api: httpx.Client, field: str, value: str) -> httpx.Response:
    return api.post(
        "/contacts/search", json={"query": {"field": field, "operator": "=", "value": value}}
    ).raise_for_status()


def create(api: httpx.Client, **fields: object) -> dict[str, Any]:
    contact: dict[str, Any] = api.post("/contacts", json=fields).raise_for_status().json()
    return contact


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["errors"][0]["code"]


@pytest.mark.parametrize("external_id", ["7", "a b", "a/b", "ä?&"])
def test_a_user_is_found_by_external_id(api: httpx.Client, external_id: str) -> None:
    contact = api.get(f"/contacts/find_by_external_id/{quote(external_id, safe='')}").json()
    assert (contact["type"], contact["role"], contact["external_id"]) == ("contact", "user", external_id)
    assert contact["id"] == search(api, "external_id", external_id).json()["data"][0]["id"]


@pytest.mark.parametrize("external_id", ["unknown-7", "lead-7", "soon-3600-ada"])
def test_leads_and_missing_contacts_are_not_found_by_external_id(api: httpx.Client, external_id: str) -> None:
    assert refusal(api.get(f"/contacts/find_by_external_id/{external_id}")) == (404, "not_found")


def test_a_contact_is_found_by_email(api: httpx.Client) -> None:
    found = search(api, "email", "ada@example.com").json()
    assert (found["type"], found["total_count"]) == ("list", 1)
    assert found["data"][0]["email"] == "ada@example.com"
    assert search(api, "email", "ADA@example.com").json()["data"] == found["data"]
    assert search(api, "email", "unknown@example.com").json()["data"] == []
    assert search(api, "email", "lead@example.com").json()["data"][0]["role"] == "lead"


def test_a_search_finds_a_new_contact_after_some_seconds(api: httpx.Client) -> None:
    assert search(api, "email", "soon-50-ada@example.com").json()["total_count"] == 0
    assert eventually(lambda: search(api, "email", "soon-50-ada@example.com").json()["total_count"] == 1)


@pytest.mark.parametrize(
    "to", [{"type": "user", "user_id": "7"}, {"type": "user", "email": "ada@example.com"}, {"type": "user", "id": "x"}]
)
def test_one_person_is_one_contact_however_addressed(sandbox: Sandbox, api: httpx.Client, to: dict[str, Any]) -> None:
    api.post("/messages", json=in_app(to=to)).raise_for_status()
    contact = api.get(f"/contacts/{sandbox.messages[0].contacts[0].id}").raise_for_status().json()
    for address in ("id", "email"):
        api.post("/messages", json=email(to={"type": "user", address: contact[address]})).raise_for_status()
    assert {message.contacts[0].id for message in sandbox.messages} == {contact["id"]}
    report = api.get("/_sandbox/report").json()
    assert (report["recipients"], report["recipients_with_several_messages"]) == (1, 1)
    assert api.get(f"/contacts/{contact['id']}").json()["last_contacted_at"]


def test_a_created_contact_is_reached_by_each_of_its_identifiers(sandbox: Sandbox, api: httpx.Client) -> None:
    phone = "+447700900123"
    contact = create(api, external_id=7, email="ada@example.com", phone=phone, name="Ada", custom_attributes={"a": 1})
    assert (contact["external_id"], contact["role"], contact["name"]) == ("7", "user", "Ada")
    assert contact["custom_attributes"] == {"a": 1}
    for to in ({"id": contact["id"]}, {"user_id": 7}, {"email": "Ada@Example.com"}):
        api.post("/messages", json=in_app(to={"type": "user", **to})).raise_for_status()
    api.post("/messages", json=whatsapp(phone)).raise_for_status()
    assert {message.contacts[0].id for message in sandbox.messages} == {contact["id"]}
    read = api.get(f"/contacts/{contact['id']}").json()
    assert read == api.get("/contacts/find_by_external_id/7").json()
    assert read["last_contacted_at"]


def test_a_contact_has_one_role(api: httpx.Client) -> None:
    contact = create(api, role="lead", email="ben@example.com")
    for address in ("id", "email"):
        assert refusal(api.post("/messages", json=in_app(to={"type": "user", address: contact[address]})))[0] == 404
        to = {"type": "lead", address: contact[address]}
        assert api.post("/messages", json=in_app(to=to)).status_code == 200


def test_nobody_is_created_twice(api: httpx.Client) -> None:
    contact = create(api, external_id="7", email="ada@example.com")
    for fields in (
        {"external_id": "7"},
        {"email": "ADA@example.com"},
        {"external_id": "8", "email": "ada@example.com"},
    ):
        refused = api.post("/contacts", json=fields)
        assert refusal(refused) == (409, "conflict")
        assert refused.json()["errors"][0]["message"].endswith(f"already exists with id={contact['id']}")


def test_a_name_that_is_nobodys_can_be_given_to_a_new_contact(api: httpx.Client) -> None:
    assert refusal(api.get("/contacts/find_by_external_id/unknown-7"))[0] == 404
    contact = create(api, external_id="unknown-7")
    assert api.get("/contacts/find_by_external_id/unknown-7").json()["id"] == contact["id"]
    assert api.post("/messages", json=in_app(to={"type": "user", "user_id": "unknown-7"})).status_code == 200


def test_a_search_finds_a_created_contact_after_a_minute(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.settings.speed = 1
    contact = create(api, email="ada@example.com")
    assert search(api, "email", "ada@example.com").json()["data"] == []
    assert api.get(f"/contacts/{contact['id']}").status_code == 200
    sandbox.settings.speed = 100_000
    assert eventually(lambda: search(api, "email", "ada@example.com").json()["total_count"] == 1)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": "Ada"},
        {"role": "admin"},
        {"email": "ada"},
        {"email": 7},
        {"external_id": []},
        {"external_id": "7", "unsubscribed_from_emails": "yes"},
        {"external_id": "7", "custom_attributes": []},
    ],
)
def test_a_contact_that_makes_no_sense_is_refused(api: httpx.Client, fields: dict[str, object]) -> None:
    assert refusal(api.post("/contacts", json=fields)) in {(400, "parameter_invalid"), (400, "parameter_not_found")}


def test_a_merged_contact_leads_to_the_one_that_is_left(api: httpx.Client) -> None:
    left = api.get("/contacts/find_by_external_id/ada").json()["id"]
    for response in (
        api.get("/contacts/find_by_external_id/merged-ada"),
        api.post("/messages", json=in_app(to={"type": "user", "user_id": "merged-ada"})),
    ):
        assert refusal(response) == (410, "contact_merged")
        assert response.headers["Link"] == f'</contacts/{left}>; rel="canonical"'
    assert refusal(api.get("/contacts/merged-ada")) == (410, "contact_merged")
    assert search(api, "external_id", "merged-ada").json()["data"] == []
