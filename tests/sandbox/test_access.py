from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
import pytest

from .wire import in_app, sms, whatsapp

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
        "token_unauthorized",
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


def test_sms_needs_preview(api: httpx.Client) -> None:
    assert error_of(api.post("/messages", json=sms()))[2] == REFUSED
    assert api.post("/messages", json=sms(), headers={"Intercom-Version": "Preview"}).status_code == 200


@pytest.mark.parametrize("field", ["to", "cc", "bcc"])
def test_lists_of_recipients_need_version_2_14(api: httpx.Client, field: str) -> None:
    wire = in_app(**{field: [{"type": "user", "id": "1"}, {"type": "lead", "id": "2"}]})
    old = api.post("/messages", json=wire, headers={"Intercom-Version": "2.13"})
    assert error_of(old)[:2] == (400, "parameter_invalid")
    assert api.post("/messages", json=wire, headers={"Intercom-Version": "2.14"}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/nothing", "/messages/", "/contacts/find_by_external_id/"])
def test_an_unknown_path_is_not_found(api: httpx.Client, path: str) -> None:
    assert error_of(api.get(path))[:2] == (404, "not_found")


def test_a_known_path_with_another_method_is_not_found(api: httpx.Client) -> None:
    assert error_of(api.get("/messages"))[:2] == (404, "not_found")


def test_every_reply_has_the_headers_of_the_rate_limit_and_the_date(api: httpx.Client) -> None:
    for response in (api.get("/me"), api.get("/nothing"), api.get("/me", headers={"Authorization": "no"})):
        reset = int(response.headers["X-RateLimit-Reset"])
        assert response.headers["X-RateLimit-Limit"] == "1667"
        assert 0 <= int(response.headers["X-RateLimit-Remaining"]) < 1667
        assert reset % 10 == 0
        assert reset - 11 < time.time() < reset + 1
        assert abs(parsedate_to_datetime(response.headers["Date"]).timestamp() - time.time()) < 5


def test_requests_above_the_limit_are_refused_until_the_window_ends(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.settings.rate_limit = 3
    # Twice the limit and one more, because a window may end in between.
    responses = [api.post("/messages", json=in_app()) for _ in range(7)]
    refused = [each for each in responses if each.status_code != 200]
    assert error_of(refused[0])[:2] == (429, "rate_limit_exceeded")
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
    for admin in admins:
        wire = in_app(**{"from": {"type": "admin", "id": admin["id"]}})
        assert api.post("/messages", json=wire).status_code == 200
