"""The documentation's tables say what the code says."""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider import exceptions
from intercom_provider.api import errors
from intercom_provider.api.models import Receipt
from intercom_provider.api.settings import REGIONS, parse_base_url
from intercom_provider.compat import conf
from intercom_provider.get_provider_info import CONNECTION_FIELDS
from intercom_provider.hooks.intercom import IntercomHook
from intercom_provider.operators.message import SendMessageOperator
from intercom_provider.sensors.message_status import MessageStatusSensor

from .pages import ROOT, names, section, table

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox

README = ROOT / "README.md"
DOCS = ROOT / "docs"


def fields(owner: type) -> dict[str, Any]:
    found = inspect.signature(owner.__init__).parameters  # type: ignore[misc]  # of the class itself
    return {
        name: field.default
        for name, field in found.items()
        if name != "self" and field.kind is not inspect.Parameter.VAR_KEYWORD
    }


def written_default(cell: str) -> Any:
    if cell == "required":
        return inspect.Parameter.empty
    (text,) = names(cell)
    if text == "[operators] default_deferrable":
        return conf.getboolean("operators", "default_deferrable", fallback=False)
    return ast.literal_eval(text)


@pytest.mark.parametrize("owner", [SendMessageOperator, MessageStatusSensor])
def test_every_field_stands_in_its_table_with_its_default(owner: type) -> None:
    written = {
        name: written_default(default)
        for cell, default, _ in table(section(README, owner.__name__), "field")
        for name in names(cell)
    }
    true = fields(owner)
    assert written == true
    assert list(written) == list(true)
    assert {name: type(default) for name, default in written.items()} == {
        name: type(default) for name, default in true.items()
    }


def test_the_fields_that_are_no_templates_are_named() -> None:
    _, _, sentence = section(README, "SendMessageOperator").partition("All are templated but ")
    assert set(names(sentence.partition(".")[0])) == fields(SendMessageOperator).keys() - set(
        SendMessageOperator.template_fields
    )


def test_the_xcom_of_both_is_listed(run_dag: Any, sandbox: Sandbox) -> None:
    with DAG("keys") as dag:
        send = SendMessageOperator(task_id="send", message_type="whatsapp", to={"phone": "+447900123456"}, template="t")
        MessageStatusSensor(task_id="wait", sent=send.output)
    run = run_dag(dag)
    assert len(sandbox.messages) == 1
    for owner, task_id in ((SendMessageOperator, "send"), (MessageStatusSensor, "wait")):
        written = [name for cell, _ in table(section(README, owner.__name__), "key") for name in names(cell)]
        assert {*written, "return_value"} == run.xcoms(task_id).keys()
    assert set(Receipt.model_fields) == run.xcoms("send").keys() - {"return_value"}


def test_the_connections_fields_have_the_defaults_that_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table(section(README, "The connection"), "field")
    defaults = {names(cell)[0]: (where, default) for cell, where, default, _ in rows}
    in_extra = {name: written_default(default) for name, (where, default) in defaults.items() if where == "extra"}
    assert defaults.keys() - in_extra.keys() == {"password", "host", "port"}
    assert in_extra.keys() == CONNECTION_FIELDS.keys() | {"allow_http"}
    monkeypatch.setenv("AIRFLOW_CONN_BARE", '{"conn_type": "intercom", "password": "token"}')
    settings = IntercomHook("bare").settings
    assert in_extra.pop("allow_http") is inspect.signature(parse_base_url).parameters["allow_http"].default
    assert in_extra == {name: getattr(settings, name) for name in in_extra}


def test_the_regions_are_listed() -> None:
    rows = table(section(DOCS / "connection.md", "Region"), "`region`")
    assert {names(region)[0]: names(url)[0] for region, url in rows} == REGIONS


def call(name: str) -> str:
    """Write a method of the hook as its table does: without types."""
    found = inspect.signature(getattr(IntercomHook, name))
    parameters = [
        field.replace(annotation=inspect.Parameter.empty) for field in found.parameters.values() if field.name != "self"
    ]
    return f"{name}{found.replace(parameters=parameters, return_annotation=inspect.Signature.empty)}"


def test_the_hooks_methods_are_listed_with_their_arguments() -> None:
    public = {
        name
        for name, member in vars(IntercomHook).items()
        if not name.startswith("_") and inspect.isfunction(member) and not name.startswith("aget_settings")
    }
    written = {
        text.removeprefix("await ")
        for cell, _ in table((DOCS / "hook.md").read_text(), "method")
        for text in names(cell)
    }
    plain = {name for name in public if f"a{name}" in public}
    twins = {f"a{name}" for name in plain}
    assert written == {call(name) for name in public - twins} | {"aget_conn()"}
    for name in plain:
        assert call(f"a{name}").removeprefix("a") == call(name)


def test_every_error_is_listed_and_whether_it_passes() -> None:
    tree = {
        name: found
        for name, found in vars(errors).items()
        if inspect.isclass(found) and issubclass(found, errors.IntercomError)
    }
    rows = table(section(DOCS / "errors.md", "What the hook raises"), "class")
    written = {names(cell)[0]: transient for cell, _, transient in rows}
    assert written.keys() == tree.keys() - {"IntercomError"}
    for name, transient in written.items():
        if name != "ApiError":
            assert (transient == "yes") is tree[name].transient, name


def test_every_error_of_a_task_is_listed() -> None:
    raised = {name for name, found in vars(exceptions).items() if inspect.isclass(found)}
    own = {name for name in raised if getattr(exceptions, name).__module__ == exceptions.__name__}
    rows = table(section(DOCS / "errors.md", "What tasks raise"), "class")
    assert {names(cell)[0] for cell, _ in rows} == own


def test_the_messages_that_are_explained_exist() -> None:
    said = [
        node.value
        for path in (ROOT / "intercom_provider").rglob("*.py")
        if "sandbox" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    for cell, _ in table(section(DOCS / "errors.md", "By message"), "message"):
        (message,) = names(cell)
        if message.startswith("password: "):
            message = message.removeprefix("password: ")
        assert any(message in text for text in said), message
