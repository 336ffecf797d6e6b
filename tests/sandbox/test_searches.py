from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.eventually import eventually

from .wire import email, in_app

if TYPE_CHECKING:
    import httpx

    from intercom_provider.sandbox import Sandbox

DAY = 86_400
NOON = 1_700_000_000 // DAY * DAY + DAY // 2


def one(field: str, operator: str, value: object) -> dict[str, object]:
    return {"field": field, "operator": operator, "value": value}


def search(api: httpx.Client, query: object, **more: object) -> dict[str, Any]:
    found = api.post("/contacts/search", json={"query": query, **more}).raise_for_status().json()
    assert found["type"] == "list"
    return dict(found)


def names(api: httpx.Client, query: object) -> set[str]:
    return {each["external_id"] for each in search(api, query)["data"]}


@pytest.fixture
def people(sandbox: Sandbox, api: httpx.Client) -> None:
    """Create contacts, and let searches find them."""
    sandbox.settings.speed = 1_000_000
    for name, more in {
        "ada": {"name": "Ada Lovelace", "signed_up_at": NOON - DAY},
        "ben": {"name": "Ben Stone", "signed_up_at": NOON, "unsubscribed_from_emails": True},
        "cleo": {"role": "lead", "signed_up_at": NOON + 1},
    }.items():
        api.post("/contacts", json={"external_id": name, "email": f"{name}@example.com", **more}).raise_for_status()
    assert eventually(lambda: len(names(api, one("external_id", "IN", ["ada", "ben", "cleo"]))) == 3)


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("field", "operator", "value", "found"),
    [
        ("external_id", "=", "ada", "ada"),
        ("external_id", "!=", "ada", "ben cleo"),
        ("email", "=", "ADA@example.com", "ada"),
        ("email", "IN", ["ada@example.com", "cleo@example.com"], "ada cleo"),
        ("email", "NIN", ["ada@example.com", "cleo@example.com"], "ben"),
        ("name", "~", "lovelace", "ada"),
        ("name", "!~", "lovelace", "ben cleo"),
        ("name", "^", "Ben", "ben"),
        ("name", "$", "stone", "ben"),
        ("name", "=", None, "cleo"),
        ("role", "=", "lead", "cleo"),
        ("unsubscribed_from_emails", "=", True, "ben"),
        ("unsubscribed_from_emails", "!=", "true", "ada cleo"),
        ("signed_up_at", ">", NOON, "cleo"),
        ("signed_up_at", "<", str(NOON), "ada"),
        ("signed_up_at", "=", NOON, "ben"),
    ],
)
def test_each_operator_finds_what_it_says(
    api: httpx.Client, field: str, operator: str, value: object, found: str
) -> None:
    assert names(api, one(field, operator, value)) == set(found.split())


@pytest.mark.usefixtures("people")
def test_dates_of_contacts_are_days_up_to_version_2_16(api: httpx.Client) -> None:
    api.headers["Intercom-Version"] = "2.16"
    assert names(api, one("signed_up_at", "=", NOON + 7)) == {"ben", "cleo"}
    assert names(api, one("signed_up_at", ">", NOON)) == set()
    assert names(api, one("signed_up_at", "<", NOON)) == {"ada"}
    assert api.post("/contacts/search", json={"query": one("signed_up_at", "!=", NOON)}).status_code == 400


@pytest.mark.usefixtures("people")
def test_filters_are_joined_in_two_levels_of_groups(api: httpx.Client) -> None:
    either = {"operator": "OR", "value": [one("external_id", "=", "ada"), one("external_id", "=", "ben")]}
    both = {"operator": "AND", "value": [either, {"operator": "AND", "value": [one("name", "~", "stone")]}]}
    assert names(api, either) == {"ada", "ben"}
    assert names(api, both) == {"ben"}
    too_deep = {"operator": "AND", "value": [both]}
    too_many = {"operator": "OR", "value": [one("external_id", "=", "ada")] * 16}
    for query in (too_deep, too_many, {"operator": "OR", "value": []}):
        refused = api.post("/contacts/search", json={"query": query})
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, "parameter_invalid")


