"""Intercom's client for Python against the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from intercom import (
    CreateMessageRequest_Inapp,
    CreateMessageRequestFrom,
    CreateMessageRequestTo,
    Intercom,
    SingleFilterSearchRequest,
    StartingAfterPaging,
)
from intercom.core.api_error import ApiError

from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercom_provider.sandbox import Sandbox


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Intercom]:
    # The client leaves its own connections to be collected.
    with httpx.Client() as connections:
        yield Intercom(token=sandbox.token, base_url=sandbox.url, httpx_client=connections)


def in_app(user_id: str) -> CreateMessageRequest_Inapp:
    return CreateMessageRequest_Inapp(
        body="Hello",
        from_=CreateMessageRequestFrom(type="admin", id=814860),
        to=CreateMessageRequestTo(type="user", id=user_id),
    )


def equal(field: str, value: str) -> SingleFilterSearchRequest:
    return SingleFilterSearchRequest(field=field, operator="=", value=value)


def test_a_contact_is_created_messaged_searched_and_its_reply_read(sandbox: Sandbox, client: Intercom) -> None:
    contact = client.contacts.create(request={"email": "ada@example.com", "name": "Ada"})
    message = client.messages.create(request=in_app(contact.id))
    assert (message.type, message.message_type, message.body) == ("admin_message", "inapp", "Hello")

    assert eventually(lambda: [each.id for each in client.contacts.search(query=equal("email", "ada@example.com"))])
    [found] = client.contacts.search(query=equal("email", "ada@example.com"))
    assert (found.id, found.name, found.role) == (contact.id, "Ada", "user")
    assert client.contacts.find(contact_id=contact.id).last_contacted_at

    conversation_id = sandbox.reply(message.id, "Yes, please")
    assert eventually(lambda: list(client.conversations.search(query=equal("source.id", message.id))))
    [listed] = client.conversations.search(query=equal("source.id", message.id))
    assert listed.id == conversation_id
    conversation = client.conversations.find(conversation_id=conversation_id)
    [part] = conversation.conversation_parts.conversation_parts
    assert (part.body, part.author.type, part.author.id) == ("<p>Yes, please</p>", "user", contact.id)


def test_a_search_comes_in_pages(client: Intercom) -> None:
    query = SingleFilterSearchRequest(field="external_id", operator="IN", value=["ada", "ben", "cleo"])
    # The client's own pager asks for the first page again and again, without the cursor.
    first = client.contacts.search(query=query, pagination=StartingAfterPaging(per_page=2)).response
    assert first.pages.next.starting_after
    rest = client.contacts.search(query=query, pagination=first.pages.next).response
    assert [each.external_id for each in (*first.data, *rest.data)] == ["ada", "ben", "cleo"]
    assert (first.total_count, rest.pages.next) == (3, None)


def test_refusals_are_those_that_the_client_knows(client: Intercom) -> None:
    with pytest.raises(ApiError) as refused:
        client.messages.create(request=in_app("plan-ada"))
    assert refused.value.status_code == 403
    with pytest.raises(ApiError) as missing:
        client.contacts.find(contact_id="unknown-1")
    assert missing.value.status_code == 404
