from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.support.eventually import eventually

if TYPE_CHECKING:
    import httpx


def search(api: httpx.Client, field: str, value: str) -> httpx.Response:
    return api.post(
        "/contacts/search", json={"query": {"field": field, "operator": "=", "value": value}}
    ).raise_for_status()


@pytest.mark.parametrize("external_id", ["7", "a b", "a/b", "ä?&"])
def test_a_user_is_found_by_external_id(api: httpx.Client, external_id: str) -> None:
    contact = api.get(f"/contacts/find_by_external_id/{quote(external_id, safe='')}").json()
    assert (contact["type"], contact["role"], contact["external_id"]) == ("contact", "user", external_id)
    assert contact["id"] == search(api, "external_id", external_id).json()["data"][0]["id"]


@pytest.mark.parametrize("external_id", ["unknown-7", "lead-7", "soon-3600-ada"])
def test_leads_and_missing_contacts_are_not_found_by_external_id(api: httpx.Client, external_id: str) -> None:
    response = api.get(f"/contacts/find_by_external_id/{external_id}")
    assert (response.status_code, response.json()["errors"][0]["code"]) == (404, "not_found")


def test_a_contact_is_found_by_email(api: httpx.Client) -> None:
    found = search(api, "email", "ada@example.com").json()
    assert (found["type"], found["total_count"]) == ("list", 1)
    assert found["data"][0]["email"] == "ada@example.com"
    assert search(api, "email", "unknown@example.com").json()["data"] == []
    assert search(api, "email", "lead@example.com").json()["data"][0]["role"] == "lead"


def test_a_search_finds_a_new_contact_after_some_seconds(api: httpx.Client) -> None:
    assert search(api, "email", "soon-50-ada@example.com").json()["total_count"] == 0
    assert eventually(lambda: search(api, "email", "soon-50-ada@example.com").json()["total_count"] == 1)
