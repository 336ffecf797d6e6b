"""How each call reads Intercom's replies, through both drivers."""

from __future__ import annotations

from typing import Any

import pytest

from intercom_provider.api import calls
from intercom_provider.api.errors import PagingError
from intercom_provider.api.flow import Flow, RetryLimits
from tests.support.drivers import (
    DRIVERS,
    ending_of,
    in_both_drivers,
    page,
    run_sync,
    send,
    settings_for,
    status,
)
from tests.support.hostile import Hostile, answer, drop, event, healthy

both_drivers = pytest.mark.parametrize("driver", DRIVERS)


@both_drivers
@pytest.mark.parametrize(("answered", "believed"), [("wamid.2", False), ("wamid.1", True), ("4711", True), ("", True)])
def test_a_reply_about_another_message_is_not_read(driver: str, answered: str, believed: bool) -> None:
    with Hostile() as server:
        settings = settings_for(server.url)
        server.always(answer(200, {"message_id": answered, "status": "failed"}))
        end, _, found = ending_of(DRIVERS[driver], settings, status(settings, RetryLimits(attempts=1)))
        assert end == ("ok" if believed else "UnreachableError")
        assert not believed or (found.whatsapp_message_id, found.status) == ("wamid.1", "failed")


@both_drivers
def test_a_conversation_about_another_message_is_left_out(driver: str) -> None:
    other = {"id": "1", "source": {"id": "999"}, "statistics": {"first_contact_reply_at": 1_700_000_000}}
    with Hostile() as server:
        settings = settings_for(server.url)
        answers = [other], [other, {**other, "source": None}]
        server.script(*(answer(200, {"conversations": given}) for given in answers))
        found = DRIVERS[driver](settings, *(calls.find_conversation("403") for _ in range(2)))
    assert [each and each.source for each in found] == [None, None]
    assert [each and each.id for each in found] == [None, "1"]


@pytest.mark.parametrize(
    ("created_at", "is_found"), [(1_700_000_000, True), (1_700_000_001, True), (1_699_999_999, False)]
)
def test_a_conversation_of_the_second_that_the_search_begins_in_is_found(created_at: int, is_found: bool) -> None:
    with Hostile() as server:
        server.always(answer(200, {"conversations": [{"id": "1", "created_at": created_at}]}))
        [found] = DRIVERS["sync"](settings_for(server.url), calls.conversations_of("c1", 1_700_000_000.9))
    assert [each.id for each in found] == ["1"] * is_found


def _read_all(pages: calls.Pages) -> Flow[list[str]]:
    found: list[str] = []
    while not pages.done:
        found += [each.whatsapp_message_id for each in (yield from pages.read(RetryLimits(attempts=2))).events]
    return found


@both_drivers
def test_pages_are_read_to_the_last_one_with_one_request_each(driver: str) -> None:
    with Hostile() as server:
        server.pages = [[event(f"wamid.{n}", "sent")] for n in range(4)]
        [found] = DRIVERS[driver](settings_for(server.url), _read_all(calls.Pages("4711")))
        assert found == [f"wamid.{n}" for n in range(4)]
        assert [request.query.get("starting_after") for request in server.requests] == [None, "1", "2", "3"]


def test_a_page_that_breaks_in_the_middle_is_read_again_alone() -> None:
    def read(driver: str) -> tuple[list[str], int]:
        with Hostile() as server:
            server.pages = [[event(f"wamid.{n}", "sent")] for n in range(3)]
            server.script(healthy(), drop(), healthy())
            [found] = DRIVERS[driver](settings_for(server.url), _read_all(calls.Pages("4711")))
            return found, len(server.requests)

    assert in_both_drivers(read) == (["wamid.0", "wamid.1", "wamid.2"], 4)


def _listing(events: list[dict[str, Any]], following: object) -> dict[str, Any]:
    return {"type": "list", "events": events, "pages": {"next": following}}


@both_drivers
@pytest.mark.parametrize("following", [None, {}, {"starting_after": None}, {"starting_after": ""}])
def test_the_last_page_is_recognized_in_every_form(driver: str, following: object) -> None:
    with Hostile() as server:
        server.always(answer(200, _listing([event("wamid.1", "sent")], following)))
        [found] = DRIVERS[driver](settings_for(server.url), _read_all(calls.Pages("4711")))
        assert (found, len(server.requests)) == (["wamid.1"], 1)


@both_drivers
def test_a_list_that_leads_back_to_itself_is_an_error(driver: str) -> None:
    with Hostile() as server:
        server.always(answer(200, _listing([event("wamid.1", "sent")], {"starting_after": "again"})))
        with pytest.raises(PagingError, match="4711"):
            DRIVERS[driver](settings_for(server.url), _read_all(calls.Pages("4711")))
        assert len(server.requests) == 2


@both_drivers
def test_a_list_of_nothing_but_empty_pages_is_an_error(driver: str) -> None:
    with Hostile() as server:
        server.script(*(answer(200, _listing([], {"starting_after": str(n)})) for n in range(100)))
        with pytest.raises(PagingError):
            DRIVERS[driver](settings_for(server.url), _read_all(calls.Pages("4711")))
        assert len(server.requests) < 20


def test_a_reply_that_is_newer_than_this_provider_is_read_all_the_same() -> None:
    more = {"new": {"field": [1]}}
    with Hostile() as server:
        settings = settings_for(server.url)
        server.script(
            answer(200, {"type": "admin_message", "id": 403, "conversation_id": 7, **more}),
            answer(200, {"status": "seen", "message_id": "wamid.1", "created_at": "1700000000", **more}),
            answer(200, _listing([event("wamid.1", "seen", **more)], None) | more),
        )
        sent, found, listed = run_sync(
            settings, send(settings, RetryLimits()), status(settings, RetryLimits()), page(settings, RetryLimits())
        )
    assert (sent.id, sent.conversation_id, sent.outcome) == ("403", "7", "sent")
    assert (found.status, found.created_at) == ("seen", 1_700_000_000)
    assert listed.events[0].status == "seen"
