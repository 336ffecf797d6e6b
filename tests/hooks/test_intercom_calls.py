"""Every method of the hook, against the sandbox, in both its forms."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api import calls
from intercom_provider.api.errors import ExpiredError, InvalidInputError, NotFoundError, StoppedError
from intercom_provider.hooks.intercom import IntercomHook
from tests.support.eventually import eventually
from tests.support.hostile import Hostile, answer, rate_limited

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox

    from .conftest import Connect, Logged

IN_APP = {"message_type": "in_app", "to": {"type": "user", "id": "ada"}, "body": "A secret offer", "key": "k-1"}
WHATSAPP = {
    "message_type": "whatsapp",
    "to": {"phone": "+447700999904", "name": "Ada"},
    "template": "order_shipped",
    "components": [],
}
BOTH = ["sync", "async"]
both_forms = pytest.mark.parametrize("form", BOTH)


@pytest.fixture(autouse=True)
def _connected(connect: Connect, sandbox: Sandbox) -> None:
    connect(sandbox.connection)


def call(form: str, name: str, *args: Any, hook: IntercomHook | None = None, **kwargs: Any) -> Any:
    """Call a method of the hook, or its async twin."""
    hook = hook or IntercomHook()
    if form == "sync":
        return getattr(hook, name)(*args, **kwargs)
    return asyncio.run(getattr(hook, f"a{name}")(*args, **kwargs))


def read_all(form: str, ruleset_id: str | int) -> list[Any]:
    if form == "sync":
        return list(IntercomHook().iter_message_statuses(ruleset_id))

    async def read() -> list[Any]:
        return [event async for event in IntercomHook().aiter_message_statuses(ruleset_id)]

    return asyncio.run(read())


@both_forms
def test_a_message_is_sent_once(sandbox: Sandbox, form: str) -> None:
    receipt = call(form, "send_message", IN_APP)
    [message] = sandbox.messages
    assert (receipt.outcome, receipt.id, receipt.key) == ("sent", message.id, "k-1")
    assert receipt.message_type == "in_app"
    assert "key" not in message.wire


@both_forms
def test_a_message_that_whatsapp_does_not_accept_is_rejected(form: str) -> None:
    receipt = call(form, "send_message", WHATSAPP | {"to": {"phone": "+447700999903"}})
    assert (receipt.outcome, receipt.whatsapp_message_id) == ("rejected", None)
    assert "did not accept" in receipt.reason


@both_forms
def test_before_2_17_nobody_knows_whether_whatsapp_accepted(sandbox: Sandbox, form: str) -> None:
    receipt = call(form, "send_message", WHATSAPP, hook=IntercomHook(api_version="2.16"))
    assert (receipt.outcome, receipt.whatsapp_message_id) == ("sent", None)
    assert len(sandbox.messages) == 1


@both_forms
def test_a_contact_may_turn_up(sandbox: Sandbox, form: str) -> None:
    soon = IN_APP | {"to": {"type": "user", "id": f"soon-200-{form}"}}
    with pytest.raises(NotFoundError):
        call(form, "send_message", soon)
    assert call(form, "send_message", soon, contact_wait=3).outcome == "sent"
    assert len(sandbox.messages) == 1


@both_forms
def test_a_message_whose_time_has_passed_is_not_sent(sandbox: Sandbox, form: str) -> None:
    with pytest.raises(ExpiredError):
        call(form, "send_message", IN_APP, not_after=time.time() - 1)
    assert sandbox.requests == []


@both_forms
@pytest.mark.parametrize(
    "change", [{"body": None}, {"colour": "red"}, {"message_type": "sms"}, {"to": [{"type": "user", "id": "a"}]}]
)
def test_a_message_that_is_wrong_makes_no_request(sandbox: Sandbox, form: str, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        call(form, "send_message", IN_APP | change)
    assert sandbox.requests == []


@both_forms
def test_a_message_without_a_sender_makes_no_request(connect: Connect, sandbox: Sandbox, form: str) -> None:
    connect(sandbox.connection, admin_id=None)
    with pytest.raises(InvalidInputError, match="from_admin_id"):
        call(form, "send_message", IN_APP)
    assert sandbox.requests == []
    assert call(form, "send_message", IN_APP | {"from_admin_id": 814861}).outcome == "sent"


@both_forms
def test_a_dry_run_checks_everything_and_sends_nothing(
    connect: Connect, logged: Logged, sandbox: Sandbox, form: str
) -> None:
    connect(sandbox.connection, dry_run="true")
    hook = IntercomHook()
    receipts = [call(form, "send_message", message, hook=hook) for message in (IN_APP, WHATSAPP)]
    assert [receipt.outcome for receipt in receipts] == ["dry_run", "dry_run"]
    assert receipts[0].key == "k-1"
    log = logged()
    assert log.count("dry_run") == 1
    assert "secret offer" not in log
    with pytest.raises(InvalidInputError):
        call(form, "send_message", IN_APP | {"body": None}, hook=hook)
    assert sandbox.requests == []


@both_forms
def test_a_status_is_found(form: str) -> None:
    sent = call(form, "send_message", WHATSAPP)

    def look() -> Any:
        try:
            found = call(form, "get_whatsapp_status", sent.whatsapp_message_id)
        except NotFoundError:
            return None
        return found if found.status == "delivered" else None

    found = eventually(look)
    assert found.whatsapp_message_id == sent.whatsapp_message_id
    assert found.error is None


@both_forms
def test_a_status_of_no_message_is_not_found(form: str) -> None:
    with pytest.raises(NotFoundError, match="whatsapp_message_not_found"):
        call(form, "get_whatsapp_status", "wamid.no+such/message==")


@both_forms
@pytest.mark.parametrize("ruleset_id", ["4711", 4711])
def test_the_statuses_of_a_ruleset_are_read_to_the_last(sandbox: Sandbox, form: str, ruleset_id: str | int) -> None:
    sandbox.add_ruleset(4711, 250)
    found = read_all(form, ruleset_id)
    assert len({event.whatsapp_message_id for event in found}) == 250
    assert len(sandbox.requests) == 3


@both_forms
def test_a_ruleset_that_does_not_exist_has_no_statuses(form: str) -> None:
    assert read_all(form, "unknown") == []


@both_forms
def test_a_conversation_is_found_once_the_contact_answered(sandbox: Sandbox, form: str) -> None:
    sent = call(form, "send_message", IN_APP)
    assert call(form, "find_conversation_id", sent.id) is None
    conversation_id = sandbox.reply(sent.id)
    assert eventually(lambda: call(form, "find_conversation_id", sent.id)) == conversation_id


@both_forms
def test_a_contact_is_found_by_your_own_id_or_by_email(form: str) -> None:
    assert call(form, "find_contact_id", "customer/47 11?&#%")
    assert call(form, "find_contact_id", external_id="customer-1") == call(form, "find_contact_id", "customer-1")
    assert call(form, "find_contact_id", email="ada@example.com")
    assert call(form, "find_contact_id", "unknown-1") is None
    assert call(form, "find_contact_id", email="unknown@example.com") is None


@both_forms
@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"external_id": "a", "email": "a@b.c"},
        {"external_id": ""},
        {"external_id": "."},
        {"external_id": ".."},
        {"email": ""},
    ],
)
def test_a_search_without_exactly_one_id_makes_no_request(sandbox: Sandbox, form: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        call(form, "find_contact_id", **wrong)
    assert sandbox.requests == []


@both_forms
@pytest.mark.parametrize("version", ["2.12", "2.0", "1.4"])
def test_a_lookup_that_the_version_does_not_know_makes_no_request(sandbox: Sandbox, form: str, version: str) -> None:
    with pytest.raises(InvalidInputError, match=r"needs api_version 2\.13 or later"):
        call(form, "find_contact_id", "customer-1", hook=IntercomHook(api_version=version))
    assert sandbox.requests == []


@both_forms
def test_a_contact_is_found_by_an_id_or_an_address_with_invisible_characters_around_it(form: str) -> None:
    assert call(form, "find_contact_id", "\ufeffcustomer-1 \u200b") == call(form, "find_contact_id", "customer-1")
    assert call(form, "find_contact_id", email="\u00a0ada@example.com\n")
    with pytest.raises(InvalidInputError, match=r"external_id: holds an invisible character \(U\+200B\)"):
        call(form, "find_contact_id", "customer\u200b-1")


def test_a_hook_that_was_stopped_makes_no_request(sandbox: Sandbox) -> None:
    hook = IntercomHook()
    hook.stop()
    with pytest.raises(StoppedError):
        hook.send_message(IN_APP)
    with hook.get_conn() as client, pytest.raises(StoppedError):
        client.run(calls.me())
    assert sandbox.requests == []


def test_a_client_is_a_context_manager_of_either_kind(sandbox: Sandbox) -> None:
    with IntercomHook().get_conn() as client:
        assert client.run(calls.me()).id == "814860"

    async def ask() -> str:
        async with await IntercomHook().aget_conn() as client:
            return (await client.run(calls.me())).id

    assert asyncio.run(ask()) == "814860"
    assert [request.path for request in sandbox.requests] == ["/me", "/me"]


def test_every_request_says_who_asks_and_for_which_version(sandbox: Sandbox) -> None:
    IntercomHook(api_version="Preview").send_message(IN_APP)
    [request] = sandbox.requests
    assert request.headers["intercom-version"] == "Preview"
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"].startswith("airflow-provider-intercom/")


def test_a_hook_survives_a_server_that_misbehaves(connect: Connect) -> None:
    with Hostile() as server:
        connect(server.connection)
        server.script(rate_limited(), answer(200, b"<html>"), path="/messages/whatsapp/status")
        assert IntercomHook().get_whatsapp_status("wamid.1").status == "delivered"
        assert len(server.requests) == 3
