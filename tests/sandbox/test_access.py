from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
import pytest

from .wire import email, in_app, sms, whatsapp

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox

REFUSED = "Requested resource is not available in current API version"


def error_of(response: httpx.Response) -> tuple[int, str, str]:
    body = response.json()
    assert body["type"] == "error.list"
    assert UUID(body["request_id"])
    return response.status_code, body["errors"][0]["code"], body["errors"][0]["message"]


@pytest.mark.parametrize("header", ["", "Bearer wrong", "sandbox-token", "Basic sandbox-token"])
def test_a_request_without_the_token_is_unauthorized(api: httpx.Client, header: str) -> None:
    assert error_of(api.get("/me", headers={"Authorization": header})) == (
        401,
        "unauthorized",
        "Access Token Invalid",
    )


def test_the_old_token_is_refused_after_a_change(sandbox: Sandbox, api: httpx.Client) -> None:
    assert api.get("/me").status_code == 200
    sandbox.settings.token = "regenerated"
    assert api.get("/me").status_code == 401


def test_a_request_that_does_not_accept_json_is_refused(api: httpx.Client) -> None:
    request = api.build_request("GET", "/me")
    del request.headers["Accept"]
    assert error_of(api.send(request))[:2] == (406, "media_type_not_acceptable")
    assert api.get("/me", headers={"Accept": "text/html"}).status_code == 406
    assert api.get("/me", headers={"Accept": "*/*"}).status_code == 200


@pytest.mark.parametrize("version", ["2.99", "preview", "17", ""])
def test_an_unknown_version_is_refused(api: httpx.Client, version: str) -> None:
    response = api.get("/me", headers={"Intercom-Version": version})
    assert error_of(response)[:2] == (400, "intercom_version_invalid")


@pytest.mark.parametrize("version", ["2.15", "1.0", None])
@pytest.mark.parametrize(
    ("method", "path", "json"),
    [
        ("GET", "/messages/status?ruleset_id=1", None),
        ("GET", "/messages/whatsapp/status?message_id=x", None),
        ("POST", "/messages", whatsapp()),
        ("POST", "/messages", sms()),
    ],
)
def test_a_request_for_a_feature_of_a_later_version_is_refused(
    sandbox: Sandbox, api: httpx.Client, *, version: str | None, method: str, path: str, json: object
) -> None:
    request = api.build_request(method, path, json=json)
    del request.headers["Intercom-Version"]
    if version:
        request.headers["Intercom-Version"] = version
    assert error_of(api.send(request)) == (400, "intercom_version_invalid", REFUSED)
    assert sandbox.messages == []


@pytest.mark.parametrize("version", ["2.16", "2.17", "Preview", "Unstable"])
def test_whatsapp_needs_version_2_16(sandbox: Sandbox, api: httpx.Client, version: str) -> None:
    headers = {"Intercom-Version": version}
    assert api.post("/messages", json=whatsapp(), headers=headers).status_code == 200
    assert api.get("/messages/status?ruleset_id=1", headers=headers).status_code == 200
    assert len(sandbox.messages) == 1


