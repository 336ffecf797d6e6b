"""The provider's metadata, the connection form and the test button."""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import airflow
import jsonschema  # type: ignore[import-untyped]
import pytest

from intercom_provider.get_provider_info import CONNECTION_FIELDS, get_provider_info
from intercom_provider.hooks.intercom import IntercomHook
from tests.support.hostile import (
    Hostile,
    answer,
    connection_to,
    dripping_headers,
    error,
    html,
    late,
    never_accepting,
    rate_limited,
    redirect,
    refusing,
)

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox

    from .conftest import Connect


def test_the_metadata_is_what_airflow_defines() -> None:
    folder = Path(next(iter(airflow.__path__)))
    schema = json.loads((folder / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)
    json.dumps(get_provider_info())


def test_every_module_and_class_in_the_metadata_exists() -> None:
    info: dict[str, Any] = get_provider_info()
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for entry in info[kind]:
            for name in entry["python-modules"]:
                assert importlib.import_module(name).__file__
    [connection] = info["connection-types"]
    module, _, name = connection["hook-class-name"].rpartition(".")
    assert getattr(importlib.import_module(module), name) is IntercomHook
    assert connection["connection-type"] == IntercomHook.conn_type
    assert connection["hook-name"] == IntercomHook.hook_name


def test_every_field_of_the_form_is_one_that_the_hook_reads(connect: Connect, sandbox: Sandbox) -> None:
    defaults = {name: entry["schema"].get("default") for name, entry in _fields().items()}
    connect({**sandbox.connection, "extra": defaults})
    untouched = IntercomHook().settings
    connect({**sandbox.connection, "extra": {}})
    assert untouched == IntercomHook().settings


@pytest.mark.parametrize("name", ["region", "api_version"])
def test_every_choice_of_the_form_is_one_that_the_hook_takes(connect: Connect, sandbox: Sandbox, name: str) -> None:
    for choice in _fields()[name]["schema"]["enum"]:
        connect({**sandbox.connection, "extra": {name: choice}})
        assert getattr(IntercomHook().settings, name) == choice


def _fields() -> dict[str, Any]:
    return CONNECTION_FIELDS


def test_airflows_own_fields_look_the_same_in_every_version() -> None:
    info: dict[str, Any] = get_provider_info()
    [connection] = info["connection-types"]
    behaviour = IntercomHook.get_ui_field_behaviour()
    assert {name.replace("_", "-"): value for name, value in behaviour.items()} == connection["ui-field-behaviour"]


class Field:
    """The arguments of a widget of the form."""

    def __init__(self, **options: Any) -> None:
        self.options = options


@pytest.fixture
def wtforms(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Stand in for the library that only an API server of Airflow 3.1 has."""
    library, validators = ModuleType("wtforms"), ModuleType("wtforms.validators")
    for name in ("BooleanField", "IntegerField", "StringField"):
        setattr(library, name, type(name, (Field,), {}))
    vars(validators).update(Optional=lambda: "optional", any_of=lambda choices: ("any of", choices))
    monkeypatch.setitem(sys.modules, "wtforms", library)
    monkeypatch.setitem(sys.modules, "wtforms.validators", validators)
    return library


@pytest.mark.usefixtures("wtforms")
def test_the_widgets_come_from_the_same_table() -> None:
    widgets = IntercomHook.get_connection_form_widgets()
    assert list(widgets) == list(CONNECTION_FIELDS)
    kinds = {"boolean": "BooleanField", "integer": "IntegerField", "string": "StringField"}
    for name, entry in _fields().items():
        options = widgets[name].options
        assert type(widgets[name]).__name__ == kinds[entry["schema"]["type"][0]]
        assert (options["label"], options["description"]) == (entry["label"], entry["description"])
        assert options["default"] == entry["schema"].get("default")
        assert (("any of", entry["schema"].get("enum")) in options["validators"]) == ("enum" in entry["schema"])


def test_the_test_button_says_what_a_person_wants_to_know(connect: Connect, sandbox: Sandbox) -> None:
    connect(sandbox.connection)
    worked, text = IntercomHook().test_connection()
    assert worked
    app = get_app(sandbox)
    for part in (app["name"], app["id_code"], app["region"], "2.17", "814860"):
        assert part in text
    assert "region is" not in text
    assert sandbox.token not in text
    assert len(sandbox.requests) == 3


def get_app(sandbox: Sandbox) -> dict[str, Any]:
    import httpx

    headers = {"Authorization": f"Bearer {sandbox.token}", "Accept": "application/json", "Intercom-Version": "2.17"}
    app: dict[str, Any] = httpx.get(f"{sandbox.url}/me", headers=headers).json()["app"]
    return app


@pytest.mark.parametrize(("region", "configured"), [("us", "us"), ("eu", "eu"), ("au", "au")])
def test_the_right_region_is_not_reported(connect: Connect, sandbox: Sandbox, region: Any, configured: str) -> None:
    sandbox.settings.region = region
    connect(sandbox.connection, region=configured)
    worked, text = IntercomHook().test_connection()
    assert (worked, "region is" in text) == (True, False)


def test_another_region_is_reported(connect: Connect, sandbox: Sandbox) -> None:
    sandbox.settings.region = "eu"
    connect(sandbox.connection, region="us")
    worked, text = IntercomHook().test_connection()
    assert worked
    assert "The connection's region is us, the workspace's is Europe" in text


def test_a_missing_sender_and_a_dry_run_are_reported(connect: Connect, sandbox: Sandbox) -> None:
    connect(sandbox.connection, admin_id=None, dry_run=True)
    worked, text = IntercomHook().test_connection()
    assert worked
    assert "from_admin_id" in text
    assert "Dry run is on" in text


@pytest.mark.parametrize("app", [None, {}, {"region": None, "name": None}, {"region": "Mars", "new": 1}])
def test_a_token_of_an_odd_workspace_works_all_the_same(connect: Connect, app: object) -> None:
    with Hostile() as server:
        connect(server.connection)
        server.always(answer(200, {"type": "admin", "id": 7, "app": app}))
        assert IntercomHook().test_connection()[0]


def test_a_wrong_token_explains_itself(connect: Connect, sandbox: Sandbox) -> None:
    connect({**sandbox.connection, "password": "not-the-right-token"})
    worked, text = IntercomHook().test_connection()
    assert not worked
    for part in ("does not accept this access token", "401", "Developer Hub", "request id"):
        assert part in text
    assert "not-the-right-token" not in text


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (error(403, "forbidden", "No scope"), "regenerated"),
        (error(401, "token_unauthorized"), "regenerated"),
        (html(200), "not the expected JSON"),
        (html(404), "not Intercom's"),
        (answer(500), "500"),
        (rate_limited(retry_after="1"), "429"),
        (redirect(), "redirect"),
        (answer(200, {"type": "error"}), "not the expected JSON"),
    ],
)
def test_it_asks_once_and_says_what_went_wrong(connect: Connect, act: Any, words: str) -> None:
    with Hostile() as server:
        connect(server.connection)
        server.always(act)
        worked, text = IntercomHook().test_connection()
        assert (worked, len(server.requests), server.elsewhere.requests) == (False, 1, [])
        assert words in text
        assert server.token not in text


@pytest.mark.parametrize("act", [late(5), dripping_headers(0.1)])
def test_it_does_not_wait_longer_than_the_connection_says(connect: Connect, act: Any) -> None:
    with Hostile() as server:
        connect(connection_to(server.url, timeout=0.5))
        server.always(act)
        started = time.monotonic()
        worked, text = IntercomHook().test_connection()
        assert time.monotonic() - started < 3
        assert (worked, "0.5 s" in text) == (False, True)


def test_it_does_not_wait_long_for_a_host_that_does_not_answer(connect: Connect) -> None:
    with never_accepting() as url:
        connect(connection_to(url, timeout=600))
        started = time.monotonic()
        assert not IntercomHook().test_connection()[0]
        assert time.monotonic() - started < 5


def test_a_host_where_nobody_listens_is_reported(connect: Connect) -> None:
    with refusing() as url:
        connect(connection_to(url))
        worked, text = IntercomHook().test_connection()
    assert (worked, "ConnectError" in text) == (False, True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"password": ""}, "password"),
        ({"host": "http://proxy.example.com"}, "allow_http"),
        pytest.param({"extra": "{"}, "extra", marks=pytest.mark.needs("connections_as_written")),
    ],
)
def test_a_wrong_field_of_the_connection_is_reported(
    connect: Connect, sandbox: Sandbox, change: dict[str, Any], words: str
) -> None:
    connect(sandbox.connection | change)
    worked, text = IntercomHook().test_connection()
    assert (worked, words in text) == (False, True)


def test_a_connection_that_does_not_exist_is_reported() -> None:
    worked, text = IntercomHook("no_such_connection").test_connection()
    assert (worked, "no_such_connection" in text) == (False, True)
