"""Check the documentation's tables against the code."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider import exceptions
from intercom_provider.api import advice, errors
from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.models import Receipt
from intercom_provider.api.settings import REGIONS, parse_base_url
from intercom_provider.compat import conf
from intercom_provider.get_provider_info import CONNECTION_FIELDS, get_provider_info
from intercom_provider.hooks.intercom import IntercomHook
from intercom_provider.links import APPS
from intercom_provider.notifications.message import IntercomNotifier
from intercom_provider.operators.message import SendMessageBatchOperator, SendMessageOperator
from intercom_provider.sending.batch.input import check_literals
from intercom_provider.sensors.message_reply import MessageReplySensor
from intercom_provider.sensors.message_status import MessageStatusSensor
from intercom_provider.triggers.ruleset import RulesetSettledTrigger
from tests.support import hostile

from .pages import ROOT, blocks, names, section, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from intercom_provider.sandbox import Sandbox
    from tests.support.hostile import Hostile

DOCS = ROOT / "docs"
ALERTS = DOCS / "alerts.md"
BATCHES = DOCS / "batches.md"
CONNECTION = DOCS / "connection.md"
EVENTS = DOCS / "events.md"
REPLIES = DOCS / "replies.md"
SENDING = DOCS / "sending.md"
WAITING = DOCS / "waiting.md"


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


@pytest.mark.parametrize(
    ("owner", "page", "heading"),
    [
        (SendMessageOperator, SENDING, "Fields"),
        (MessageStatusSensor, WAITING, "Fields"),
        (SendMessageBatchOperator, BATCHES, "Fields"),
        (MessageReplySensor, REPLIES, "Fields"),
        (RulesetSettledTrigger, EVENTS, "Arguments"),
        (IntercomNotifier, ALERTS, "Fields"),
    ],
)
def test_every_field_stands_in_its_table_with_its_default(owner: type, page: Path, heading: str) -> None:
    written = {
        name: written_default(default)
        for cell, default, _ in table(section(page, heading), "field")
        for name in names(cell)
    }
    true = fields(owner)
    assert written == true
    assert list(written) == list(true)
    assert {name: type(default) for name, default in written.items()} == {
        name: type(default) for name, default in true.items()
    }


@pytest.mark.parametrize(
    ("owner", "page", "heading"),
    [
        (SendMessageOperator, SENDING, "Fields"),
        (SendMessageBatchOperator, BATCHES, "Fields"),
        (MessageReplySensor, REPLIES, "Fields"),
        (IntercomNotifier, ALERTS, "Fields"),
    ],
)
def test_the_fields_that_are_not_templates_are_named(owner: Any, page: Path, heading: str) -> None:
    _, _, sentence = section(page, heading).partition("All are templated but ")
    assert set(names(sentence.partition(".")[0])) == fields(owner).keys() - set(owner.template_fields)


def test_the_xcom_of_all_is_listed(run_dag: Any, sandbox: Sandbox) -> None:
    whatsapp: dict[str, Any] = {"message_type": "whatsapp", "to": {"phone": "+447900123456"}, "template": "t"}
    with DAG("keys") as dag:
        send = SendMessageOperator(task_id="send", **whatsapp)
        MessageStatusSensor(task_id="wait", sent=send.output)
        SendMessageBatchOperator(task_id="batch", messages=[whatsapp])
        sent: Any = send.output
        MessageReplySensor(task_id="reply", message_id=sent["id"], timeout=0.1, poke_interval=0.1, on_timeout="report")
    run = run_dag(dag)
    assert len(sandbox.messages) == 2
    for task_id, page, heading in (
        ("send", SENDING, "XCom"),
        ("wait", WAITING, "XCom"),
        ("batch", BATCHES, "XCom"),
        ("reply", REPLIES, "XCom"),
    ):
        written = [name for cell, _ in table(section(page, heading), "key") for name in names(cell)]
        assert {*written, "return_value"} == run.xcoms(task_id).keys()
    assert set(Receipt.model_fields) == run.xcoms("send").keys() - {"return_value"}


def test_what_a_batch_says_of_its_input_and_of_failures_is_what_is_shown(
    run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str]
) -> None:
    in_app = {"message_type": "in_app", "body": "Hi"}
    users: list[dict[str, Any]] = [{"to": {"type": "user", "id": f"{number}"}} for number in range(10)]
    wrong = [{"to": {"phone": "07900"}}, {"to": [{"type": "user", "id": "1"}]}, 7, {**users[0], "subject": "Hi"}]
    with pytest.raises(InvalidInputError) as caught:
        check_literals([*users[:5], *wrong], in_app)
    page = BATCHES.read_text(encoding="utf-8")
    assert f"InvalidFieldError: {caught.value}\n" in page
    server.script(*[hostile.error(422, "parameter_invalid", "Body is required")] * 2, hostile.drop())
    with DAG("failures") as dag:
        SendMessageBatchOperator(task_id="send", messages=users, defaults=in_app)
    run_dag(dag)
    shown = re.sub(
        r" Message by message: \S+\.(?= )", "", section(BATCHES, "What fails the task, and what a retry does")
    )
    (text,) = [line for line in shown.splitlines() if " messages failed: " in line]
    assert text in capfd.readouterr().out


def test_a_line_of_a_batchs_results_is_as_it_is_shown(run_dag: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    shown, (line,) = section(BATCHES, "results_path"), blocks(BATCHES, "json")
    with DAG("lines") as dag:
        SendMessageBatchOperator(
            task_id="send",
            messages=[{"message_type": "whatsapp", "to": {"phone": "+447900123456"}, "template": "t"}],
            results_path=str(tmp_path),
        )
    run = run_dag(dag)
    assert len(sandbox.messages) == 1
    (part,) = tmp_path.rglob("*.jsonl")
    assert list(json.loads(line.text)) == list(json.loads(part.read_text()))
    where = shown.partition("`{")[2].partition("}`")[0]
    folder = f"{{{where}}}".format(dag_id=run.dag_id, run_id=run.run_id, task_id="send", map_index=-1)
    assert run.xcom("send", "results_path") == f"{tmp_path}/{folder}" == str(part.parent)
    assert f"/send/-1/{part.name}\n" in shown


def test_the_connections_fields_have_the_defaults_that_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table(section(CONNECTION, "Fields"), "field")
    defaults = {names(cell)[0]: (where, default) for cell, where, default, _ in rows}
    in_extra = {name: written_default(default) for name, (where, default) in defaults.items() if where == "extra"}
    assert defaults.keys() - in_extra.keys() == {"password", "host", "port"}
    assert in_extra.keys() == CONNECTION_FIELDS.keys() | {"allow_http"}
    monkeypatch.setenv("AIRFLOW_CONN_BARE", '{"conn_type": "intercom", "password": "token"}')
    settings = IntercomHook("bare").settings
    assert in_extra.pop("allow_http") is inspect.signature(parse_base_url).parameters["allow_http"].default
    assert in_extra == {name: getattr(settings, name) for name in in_extra}


def test_the_regions_are_listed() -> None:
    rows = table(section(CONNECTION, "Region"), "`region`")
    assert {names(region)[0]: names(url)[0] for region, url, _ in rows} == REGIONS
    assert {names(region)[0]: names(app)[0] for region, _, app in rows} == APPS


def call(name: str) -> str:
    """Return a method's signature as the hook's table has it: without types."""
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


ERRORS = DOCS / "errors.md"
# Errors that one part of the code raises for another; users read other texts.
_INTERNAL = {
    "AssertionError",
    "AttributeError",
    "IndexError",
    "KeyError",
    "RuntimeError",
    "TypeError",
    "ValueError",
    "WrongReplyError",
}


def sources() -> Iterator[ast.Module]:
    for path in (ROOT / "intercom_provider").rglob("*.py"):
        if "sandbox" not in path.relative_to(ROOT).parts:
            yield ast.parse(path.read_text(encoding="utf-8"))


def explained(*columns: str) -> set[str]:
    """Return the texts that the page explains, in whichever section."""
    page = ERRORS.read_text(encoding="utf-8")
    titles = [title for title in re.findall(r"^## (.+)$", page, re.MULTILINE) if title != "What tasks raise"]
    rows = [
        row[0]
        for title in titles
        for column in columns
        if f"| {column} |" in section(ERRORS, title)
        for row in table(section(ERRORS, title), column)
    ]
    return {names(cell)[0].removeprefix("password: ") for cell in rows}


def texts(node: ast.expr) -> Iterator[str]:
    """Yield the texts in an argument, without the values that are put into them."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)


