"""How the hook reads a connection, in every form in which it is given."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.hooks.intercom import IntercomHook

if TYPE_CHECKING:
    from intercom_provider.api.settings import Settings

    from .conftest import Connect, Logged

TOKEN = "dG9rOmFiY2RlZg=="
HTTP_ELSEWHERE = {"conn_type": "intercom", "password": TOKEN, "host": "http://proxy.example.com"}


EXTRA = '{"region": "eu", "api_version": "2.16", "admin_id": 7, "timeout": 5, "dry_run": "1"}'


def json_with(**extra: Any) -> dict[str, Any]:
    return {"conn_type": "intercom", "password": TOKEN, "extra": extra}


def uri_with(query: str) -> str:
    return f"intercom://:{quote(TOKEN, safe='')}@/?{query}"


def settings(**options: Any) -> Settings:
    return IntercomHook(**options).settings


def problem(**options: Any) -> str:
    with pytest.raises(InvalidInputError) as caught:
        settings(**options)
    assert TOKEN not in str(caught.value)
    assert "connection intercom_default" in str(caught.value)
    return str(caught.value)


def test_a_token_is_all_that_is_needed(connect: Connect) -> None:
    connect({"conn_type": "intercom", "password": TOKEN})
    found = settings()
    assert (found.token, found.url, found.api_version) == (TOKEN, "https://api.intercom.io", "2.17")
    assert (found.admin_id, found.timeout, found.dry_run) == (None, 30.0, False)


@pytest.mark.parametrize(
    "connection",
    [
        json_with(region="eu", api_version="2.16", admin_id="7", timeout=5, dry_run=True),
        json_with(region="EU", api_version=2.16, admin_id=7, timeout="5", dry_run="true"),
        {**json_with(), "extra": EXTRA},
        uri_with("region=eu&api_version=2.16&admin_id=7&timeout=5&dry_run=true"),
        uri_with("region=eu&api_version=2.16&admin_id=7&timeout=5.0&dry_run=True"),
        uri_with(f"__extra__={quote(EXTRA)}"),
    ],
)  # fmt: skip
def test_extra_is_read_in_every_form(connect: Connect, connection: dict[str, Any] | str) -> None:
    connect(connection)
    found = settings()
    assert (found.region, found.api_version, str(found.admin_id)) == ("eu", "2.16", "7")
    assert (found.timeout, found.dry_run) == (5.0, True)
    assert found.token == TOKEN


@pytest.mark.parametrize("false", [False, "false", "False", "0", 0, "no", "off", None, "", " ", "None"])
def test_what_is_false_is_false_also_as_text(connect: Connect, false: object) -> None:
    connect(json_with(dry_run=false, allow_http=false))
    assert settings().dry_run is False
    connect(HTTP_ELSEWHERE, allow_http=false)
    assert "allow_http" in problem()


def test_false_in_a_uri_is_false(connect: Connect) -> None:
    connect(uri_with("dry_run=false"))
    assert settings().dry_run is False


@pytest.mark.parametrize("unset", [None, "", " ", "None"])
def test_what_is_empty_is_unset(connect: Connect, unset: object) -> None:
    names = ("region", "api_version", "admin_id", "timeout", "dry_run", "allow_http")
    connect({**json_with(**dict.fromkeys(names, unset)), "host": "" if unset is None else unset})
    found = settings()
    connect(json_with())
    assert found == settings()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"extra": {"region": "uk"}}, "region"),
        ({"extra": {"region": ["us"]}}, "region"),
        ({"extra": {"api_version": "latest"}}, "api_version"),
        ({"extra": {"admin_id": True}}, "admin_id"),
        ({"extra": {"admin_id": {"id": 1}}}, "admin_id"),
        ({"extra": {"timeout": 0}}, "timeout"),
        ({"extra": {"timeout": -1}}, "timeout"),
        ({"extra": {"timeout": "soon"}}, "timeout"),
        ({"extra": {"timeout": "inf"}}, "timeout"),
        ({"extra": {"timeout": True}}, "timeout"),
        ({"extra": {"dry_run": "perhaps"}}, "dry_run"),
        ({"extra": {"dry_run": 2}}, "dry_run"),
        ({"extra": {"allow_http": "perhaps"}}, "allow_http"),
        pytest.param({"extra": '{"dry_run": true,}'}, "extra", marks=pytest.mark.needs("connections_as_written")),
        pytest.param({"extra": '["dry_run"]'}, "extra", marks=pytest.mark.needs("connections_as_written")),
        pytest.param({"extra": "dry_run=true"}, "extra", marks=pytest.mark.needs("connections_as_written")),
        pytest.param(
            {"extra": '{"dry_run": true, "dry_run": false}'}, "extra", marks=pytest.mark.needs("connections_as_written")
        ),
        pytest.param({"extra": "5"}, "extra", marks=pytest.mark.needs("connections_as_written")),
        ({"password": ""}, "password"),
        ({"password": "  "}, "password"),
        ({"password": None}, "password"),
        ({"password": f"Bearer {TOKEN}"}, "password"),
        ({"password": f"{TOKEN}\u00e9"}, "password"),
        ({"password": f"{TOKEN}\r\nX-Evil: 1"}, "password"),
        ({"host": "http://proxy.example.com"}, "host"),
        ({"host": "https://user:hunter2@proxy.example.com"}, "host"),
        ({"host": "ftp://proxy.example.com"}, "host"),
        ({"host": "proxy.example.com", "port": 70_000}, "port"),
        ({"host": "http://127.0.0.1:8765", "port": 443}, "port"),
        ({"port": 8443}, "port"),
    ],
)
def test_an_error_names_the_wrong_field(connect: Connect, change: dict[str, Any], field: str) -> None:
    connect(json_with() | change)
    assert f": {field}: " in problem()
    assert "Input should" not in problem()  # pydantic's words do not say what to write


@pytest.mark.parametrize("around", [f" {TOKEN}", f"{TOKEN}\n", f"\t{TOKEN} "])
def test_space_around_a_pasted_token_is_dropped(connect: Connect, around: str) -> None:
    connect({"conn_type": "intercom", "password": around})
    assert settings().token == TOKEN


def test_the_hooks_own_region_and_version_come_first(connect: Connect) -> None:
    connect(json_with(region="eu", api_version="2.16"))
    assert settings(region="au").url == "https://api.au.intercom.io"
    assert settings(api_version="unstable").api_version == "Preview"
    assert settings(region="", api_version="None").api_version == "2.16"
    assert "region" in problem(region="uk")


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("proxy.example.com", None, "https://proxy.example.com"),
        ("proxy.example.com", 8443, "https://proxy.example.com:8443"),
        ("http://127.0.0.1", 8765, "http://127.0.0.1:8765"),
        ("https://proxy.example.com/intercom", None, "https://proxy.example.com/intercom"),
    ],
)
def test_a_host_replaces_the_regions(connect: Connect, host: str, port: int | None, url: str) -> None:
    connect({**json_with(region="eu"), "host": host, "port": port})
    assert settings().url == url


def test_plain_http_to_another_machine_warns(connect: Connect, logged: Logged) -> None:
    connect(HTTP_ELSEWHERE, allow_http="true")
    assert settings().url == "http://proxy.example.com"
    log = logged()
    assert "plain http" in log
    assert TOKEN not in log


def test_plain_http_to_this_machine_does_not_warn(connect: Connect, logged: Logged) -> None:
    connect({**json_with(allow_http=True), "host": "http://127.0.0.1:1"})
    assert settings().url == "http://127.0.0.1:1"
    assert "plain http" not in logged()


def test_unknown_keys_in_extra_warn_without_their_values(connect: Connect, logged: Logged) -> None:
    connect(json_with(regoin="eu", api_token="hunter2"))
    assert settings().region == "us"
    log = logged()
    assert "api_token, regoin" in log
    assert "hunter2" not in log


@pytest.mark.parametrize("name", ["dry_rn", "dryrun", "dry-run", "Dry_Run", "dryRun", "dry_runs", "dr_run", " dry_run"])
@pytest.mark.parametrize("value", [True, False, "true"])
def test_a_misspelt_dry_run_is_an_error(connect: Connect, name: str, value: object) -> None:
    connect(json_with(**{name: value}))
    assert "did you mean dry_run?" in problem()
    assert f"extra: {name}" in problem()


@pytest.mark.parametrize(
    ("name", "meant"),
    [("regoin", "region"), ("admin", "admin_id"), ("adminId", "admin_id"), ("api-version", "api_version")],
)
def test_a_misspelt_name_is_told_with_the_name_that_was_meant(
    connect: Connect, logged: Logged, name: str, meant: str
) -> None:
    connect(json_with(**{name: "7"}))
    settings()
    assert f"unknown in extra, ignored: {name} (did you mean {meant}?)" in logged()


def test_a_connection_is_read_once(connect: Connect) -> None:
    connect(json_with(region="eu"))
    hook = IntercomHook()
    assert hook.settings.region == "eu"
    connect(json_with(region="au"))
    assert hook.settings.region == "eu"
    assert asyncio.run(hook.aget_settings()).region == "eu"


def test_it_is_read_the_same_where_nothing_may_block(connect: Connect) -> None:
    connect(json_with(region="eu", admin_id=7))
    assert asyncio.run(IntercomHook().aget_settings()) == settings()


def test_making_a_hook_reads_nothing() -> None:
    assert IntercomHook("there_is_no_such_connection").intercom_conn_id == "there_is_no_such_connection"


def test_another_connection_may_be_named(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(json_with(region="eu"))
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(json_with(region="au")))
    assert settings(intercom_conn_id="other").region == "au"