def test_requests_without_a_version_have_the_workspaces_own(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.settings.default_version = "2.17"
    del api.headers["Intercom-Version"]
    assert api.post("/messages", json=whatsapp()).json()["whatsapp_message_id"]


def test_sms_needs_preview(api: httpx.Client) -> None:
    assert error_of(api.post("/messages", json=sms()))[2] == REFUSED
    assert api.post("/messages", json=sms(), headers={"Intercom-Version": "Preview"}).status_code == 200


@pytest.mark.parametrize("field", ["to", "cc", "bcc"])
def test_lists_of_recipients_need_version_2_14(api: httpx.Client, field: str) -> None:
    wire = in_app(**{field: [{"type": "user", "id": "1"}, {"type": "lead", "id": "lead-2"}]})
    old = api.post("/messages", json=wire, headers={"Intercom-Version": "2.13"})
    assert error_of(old)[:2] == (400, "parameter_invalid")
    assert api.post("/messages", json=wire, headers={"Intercom-Version": "2.14"}).status_code == 200


@pytest.mark.parametrize(
    ("field", "value", "newest_without", "oldest_with"),
    [
        ("cc", {"type": "user", "id": "ben"}, "2.13", "2.14"),
        ("bcc", {"type": "lead", "id": "lead-ben"}, "2.13", "2.14"),
        ("created_at", 1_700_000_000, "2.10", "2.11"),
        ("bcc", {"type": "user", "email": "ben@example.com"}, "1.4", "Preview"),
        ("created_at", 0, "2.0", "2.17"),
    ],
)
def test_a_field_of_a_later_version_is_refused(
    sandbox: Sandbox, api: httpx.Client, field: str, value: object, newest_without: str, oldest_with: str
) -> None:
    for wire in (in_app(**{field: value}), email(**{field: value})):
        refused = api.post("/messages", json=wire, headers={"Intercom-Version": newest_without})
        assert error_of(refused)[:2] == (400, "parameter_invalid")
        assert refused.json()["errors"][0]["field"] == field
        assert api.post("/messages", json={**wire, field: [] if "cc" in field else 1}).status_code == 200
        assert len(sandbox.messages) == 1
        assert api.post("/messages", json=wire, headers={"Intercom-Version": oldest_with}).status_code == 200
        sandbox.reset()


def test_a_contact_is_found_by_external_id_from_version_2_13(api: httpx.Client) -> None:
    path = "/contacts/find_by_external_id/7"
    refused = api.get(path, headers={"Intercom-Version": "2.12"})
    assert error_of(refused) == (400, "intercom_version_invalid", REFUSED)
    assert api.get(path, headers={"Intercom-Version": "2.13"}).status_code == 200


@pytest.mark.parametrize("path", ["/nothing", "/messages/", "/contacts/find_by_external_id/"])
def test_an_unknown_path_is_not_found(api: httpx.Client, path: str) -> None:
    assert error_of(api.get(path))[:2] == (404, "not_found")


def test_a_known_path_with_another_method_is_not_found(api: httpx.Client) -> None:
    assert error_of(api.get("/messages"))[:2] == (404, "not_found")
    assert error_of(api.get("/messages", headers={"Accept": "text/html"}))[:2] == (406, "media_type_not_acceptable")


def test_every_reply_to_an_authorized_request_has_the_headers_of_the_rate_limit(api: httpx.Client) -> None:
    for response in (api.get("/me"), api.get("/nothing"), api.get("/me", headers={"Accept": "text/html"})):
        reset = int(response.headers["X-RateLimit-Reset"])
        assert response.headers["X-RateLimit-Limit"] == "1667"
        assert 0 <= int(response.headers["X-RateLimit-Remaining"]) < 1667
        assert reset % 10 == 0
        assert reset - 11 < time.time() < reset + 1
        assert abs(parsedate_to_datetime(response.headers["Date"]).timestamp() - time.time()) < 5


def test_requests_without_valid_credentials_take_nothing_from_the_limit(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.settings.rate_limit = 2
    for header in ("", "Bearer wrong"):
        for _ in range(5):
            refused = api.get("/me", headers={"Authorization": header})
            assert refused.status_code == 401
            assert not [name for name in refused.headers if "ratelimit" in name]
    assert api.get("/me").headers["X-RateLimit-Remaining"] in {"1", "0"}
    assert api.get("/me").status_code == 200


def test_requests_above_the_limit_are_refused_until_the_window_ends(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.settings.rate_limit = 3
    # Twice the limit and one more, because a window may end in between.
    responses = [api.post("/messages", json=in_app()) for _ in range(7)]
    refused = [each for each in responses if each.status_code != 200]
    assert error_of(refused[0]) == (429, "rate_limit_exceeded", "Exceeded rate limit of 3 in 10_seconds")
    assert refused[0].headers["X-RateLimit-Remaining"] == "0"
    assert len(sandbox.messages) == len(responses) - len(refused)


def test_without_a_limit_replies_have_no_rate_limit_headers(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.settings.rate_limit = 0
    assert "X-RateLimit-Limit" not in api.get("/me").headers


def test_latency_delays_the_reply_but_not_the_message(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.settings.latency = 0.5
    with pytest.raises(httpx.ReadTimeout):
        api.post("/messages", json=in_app(), timeout=0.3)
    assert len(sandbox.messages) == 1


def test_me_returns_the_workspace_and_its_region(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.settings.region = "eu"
    me = api.get("/me").json()
    assert me["type"] == "admin"
    assert me["id"] == sandbox.connection["extra"]["admin_id"]
    assert me["app"]["region"] == "Europe"
    assert me["app"]["id_code"]


def test_admins_lists_those_who_can_send(api: httpx.Client) -> None:
    admins = api.get("/admins").json()["admins"]
    for admin in (each for each in admins if each["has_inbox_seat"]):
        wire = in_app(**{"from": {"type": "admin", "id": admin["id"]}})
        assert api.post("/messages", json=wire).status_code == 200