def raised() -> set[str]:
    """Return the texts of errors that a user of the provider may read."""
    return {
        text
        for module in sources()
        for call in ast.walk(module)
        if isinstance(call, ast.Call)
        for name in [ast.unparse(call.func)]
        if name.endswith(("Problem", "Error", "Exception", "SensorTimeout", "InvalidInputError.of"))
        and name not in _INTERNAL
        for argument in call.args
        for text in texts(argument)
        if len(re.findall(r"(?<!\S)[A-Za-z_]{2,}", text)) >= 3
    }


def test_the_messages_that_are_explained_exist() -> None:
    said = [
        node.value
        for module in sources()
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    for message in explained("message", "answer"):
        assert any(message in text for text in said), message


def test_every_error_is_explained_in_its_own_words() -> None:
    known = explained("message", "answer", "reason")
    found = raised()
    assert len(found) > 80
    assert not [text for text in found if not any(message in text for message in known)]


def test_every_code_and_status_that_has_advice_is_listed() -> None:
    cells = [cell for cell, _ in table(section(ERRORS, "By Intercom's code"), "status and code")]
    assert (advice._BY_CODE.keys() | {"contact_merged"}) <= {name for cell in cells for name in names(cell)}  # noqa: SLF001 - the table itself
    assert advice._BY_STATUS.keys() <= {int(number) for cell in cells for number in re.findall(r"\d{3}", cell)}  # noqa: SLF001


def reference() -> list[tuple[str, str, bool]]:
    """Return what the API reference documents: module, name, and whether its members are listed, too."""
    page = (DOCS / "reference.rst").read_text(encoding="utf-8")
    entries = re.findall(r"^\.\. auto(?:class|function):: (\S+)\.(\w+)\n((?:   .*\n)*)", page, re.MULTILINE)
    return [(module, name, ":members:" in options) for module, name, options in entries]


def test_every_public_class_stands_in_the_reference() -> None:
    info: Any = get_provider_info()
    modules = [
        exceptions,
        errors,
        *(
            importlib.import_module(name)
            for kind in ("hooks", "operators", "sensors", "triggers")
            for entry in info[kind]
            for name in entry["python-modules"]
        ),
    ]
    public = {
        name
        for module in modules
        for name, found in vars(module).items()
        if inspect.isclass(found) and found.__module__ == module.__name__ and not name.startswith("_")
    }
    assert {"SendMessageOperator", "IntercomHook", "ServerError"} <= public
    assert public <= {name for _, name, _ in reference()}


def callables() -> Iterator[tuple[str, Any]]:
    """Yield the classes, functions and methods of the reference whose arguments a user writes."""
    for module, name, has_members in reference():
        found = getattr(importlib.import_module(module), name)
        # An error that inherits its constructor is caught, not made. A fixture is neither class nor function.
        inherits = inspect.isclass(found) and issubclass(found, Exception) and "__init__" not in vars(found)
        if not inherits and (inspect.isclass(found) or inspect.isfunction(found)):
            yield name, found
        for method, member in vars(found).items() if has_members else ():
            # The async twins refer to their sync ones.
            if inspect.isfunction(member) and not method.startswith("_") and "; see :meth:" not in str(member.__doc__):
                yield f"{name}.{method}", member


@pytest.mark.needs("retry_policy")
def test_every_argument_in_the_reference_is_documented() -> None:
    lacking = {}
    for path, found in callables():
        arguments = inspect.signature(found).parameters.values()
        names = {each.name for each in arguments if each.kind is not inspect.Parameter.VAR_KEYWORD} - {"self"}
        lacking[path] = names - set(re.findall(r":param (\w+):", str(inspect.getdoc(found))))
    assert len(lacking) > 40
    assert {path: names for path, names in lacking.items() if names} == {}
