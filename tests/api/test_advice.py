"""What an error says to do: by the request, the code and the words before the status."""

from __future__ import annotations

from typing import Any

import pytest

from intercom_provider.api import calls
from intercom_provider.api.flow import RetryLimits
from tests.support.drivers import CALLS, DRIVERS, ending_of, in_both_drivers, send, settings_for
from tests.support.hostile import Act, Hostile, answer, error

ONCE = RetryLimits(attempts=1)
MERGED = {"type": "error.list", "errors": [{"code": "contact_merged", "message": "Contact merged"}]}


def text_of(act: Act, call: str, **fields: Any) -> str:
    def meet(driver: str) -> str:
        with Hostile() as server:
            server.always(act)
            settings = settings_for(server.url)
            if call == "contacts":
                flow: Any = calls.find_contact(email="ada@example.com", limits=ONCE)
            else:
                flow = send(settings, ONCE, **fields) if call == "send" else CALLS[call](settings, ONCE)
            _, problem, _ = ending_of(DRIVERS[driver], settings, flow)
        return str(problem)

    return in_both_drivers(meet)


@pytest.mark.parametrize(
    ("call", "http_status", "code", "message", "advice"),
    [
        # A token of another region gets a 401, with whatever code.
        ("send", 401, "unauthorized", "Access Token Invalid", "check the connection's region"),
        ("status", 401, "token_unauthorized", "Not authorized", "check the connection's region"),
        ("page", 401, "token_revoked", None, "check the connection's region"),
        ("send", 401, "new_in_2031", None, "check the connection's region"),
        ("status", 403, "forbidden", "This workspace is hosted in Europe", "set the connection's region"),
        ("send", 400, "bad_request", "App is hosted in the AU region", "set the connection's region"),
        ("send", 401, "unauthorized", "Workspace hosted in eu", "set the connection's region"),
        # Each request is about something else.
        ("page", 404, "not_found", "Resource not found", "Check ruleset_id"),
        ("page", 404, "ruleset_not_found", None, "Check ruleset_id"),
        ("status", 404, "not_found", "Resource not found", "Check the whatsapp_message_id"),
        ("send", 404, "not_found", "User Not Found", "the recipient is a contact"),
        ("contacts", 404, "not_found", None, "Check the id and the region"),
        # The words say more than the status.
        ("status", 403, "forbidden", "Cross-app access is not permitted", "another workspace than the token"),
        ("send", 403, "forbidden", "Contact belongs to a different app", "another workspace than the token"),
        ("send", 403, "forbidden", "This user is unsubscribed from emails", "Nothing is wrong with the token"),
        ("send", 403, "forbidden", "This contact has been blocked", "leave the contact out"),
        ("send", 403, "forbidden", "Cannot message an archived user", "leave the contact out"),
        ("send", 403, "forbidden", "The user's token was blocked", "regenerated"),
        ("send", 403, "forbidden", "You do not have the required scope (write_conversations)", "regenerated"),
        ("send", 403, "api_plan_restricted", None, "plan"),
        ("send", 410, "contact_merged", None, "Use the id of the remaining contact"),
    ],
)
def test_advice_follows_the_request_the_code_and_the_words(
    call: str, http_status: int, code: str, message: str | None, advice: str
) -> None:
    assert advice in text_of(error(http_status, code, message), call)


@pytest.mark.parametrize(
    ("to", "is_suspected"),
    [
        ({"type": "user", "id": "customer-17"}, True),
        ({"type": "lead", "id": 4711}, True),
        ({"type": "user", "id": "550e8400-e29b-41d4-a716-446655440000"}, True),
        ({"type": "user", "id": "6762f2341bb69f9f2193bc17"}, False),
        ({"type": "user", "user_id": "customer-17"}, False),
        ({"type": "user", "email": "ada@example.com"}, False),
    ],
)
def test_an_own_id_in_the_place_of_intercoms_is_suspected(to: dict[str, object], is_suspected: bool) -> None:
    text = text_of(error(404, "not_found", "User Not Found"), "send", to=to)
    assert ("write it as user_id" in text) is is_suspected
    assert "customer-17" not in text


def test_another_refusal_than_a_404_does_not_suspect_the_id() -> None:
    assert "user_id" not in text_of(error(422, "data_invalid", "No"), "send", to={"type": "user", "id": "17"})


@pytest.mark.parametrize(
    "link",
    [
        '</contacts/6762f2341bb69f9f2193bc17>; rel="canonical"',
        '<https://api.intercom.io/contacts/6762f2341bb69f9f2193bc17>; rel="canonical"',
    ],
)
@pytest.mark.parametrize("code", ["contact_merged", "not_found", "gone"])
def test_a_merged_contact_names_the_one_that_is_left(link: str, code: str) -> None:
    body = {"type": "error.list", "errors": [{"code": code, "message": "Contact merged"}]}
    text = text_of(answer(410, body, {"Link": link}), "send")
    assert "merged into another one. Use the id of the remaining contact: 6762f2341bb69f9f2193bc17." in text
    assert "canonical" not in text


@pytest.mark.parametrize(
    "link", ["", "nonsense", "</contacts/>", "</contacts/bob@example.com>", "<" * 50_000, "</contacts/" + "a" * 5_000]
)
def test_a_link_that_names_no_contact_is_left_out(link: str) -> None:
    text = text_of(answer(410, MERGED, {"Link": link}), "send")
    assert text.endswith("Use the id of the remaining contact.")
