from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from .wire import email, in_app, whatsapp

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["errors"][0]["code"]


def to(name: str) -> dict[str, Any]:
    return in_app(to={"type": "user", "user_id": name})


REFUSALS = {
    "plan": (403, "api_plan_restricted"),
    "permission": (401, "token_unauthorized"),
    "error": (500, "server_error"),
    "unavailable": (503, "service_unavailable"),
}


@pytest.mark.parametrize("fault", REFUSALS)
def test_a_magic_recipient_is_refused(sandbox: Sandbox, api: httpx.Client, fault: str) -> None:
    assert refusal(api.post("/messages", json=to(f"{fault}-ada"))) == REFUSALS[fault]
    assert sandbox.messages == []
    assert api.post("/messages", json=to(f"{fault}ada")).status_code == 200


@pytest.mark.parametrize(("ending", "fault"), [("99906", "plan"), ("99907", "permission"), ("99908", "error")])
def test_a_magic_phone_is_refused(sandbox: Sandbox, api: httpx.Client, ending: str, fault: str) -> None:
    assert refusal(api.post("/messages", json=whatsapp(f"+4477009{ending}"))) == REFUSALS[fault]
    assert sandbox.messages == []


@pytest.mark.parametrize("wire", [to("cut-ada"), whatsapp("+447700999909")])
def test_a_cut_connection_leaves_the_message(sandbox: Sandbox, api: httpx.Client, wire: dict[str, Any]) -> None:
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        api.post("/messages", json=wire)
    assert [message.wire for message in sandbox.messages] == [wire]
    assert [request.status for request in sandbox.requests] == [0]
    assert api.get("/me").status_code == 200


def test_only_emails_are_refused_by_who_has_unsubscribed(sandbox: Sandbox, api: httpx.Client) -> None:
    name = {"type": "user", "user_id": "unsubscribed-ada"}
    refused = api.post("/messages", json=email(to=name))
    assert refusal(refused) == (403, "action_forbidden")
    assert refused.json()["errors"][0]["message"] == "This user is unsubscribed from emails"
    assert sandbox.messages == []
    assert api.post("/messages", json=in_app(to=name)).status_code == 200
    created = api.post("/contacts", json={"email": "ben@example.com", "unsubscribed_from_emails": True}).json()
    assert created["unsubscribed_from_emails"]
    assert api.post("/messages", json=email(to={"type": "user", "id": created["id"]})).status_code == 403


def test_an_admin_without_a_seat_cannot_send(sandbox: Sandbox, api: httpx.Client) -> None:
    [admin] = [each for each in api.get("/admins").json()["admins"] if not each["has_inbox_seat"]]
    assert api.get(f"/admins/{admin['id']}").json() == admin
    refused = api.post("/messages", json=in_app(**{"from": {"type": "admin", "id": admin["id"]}}))
    assert refusal(refused) == (405, "action_forbidden")
    assert sandbox.messages == []


def test_a_fault_is_ordered_for_the_next_requests(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.order_fault("unavailable", 2)
    assert [api.get("/me").status_code for _ in range(3)] == [503, 503, 200]


def test_a_fault_is_ordered_for_one_endpoint_until_the_reset(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.order_fault("permission", endpoint="POST /messages")
    assert {api.post("/messages", json=in_app()).status_code for _ in range(3)} == {401}
    assert api.get("/me").status_code == 200
    assert sandbox.messages == []
    sandbox.reset()
    assert api.post("/messages", json=in_app()).status_code == 200


def test_requests_without_valid_credentials_use_no_order_up(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.order_fault("error", 1)
    assert api.get("/me", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert api.get("/me").status_code == 500


def test_another_process_orders_faults(api: httpx.Client, sandbox: Sandbox) -> None:
    order = {"fault": "cut", "requests": 2, "endpoint": "POST /messages"}
    assert api.post("/_sandbox/faults", json=order).json() == {"faults": [order]}
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        api.post("/messages", json=in_app())
    assert len(sandbox.messages) == 1
    assert api.get("/_sandbox/faults").json()["faults"][0]["requests"] == 1
    assert api.post("/_sandbox/faults", json={**order, "requests": 0}).json() == {"faults": []}
    assert api.post("/messages", json=in_app()).status_code == 200


@pytest.mark.parametrize(
    "order", [{}, {"fault": "fire"}, {"fault": "cut", "requests": -1}, {"fault": "cut", "endpoint": 1}]
)
def test_an_order_that_makes_no_sense_is_refused(api: httpx.Client, order: dict[str, object]) -> None:
    assert refusal(api.post("/_sandbox/faults", json=order)) == (400, "parameter_invalid")
