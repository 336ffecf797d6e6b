"""What calls make of replies that answer another question, or lead on without an end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api import calls
from intercom_provider.api.errors import PagingError
from intercom_provider.api.flow import Reply, RetryLimits
from tests.support.drivers import DRIVERS, ending_of, settings_for
from tests.support.hostile import Act, Exchange, Hostile, answer, event

if TYPE_CHECKING:
    from collections.abc import Callable

ONCE = RetryLimits(attempts=1)
both_drivers = pytest.mark.parametrize("driver", DRIVERS)


def body(number: int, events: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"type": "list", "events": events, "pages": {"next": {"starting_after": f"c-{number}"}}, **more}


ENDLESS: dict[str, Callable[[int], dict[str, Any]]] = {
    "the same events": lambda number: body(number, [event("wamid.1", "sent")]),
    "two pages in turns": lambda number: body(number, [event(f"wamid.{number % 2}", "sent")]),
    "no events": lambda number: body(number, []),
    "more than announced": lambda number: body(number, [event(f"wamid.{number}", "sent")] * 100, total_count=7),
    "announced anew": lambda number: body(number, [event("wamid.1", "sent")], total_count=1_000 * (number + 1)),
    "a cursor that grows": lambda number: {
        **body(number, [event(f"wamid.{number}", "sent")]),
        "pages": {"next": {"starting_after": "c" * 1_000 * (number + 1)}},
    },
}


@both_drivers
@pytest.mark.parametrize("kind", ENDLESS)
def test_a_list_that_the_other_side_never_ends_is_an_error(driver: str, kind: str) -> None:
    def run(exchange: Exchange) -> None:
        answer(200, ENDLESS[kind](len(server.requests))).run(exchange)

    def read() -> Any:
        pages = calls.Pages("77")
        while not pages.done:
            yield from pages.read(ONCE)

    with Hostile() as server:
        server.always(Act(run))
        end, error, _ = ending_of(DRIVERS[driver], settings_for(server.url), read())
        assert (end, len(server.requests) < 50) == ("PagingError", True)
    assert "Report it to Intercom" in str(error)


def test_new_events_without_an_end_and_without_a_total_are_an_error_after_a_million() -> None:
    pages = calls.Pages("77")
    for number in range(1, 10_000):
        reading = pages.read(ONCE)
        next(reading)
        with pytest.raises(StopIteration):
            reading.send(page_of_one(number))
    reading = pages.read(ONCE)
    next(reading)
    with pytest.raises(PagingError, match="without an end"):
        reading.send(page_of_one(10_000))


def page_of_one(number: int) -> Reply:
    return Reply(200, {}, json.dumps(body(number, [{"id": str(number), "status": "sent"}])).encode(), 0.0)


@both_drivers
@pytest.mark.parametrize(
    ("told", "believed"), [("78", False), (78, False), ("77", True), (77, True), (None, True), ([], True)]
)
def test_a_page_of_another_ruleset_is_no_answer(driver: str, told: object, believed: bool) -> None:
    page = {"type": "list", "ruleset_id": told, "events": [event("wamid.1", "failed")], "total_count": 1}
    with Hostile() as server:
        server.always(answer(200, page))
        for ruleset_id in ("77", 77):
            end, error, found = ending_of(DRIVERS[driver], settings_for(server.url), calls.Pages(ruleset_id).read(ONCE))
            assert end == ("ok" if believed else "UnreachableError")
            assert believed or "not an answer to it, but about another ruleset" in str(error)
            assert not believed or len(found.events) == 1


@both_drivers
def test_a_first_match_is_not_taken_for_the_match(driver: str) -> None:
    others = [{"id": "1", "email": "bob@example.com", "phone": "+1555"}, {"id": "2", "email": " ADA@Example.com "}]
    with Hostile() as server:
        settings = settings_for(server.url)
        server.always(answer(200, {"data": others}), path="/contacts/search")
        server.always(answer(200, {"id": "3", "external_id": "x-2"}), path="/contacts/find_by_external_id/x-1")
        server.always(answer(200, {"id": "4", "external_id": 17}), path="/contacts/find_by_external_id/17")
        asked = (
            calls.find_contact(email="ada@example.com"),
            calls.find_contacts("phone", "+1 (555)"),
            calls.find_contact(email="cy@example.com"),
            calls.find_contact(external_id="17"),
        )
        assert DRIVERS[driver](settings, *asked) == ["2", ["1", "2"], None, "4"]
        end, error, _ = ending_of(DRIVERS[driver], settings, calls.find_contact(external_id="x-1", limits=ONCE))
        assert (end, "another contact" in str(error)) == ("UnreachableError", True)
