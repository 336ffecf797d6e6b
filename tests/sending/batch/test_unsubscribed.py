"""The look-up of contacts before a batch: side by side, within the budget, until the task is told to stop."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api.errors import StoppedError
from intercom_provider.api.settings import Settings
from intercom_provider.sending.batch.unsubscribed import UnsubscribedContacts
from tests.support import hostile
from tests.support.hostile import Act, Exchange, Hostile
from tests.support.messages import email, in_app, parsed, whatsapp

if TYPE_CHECKING:
    from collections.abc import Callable

    from intercom_provider.api.message import Message

SEARCH = "/contacts/search"
NOBODY = hostile.answer(200, {"data": [], "pages": {}})


def emails(number: int) -> list[Message]:
    return [parsed(email(to={"type": "user", "user_id": str(index)})) for index in range(number)]


def look_up(
    server: Hostile, messages: list[Message], *, budget: float = 1.0, stopped: Callable[[], bool] = lambda: False
) -> UnsubscribedContacts:
    contacts = UnsubscribedContacts()
    settings = Settings(token=hostile.TOKEN, base_url=server.url, timeout=5.0)
    contacts.look_up(messages, settings, budget, stopped)
    return contacts


def test_many_searches_are_made_side_by_side_and_each_contact_is_asked_for_once() -> None:
    numbers = itertools.count()
    both = threading.Barrier(2)

    def search(exchange: Exchange) -> None:
        # The first request shows what the limit is. The next two wait for each other: in a row they would never end.
        if next(numbers) in (1, 2):
            both.wait(20)
        NOBODY.run(exchange)

    with Hostile() as server:
        server.always(Act(search), path=SEARCH)
        look_up(server, emails(510))
        asked = [each.json["query"]["value"] for each in server.requests]
    assert sorted(map(len, asked)) == [10, *[50] * 10]
    assert sorted(itertools.chain(*asked), key=int) == [str(index) for index in range(510)]


def test_those_who_may_be_messaged_have_no_reason_and_other_types_are_not_asked_for() -> None:
    flagged = {"external_id": "1", "unsubscribed_from_emails": True}
    with Hostile() as server:
        server.always(hostile.answer(200, {"data": [flagged], "pages": {}}), path=SEARCH)
        to: dict[str, Any] = {"to": {"type": "user", "user_id": "1"}}
        messages = [parsed(each) for each in (in_app(**to), whatsapp())]
        found = look_up(server, messages)
        assert server.requests == []
        assert [found.reason(each) for each in messages] == [None, None]
        found = look_up(server, emails(2))
        reasons = [found.reason(each) for each in (*emails(2), parsed(in_app(**to)))]
    assert reasons == [None, "the contact has unsubscribed_from_emails", None]


def test_a_stop_is_heard_while_contacts_are_looked_up() -> None:
    asked = threading.Event()

    def hang(exchange: Exchange) -> None:
        asked.set()
        exchange.sleep(30)

    with Hostile() as server:
        server.always(Act(hang), path=SEARCH)
        with pytest.raises(StoppedError):
            look_up(server, emails(2_000), stopped=asked.is_set)
        assert len(server.requests) <= 20
