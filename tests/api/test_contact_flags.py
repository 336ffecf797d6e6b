"""Contacts looked up in bulk: whose flags count, over how many pages, and when the answer is given up."""

from __future__ import annotations

from typing import Any

import pytest

from intercom_provider.api.contact_flags import find_flagged
from intercom_provider.api.errors import ForbiddenError, PagingError, UnreachableError
from intercom_provider.api.flow import RetryLimits
from tests.support.drivers import run_sync, settings_for
from tests.support.hostile import Hostile, answer, error

FLAGS = ("unsubscribed_from_emails", "has_hard_bounced")
PATH = "/contacts/search"


def contact(external_id: object, **fields: Any) -> dict[str, Any]:
    return {"type": "contact", "id": "c", "external_id": external_id, **fields}


def listed(*contacts: object, following: object = None) -> Any:
    return answer(200, {"type": "list", "data": list(contacts), "pages": {"type": "pages", "next": following}})


def flagged(server: Hostile, *values: str, field: str = "user_id", attempts: int = 3) -> dict[str, str]:
    settings = settings_for(server.url)
    found: list[dict[str, str]] = run_sync(settings, find_flagged(field, values, FLAGS, RetryLimits(attempts=attempts)))
    return found[0]


def test_contacts_with_a_flag_are_found_by_the_value_that_was_asked_for() -> None:
    with Hostile() as server:
        server.script(
            listed(
                contact("1", unsubscribed_from_emails=True, has_hard_bounced=True),
                contact("2", unsubscribed_from_emails=False, has_hard_bounced=True),
                contact("3", unsubscribed_from_emails=False, has_hard_bounced=None),
                contact("9", unsubscribed_from_emails=True),
                "no contact",
            ),
            path=PATH,
        )
        found = flagged(server, "1", "2", "3", "4")
        assert found == {"1": "unsubscribed_from_emails", "2": "has_hard_bounced"}
        [request] = server.requests
        assert request.json == {
            "query": {"field": "external_id", "operator": "IN", "value": ["1", "2", "3", "4"]},
            "pagination": {"per_page": 150},
        }


def test_an_address_is_compared_without_its_case_and_counts_if_any_of_its_contacts_has_a_flag() -> None:
    with Hostile() as server:
        server.script(
            listed({"email": "ada@example.com"}, {"email": "ADA@example.com", "has_hard_bounced": True}), path=PATH
        )
        assert flagged(server, "Ada@Example.com", field="email") == {"Ada@Example.com": "has_hard_bounced"}


def test_all_pages_are_read() -> None:
    with Hostile() as server:
        server.script(
            listed(contact("1"), following={"per_page": 150, "starting_after": "a"}),
            listed(contact("2", has_hard_bounced=True), following={"starting_after": None}),
            path=PATH,
        )
        assert flagged(server, "1", "2") == {"2": "has_hard_bounced"}
        assert [each.json["pagination"].get("starting_after") for each in server.requests] == [None, "a"]


@pytest.mark.parametrize("cursors", [["a"] * 3, [str(number) for number in range(200)]], ids=["repeats", "never ends"])
def test_an_answer_without_an_end_is_an_error(cursors: list[str]) -> None:
    with Hostile() as server:
        server.script(*(listed(contact("1"), following={"starting_after": each}) for each in cursors), path=PATH)
        with pytest.raises(PagingError, match="which contacts must not be messaged"):
            flagged(server, "1")
        assert len(server.requests) <= 100


def test_a_search_is_patient_and_its_errors_name_nobody() -> None:
    with Hostile() as server:
        server.script(error(500, "server_error"), answer(200, {"data": None}), listed(), path=PATH)
        assert flagged(server, "ada@example.com", field="email") == {}
        server.script(error(403, "forbidden", "ada@example.com is not yours"), path=PATH)
        with pytest.raises(ForbiddenError) as refused:
            flagged(server, "ada@example.com", field="email")
        assert "ada@" not in str(refused.value)
        server.always(answer(200, b"<html>"), path=PATH)
        with pytest.raises(UnreachableError):
            flagged(server, "1", attempts=2)