def test_a_list_of_names_finds_all_of_them(api: httpx.Client) -> None:
    wanted = [f"person-{number}" for number in range(120)]
    query = one("external_id", "IN", [*wanted, "unknown-1", "merged-2", wanted[0]])
    first = search(api, query)
    assert (first["total_count"], len(first["data"]), first["pages"]["total_pages"]) == (120, 50, 3)
    found, page = list(first["data"]), first
    while following := page["pages"]["next"]:
        page = search(api, query, pagination=following)
        found += page["data"]
    assert [each["external_id"] for each in found] == wanted
    assert page["pages"] == {"type": "pages", "page": 3, "per_page": 50, "total_pages": 3, "next": None}
    assert len(search(api, query, pagination={"per_page": 150})["data"]) == 120


def test_conversations_come_in_pages_of_twenty(sandbox: Sandbox, api: httpx.Client) -> None:
    for number in range(25):
        sandbox.reply(api.post("/messages", json=in_app(to={"type": "user", "id": f"p{number}"})).json()["id"])
    query = one("created_at", ">", 0)

    def page(**pagination: object) -> dict[str, Any]:
        body = {"query": query, "pagination": pagination}
        return dict(api.post("/conversations/search", json=body).raise_for_status().json())

    assert eventually(lambda: page()["total_count"] == 25)
    first = page()
    rest = page(starting_after=first["pages"]["next"]["starting_after"])
    assert (len(first["conversations"]), len(rest["conversations"])) == (20, 5)
    assert len({each["id"] for each in first["conversations"] + rest["conversations"]}) == 25
    assert rest["pages"]["next"] is None


def test_conversations_are_found_by_what_they_hold(sandbox: Sandbox, api: httpx.Client) -> None:
    wire = email(subject="Your order", body="<p>It is on its way</p>", to={"type": "user", "user_id": "7"})
    message_id = api.post("/messages", json=wire).json()["id"]
    sandbox.reply(message_id)
    contact = api.get("/contacts/find_by_external_id/7").json()["id"]

    def found(query: object) -> int:
        return int(api.post("/conversations/search", json={"query": query}).raise_for_status().json()["total_count"])

    assert eventually(lambda: found(one("source.id", "=", message_id)) == 1)
    for query in (
        one("source.type", "=", "email"),
        one("source.subject", "^", "your"),
        one("source.body", "=", "its"),
        one("source.author.id", "=", "814860"),
        one("contact_ids", "IN", [contact, "x"]),
        one("open", "=", "true"),
        one("statistics.count_conversation_parts", ">=", 2),
    ):
        assert found(query) == 1, query
    for query in (one("source.body", "=", "on its"), one("contact_ids", "!=", contact), one("state", "=", "closed")):
        assert found(query) == 0, query


@pytest.mark.parametrize("path", ["/contacts/search", "/conversations/search"])
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": None},
        {"query": {}},
        {"query": one("colour", "=", "red")},
        {"query": {"field": [[]]}},
        {"query": one("id", ">", "1")},
        {"query": one("id", "like", "1")},
        {"query": one("id", "IN", "1")},
        {"query": one("id", "=", ["1"])},
        {"query": one("id", "~", None)},
        {"query": one("created_at", ">", "yesterday")},
        {"query": one("created_at", ">", "9" * 5000)},
        {"query": one("id", "=", "1"), "pagination": []},
        {"query": one("id", "=", "1"), "pagination": {"per_page": 151}},
        {"query": one("id", "=", "1"), "pagination": {"per_page": 0}},
        {"query": one("id", "=", "1"), "pagination": {"starting_after": "1"}},
    ],
)
def test_a_search_that_makes_no_sense_is_refused(api: httpx.Client, path: str, body: object) -> None:
    response = api.post(path, json=body)
    assert (response.status_code, response.json()["errors"][0]["code"]) == (400, "parameter_invalid")


def test_contacts_are_sorted_by_a_field(api: httpx.Client) -> None:
    query = one("external_id", "IN", ["b", "a", "c"])

    def order(**sort: str) -> str:
        return "".join(each["external_id"] for each in search(api, query, sort=sort)["data"])

    assert order(field="external_id", order="ascending") == "abc"
    assert order(field="external_id") == "cba"
    refused = api.post("/contacts/search", json={"query": query, "sort": {"field": "external_id", "order": "desc"}})
    assert refused.status_code == 400
    assert refused.json()["errors"][0] == {
        "code": "invalid_sort_order",
        "message": "Invalid sort order 'desc'. Must be one of: ascending, descending",
    }
