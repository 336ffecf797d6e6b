"""The form of a connection, and the button that tests it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from intercom_provider.get_provider_info import CONNECTION_FIELDS, FIELD_BEHAVIOUR
from tests.support.eventually import eventually, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercom_provider.sandbox import Sandbox
    from tests.browser.chromium import Browser
    from tests.support.airflow_instance import AirflowInstance

CONN_ID: Final = "intercom_default"
FORM: Final = "//*[@role='dialog']"
EXTRA: Final = f"{FORM}//button[starts-with(normalize-space(),'Extra Fields') and not(contains(.,'JSON'))]"
TOAST: Final = "//*[@data-scope='toast' and @data-part='root']"


@pytest.fixture
def form(page: Browser, airflow: AirflowInstance) -> Iterator[Browser]:
    """Open the form for a new connection to Intercom."""
    page.open("/connections")
    page.click("//button[contains(.,'Add Connection')]")
    page.see(f"{FORM}//input[@name='connection_id']").send_keys(CONN_ID)
    page.see(f"{FORM}//input[@role='combobox']").send_keys("Intercom")
    page.click("//*[@role='option'][normalize-space()='Intercom']")
    page.see(f"{FORM}//input[@name='password']")
    yield page
    if airflow.find(f"/connections/{CONN_ID}"):
        airflow.call("DELETE", f"/connections/{CONN_ID}")


def are_labelled(form: Browser, *labels: str) -> bool:
    # A field that is unfolding is on the page before its text is visible.
    def shown() -> list[str]:
        return [found.text.removesuffix("*").strip() for found in form.all(f"{FORM}//label[normalize-space()]")]

    return until(
        lambda: shown() == ["Connection ID", "Connection Type", *labels], f"{labels}, not {shown()}", within=10
    )


def dropdown(name: str) -> str:
    return f"//*[@id='element_{name}']"


def open_dropdown(form: Browser, name: str) -> None:
    def is_open() -> bool:
        form.click(dropdown(name))
        return bool(eventually(lambda: form.all("//*[@role='option']"), within=5, every=0.1))

    # While the fields above it unfold, a click may close it again.
    until(is_open, f"the options of {name}", within=30)


def fill_in(form: Browser, sandbox: Sandbox) -> None:
    url = httpx.URL(sandbox.url)
    form.see("//input[@name='host']").send_keys(f"{url.scheme}://{url.host}")
    form.see("//input[@name='port']").send_keys(str(url.port))
    form.see("//input[@name='password']").send_keys(sandbox.token)


def save(form: Browser) -> None:
    form.click(f"{FORM}//button[contains(.,'Save')]")
    form.see(f"//tr[contains(.,'{CONN_ID}')]")


def run_connection_test(page: Browser) -> Any:
    page.open("/connections")
    page.resize(480)
    page.click(f"//tr[contains(.,'{CONN_ID}')]//button[@aria-label='Test Connection']")
    toast = page.see(TOAST)
    # Without the pointer over it, it disappears after two seconds.
    page.hover(toast)
    return toast


def test_airflows_own_fields_have_labels_and_placeholders(form: Browser, sandbox: Sandbox) -> None:
    assert are_labelled(form, "Description", "Base URL", "Access token", "Port")
    placeholders: Any = FIELD_BEHAVIOUR["placeholders"]
    for name in ("host", "password", "port"):
        assert form.see(f"//input[@name='{name}']").get_attribute("placeholder") == placeholders[name]

    token = form.see("//input[@name='password']")
    token.send_keys(sandbox.token)
    assert token.get_attribute("type") == "password"
    form.picture("connection-form", form.see(FORM))


def test_the_providers_fields_have_labels_and_defaults(form: Browser) -> None:
    form.click(EXTRA)
    form.see(dropdown("region"))
    form.resize(1200)
    fields: dict[str, Any] = CONNECTION_FIELDS
    assert are_labelled(form, *(entry["label"] for entry in fields.values()))
    for entry in fields.values():
        assert entry["description"] in form.text

    chosen = {}
    for name in ("region", "api_version"):
        chosen[name] = form.see(dropdown(name)).text
        schema = fields[name]["schema"]
        open_dropdown(form, name)
        shown = [found.text for found in form.all("//*[@role='option']")]
        assert shown == [schema.get("values_display", {}).get(value, value) for value in schema["enum"]]
        if name == "region":
            form.picture("connection-form-fields", form.see(FORM))
        form.click("//*[@role='option'][1]")
    assert chosen == {"region": "US", "api_version": "2.17"}
    assert form.see("//input[@name='element_admin_id']").get_attribute("value") == ""
    assert form.see("//input[@name='element_timeout' and @role='spinbutton']").get_attribute("value") == "30"
    assert form.see("//*[@id='switch:element_dry_run']").get_attribute("data-state") == "unchecked"


def test_a_connection_made_in_the_form_works_and_hides_its_token(
    form: Browser, airflow: AirflowInstance, sandbox: Sandbox
) -> None:
    fill_in(form, sandbox)
    form.click(EXTRA)
    open_dropdown(form, "region")
    form.click("//*[@role='option'][.='Europe']")
    form.see("//input[@name='element_admin_id']").send_keys("814860")
    save(form)
    stored = airflow.call("GET", f"/connections/{CONN_ID}")
    assert stored["password"] == "***"
    assert json.loads(stored["extra"]) == {
        "region": "eu",
        "api_version": "2.17",
        "admin_id": "814860",
        "timeout": 30,
        "dry_run": False,
    }

    seen = len(sandbox.requests)
    toast = run_connection_test(form)
    title, text = toast.text.splitlines()
    assert title == "Test Connection Successful"
    assert text == (
        "Connected to workspace 'Sandbox' (id sandbox1, region Europe) with API version 2.17; "
        "the token belongs to admin 814860. "
        "Messages come from Ada Sandbox (admin 814860) unless they name another sender."
    )
    asked = [(request.method, request.path) for request in sandbox.requests[seen:]]
    assert asked == [("GET", "/me"), ("GET", "/admins/814860")]
    form.picture("connection-test")

    sandbox.settings.token, token = "another", sandbox.settings.token
    try:
        toast = run_connection_test(form)
        assert "Test Connection Failed" in toast.text
        assert "does not accept this access token" in toast.text
    finally:
        sandbox.settings.token = token
    assert token not in form.source
