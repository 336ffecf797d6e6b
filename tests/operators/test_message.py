"""Sending, as DAGs do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jinja2
import pytest
from airflow.sdk import DAG, task

from intercom_provider.compat import AirflowFailException
from intercom_provider.exceptions import InvalidFieldError
from intercom_provider.operators.message import SendMessageBatchOperator, SendMessageOperator
from intercom_provider.sensors.message_status import MessageStatusSensor
from tests.support.dags import connect

if TYPE_CHECKING:
    from pathlib import Path

    from intercom_provider.sandbox import Sandbox

PHONE = "+447900900905"
USER = {"type": "user", "id": "6762f2391bb69f9f2193bc19"}


def whatsapp(**fields: Any) -> SendMessageOperator:
    usual = {"task_id": "send", "message_type": "whatsapp", "to": {"phone": PHONE}, "template": "hello"}
    return SendMessageOperator(**{**usual, **fields})


def in_app(**fields: Any) -> SendMessageOperator:
    return SendMessageOperator(**{"task_id": "send", "message_type": "in_app", "to": USER, "body": "Hi", **fields})


def test_a_whatsapp_message_is_sent_and_waited_for(run_dag: Any, sandbox: Sandbox) -> None:
    with DAG("send_and_wait") as dag:
        send = whatsapp(key="order-1")
        MessageStatusSensor(task_id="wait", sent=send.output, poke_interval=0.1, timeout=20)
    run = run_dag(dag)
    assert run.states == {"send": "success", "wait": "success"}
    assert len(sandbox.messages) == 1
    receipt = run.xcoms("send")
    assert set(receipt) == {
        *("outcome", "reason", "id", "conversation_id", "whatsapp_message_id", "message_type", "created_at", "key"),
        "return_value",
    }
    assert receipt["outcome"] == "sent"
    assert receipt["key"] == "order-1"
    assert receipt["reason"] is None
    assert receipt["whatsapp_message_id"] == sandbox.messages[0].whatsapp_message_id
    assert run.xcom("wait", "reached") == 1


@pytest.mark.parametrize(
    ("fields", "wire"),
    [
        (
            {"message_type": "in_app", "body": "<p>Hi</p>"},
            {"message_type": "inapp", "body": "<p>Hi</p>"},
        ),
        (
            {"message_type": "email", "subject": "Yes", "body": "a < b", "body_format": "text", "template": "personal"},
            {"message_type": "email", "subject": "Yes", "body": "a &lt; b", "template": "personal"},
        ),
        (
            {"message_type": "sms", "body": "a < b", "api_version": "Preview"},
            {"message_type": "sms", "body": "a < b"},
        ),
        (
            {
                "message_type": "whatsapp",
                "to": {"phone": PHONE, "name": "Ada"},
                "template": "hello",
                "locale": "en",
                "components": [{"type": "BODY", "parameters": [{"type": "text", "text": "{{ 1 + 1 }} left"}]}],
            },
            {
                "message_type": "whatsapp",
                "to": {"phone": PHONE, "name": "Ada"},
                "template": "hello",
                "locale": "en",
                "components": [{"type": "BODY", "parameters": [{"type": "text", "text": "2 left"}]}],
            },
        ),
    ],
    ids=lambda value: value["message_type"],
)
def test_each_type_arrives_as_it_was_written(
    run_dag: Any, sandbox: Sandbox, fields: dict[str, Any], wire: dict[str, Any]
) -> None:
    with DAG(f"send_{fields['message_type']}") as dag:
        SendMessageOperator(**{"task_id": "send", "to": USER, **fields})
    assert run_dag(dag).states == {"send": "success"}
    (message,) = sandbox.messages
    sender = {"type": "admin", "id": sandbox.connection["extra"]["admin_id"]}
    assert message.wire == {"to": USER, "from": sender, **wire}


@pytest.mark.usefixtures("sandbox")
def test_one_key_of_the_output_reaches_the_sensor(run_dag: Any) -> None:
    with DAG("one_key") as dag:
        send = whatsapp()
        MessageStatusSensor(
            task_id="wait",
            whatsapp_message_id=send.output["whatsapp_message_id"],  # type: ignore[index]  # Airflow types it too widely
            poke_interval=0.1,
            timeout=20,
        )
    run = run_dag(dag)
    assert run.states == {"send": "success", "wait": "success"}
    assert run.xcom("wait", "total") == 1


@pytest.mark.usefixtures("sandbox")
def test_a_mapped_send_is_watched_by_one_sensor(run_dag: Any) -> None:
    with DAG("mapped") as dag:
        send = SendMessageOperator.partial(
            task_id="send", message_type="whatsapp", template="hello", on_rejected="report"
        ).expand_kwargs(
            [
                {"to": {"phone": "+447900900905"}, "key": "read"},
                {"to": {"phone": "+447900999901"}, "key": "fails"},
                {"to": {"phone": "+447900999903"}, "key": "not accepted"},
            ]
        )
        MessageStatusSensor(task_id="wait", sent=send.output, max_failed=None, poke_interval=0.1, timeout=20)
    run = run_dag(dag)
    assert set(run.states.values()) == {"success"}
    assert [run.xcom("send", "outcome", index) for index in range(3)] == ["sent", "sent", "rejected"]
    told = run.xcoms("wait")
    assert (told["total"], told["reached"], told["failed"]) == (3, 1, 2)
    assert {failure["key"]: bool(failure["reason"]) for failure in told["failures"]} == {
        "fails": True,
        "not accepted": True,
    }


def test_native_rendering_keeps_types_and_numbers_in_text_are_refused(run_dag: Any, sandbox: Sandbox) -> None:
    with DAG("native", render_template_as_native_obj=True) as dag:
        in_app(task_id="object", to="{{ params.to }}", params={"to": USER})
        in_app(task_id="number", body="{{ 40 + 2 }}")
    run = run_dag(dag)
    assert run.states == {"object": "success", "number": "failed"}
    assert [message.wire["to"] for message in sandbox.messages] == [USER]


def test_what_native_rendering_leaves_undefined_counts_as_missing(run_dag: Any, sandbox: Sandbox) -> None:
    lenient: Any = jinja2.Undefined  # Airflow types it too narrowly
    rows = [{"message_type": "in_app", "to": USER, "body": "Hi"}]
    with DAG("undefined", render_template_as_native_obj=True, template_undefined=lenient) as dag:
        in_app(task_id="optional", key="{{ nothing }}", not_after="{{ nothing }}", campaign="{{ nothing }}")
        in_app(task_id="inside", to={"type": "user", "user_id": "{{ nothing }}"})
        SendMessageBatchOperator(
            task_id="batch",
            messages="{{ params.rows }}",
            params={"rows": rows},
            results_path="{{ nothing }}",
        )
    run = run_dag(dag)
    assert run.states == {"optional": "success", "inside": "failed", "batch": "success"}
    assert len(sandbox.messages) == 2


@pytest.mark.parametrize("fields", [{"body": "{{ nothing }}"}, {"to": {"type": "user", "user_id": "{{ nothing }}"}}])
def test_a_strict_environments_undefined_is_an_error_that_names_the_field(
    run_dag: Any, sandbox: Sandbox, fields: dict[str, Any]
) -> None:
    failures: list[str] = []
    with DAG("strict", render_template_as_native_obj=True) as dag:
        in_app(**fields, on_failure_callback=lambda context: failures.append(str(context["exception"])))
    assert run_dag(dag).states == {"send": "failed"}
    assert "'nothing' is undefined" in failures[0]
    assert next(iter(fields)) in failures[0]
    assert not sandbox.messages


def test_a_connection_that_renders_to_nothing_is_named(run_dag: Any, sandbox: Sandbox) -> None:
    failures: list[str] = []
    with DAG("no_connection", render_template_as_native_obj=True) as dag:
        in_app(
            intercom_conn_id="{{ params.none }}",
            params={"none": None},
            on_failure_callback=lambda context: failures.append(str(context["exception"])),
        )
    assert run_dag(dag).states == {"send": "failed"}
    assert failures[0].startswith("intercom_conn_id: is missing")
    assert not sandbox.messages


def test_templates_may_leave_white_space_around_choices_and_ids(run_dag: Any, sandbox: Sandbox) -> None:
    with DAG("trimmed") as dag:
        in_app(
            message_type="{{ 'in_app' }}\n",
            repeat=" {{ 'on_clear' }}\n",
            on_unconfirmed="{{ 'resend' }} ",
            create_conversation_without_contact_reply="{{ 'true' }}\n",
            from_admin_id="{{ 814860 }}\n",
            api_version=" {{ '2.14' }}\n",
            not_after="{{ '2099-01-01' }}\n",
            key="{{ 'k' }}\n",
            intercom_conn_id="{{ 'intercom_default' }}\n",
        )
    run = run_dag(dag)
    assert run.states == {"send": "success"}
    assert run.xcom("send", "key") == "k"
    assert len(sandbox.messages) == 1


def test_a_recipient_may_come_as_json_from_a_template(run_dag: Any, sandbox: Sandbox) -> None:
    with DAG("json_text") as dag:
        in_app(to="{{ params.to | tojson }}", params={"to": USER})
    assert run_dag(dag).states == {"send": "success"}
    assert sandbox.messages[0].wire["to"] == USER


def test_body_and_components_may_be_files_and_nothing_else(run_dag: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "hello.html").write_text("<p>Hello {{ params.name }}</p>")
    (tmp_path / "parts.json").write_text(
        '[{"type": "BODY", "parameters": [{"type": "text", "text": "{{ params.name }}"}]}]'
    )
    with DAG("files", template_searchpath=str(tmp_path), params={"name": "Ada"}) as dag:
        in_app(task_id="html", body="hello.html")
        whatsapp(task_id="json", components="parts.json")
        in_app(task_id="text", body="please read hello.html")
        SendMessageOperator(
            task_id="subject", message_type="email", to=USER, subject="terms.txt", body="x", from_admin_id=814860
        )
        SendMessageOperator.partial(task_id="mapped", message_type="in_app", body="hello.html").expand(to=[USER])
    assert set(run_dag(dag).states.values()) == {"success"}
    said = {
        message.wire.get("body") or message.wire["components"][0]["parameters"][0]["text"]
        for message in sandbox.messages
    }
    assert said == {"<p>Hello Ada</p>", "Ada", "please read hello.html", "x"}


@pytest.mark.parametrize(
    "text",
    [
        "https://shop.example/invoice/42.html",
        "HTTP://shop.example/terms.txt",
        "s3://shop/terms.md",
        "//cdn.shop.example/terms.html",
        "www.shop.example/terms.html",
        "mailto:ada@example.md",
        "please read hello.html",
        "{{ 'hello.html' }}",
        "https://shop.example/{{params.name}}.html",
        "{{params.url}}/42.html",
    ],
)
def test_a_text_that_ends_like_a_file_is_text(run_dag: Any, sandbox: Sandbox, tmp_path: Path, text: str) -> None:
    (tmp_path / "hello.html").write_text("the file")
    params = {"name": "ada", "url": "https://shop.example"}
    with DAG("text", template_searchpath=str(tmp_path), params=params) as dag:
        in_app(body=text)
        SendMessageOperator.partial(task_id="mapped", message_type="in_app", body=text).expand(to=[USER])
    assert set(run_dag(dag).states.values()) == {"success"}
    rendered = text.replace("{{params.name}}", "ada").replace("{{params.url}}", params["url"])
    assert {message.wire["body"] for message in sandbox.messages} == {
        rendered.replace("{{ 'hello.html' }}", "hello.html")
    }


@pytest.mark.parametrize("path", ["invoice.html", "mails/invoice.txt", "../invoice.md", "/etc/invoice.json"])
@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("body", {"message_type": "in_app", "to": USER}),
        ("components", {"message_type": "whatsapp", "to": {"phone": PHONE}, "template": "hello"}),
    ],
)
def test_a_path_that_is_not_found_is_an_error_of_its_field(
    run_dag: Any, sandbox: Sandbox, capfd: pytest.CaptureFixture[str], path: str, field: str, fields: dict[str, Any]
) -> None:
    with DAG("no_file") as dag:
        SendMessageOperator(task_id="send", retries=3, **{**fields, field: path})
    assert run_dag(dag).states == {"send": "failed"}
    said = capfd.readouterr().out
    assert f"{field}: the template file {path} cannot be read" in said
    assert "If it is meant as text, write it as a template" in said
    assert sandbox.requests == []


def test_customers_text_is_not_taken_for_a_template(run_dag: Any, sandbox: Sandbox) -> None:
    @task
    def texts() -> list[str]:
        return ["{{ 1 + 1 }} ${x} <b>"]

    with DAG("no_template") as dag:
        SendMessageOperator.partial(task_id="send", message_type="in_app", to=USER, body_format="text").expand(
            body=texts()
        )
    assert run_dag(dag).states["send[0]"] == "success"
    assert sandbox.messages[0].wire["body"] == "{{ 1 + 1 }} ${x} &lt;b&gt;"


def test_customers_text_is_not_taken_for_a_path(run_dag: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("not for customers")

    @task
    def texts() -> list[str]:
        return ["secret.txt"]

    with DAG("no_path", template_searchpath=str(tmp_path)) as dag:
        SendMessageOperator.partial(task_id="send", message_type="in_app", to=USER).expand(body=texts())
    assert run_dag(dag).states["send[0]"] == "success"
    assert sandbox.messages[0].wire["body"] == "secret.txt"


def test_a_rejection_is_told_before_it_fails_the_task(run_dag: Any, sandbox: Sandbox) -> None:
    with DAG("rejected") as dag:
        whatsapp(to={"phone": "+447900999903"}, key="k", retries=3)
    run = run_dag(dag)
    assert run.states == {"send": "failed"}
    assert run.xcom("send", "outcome") == "rejected"
    assert "WhatsApp did not accept" in run.xcom("send", "reason")
    assert len(sandbox.messages) == 1


def test_a_contact_that_turns_up_in_time_is_messaged_once(run_dag: Any, sandbox: Sandbox) -> None:
    with DAG("soon") as dag:
        in_app(to={"type": "user", "user_id": "soon-20-ada"}, contact_wait=10)
    assert run_dag(dag).states == {"send": "success"}
    assert len(sandbox.messages) == 1


def test_a_contact_that_is_never_there_is_reported_after_the_wait(run_dag: Any, sandbox: Sandbox) -> None:
    with DAG("unknown") as dag:
        in_app(to={"type": "user", "id": "unknown-1"}, contact_wait=0.5, on_rejected="report")
    run = run_dag(dag)
    assert run.states == {"send": "success"}
    assert run.xcom("send", "outcome") == "rejected"
    assert sandbox.messages == []


def test_nothing_is_sent_after_its_time(run_dag: Any, sandbox: Sandbox) -> None:
    with DAG("late") as dag:
        in_app(not_after="2024-01-01T00:00:00Z", retries=2)
    run = run_dag(dag)
    assert run.states == {"send": "failed"}
    assert run.xcom("send", "outcome") == "expired"
    assert sandbox.requests == []


def test_a_dry_run_checks_everything_and_sends_nothing(
    run_dag: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connect(monkeypatch, sandbox.connection, dry_run=True)
    with DAG("dry") as dag:
        send = whatsapp()
        MessageStatusSensor(task_id="wait", sent=send.output, poke_interval=0.1, timeout=5)
    run = run_dag(dag)
    assert run.states == {"send": "success", "wait": "success"}
    assert run.xcom("send", "outcome") == "dry_run"
    assert run.xcom("wait", "total") == 0
    assert sandbox.requests == []
    assert caplog.text.count("nothing is sent") == 1


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("message_type", {"message_type": "fax"}),
        ("subject", {"message_type": "email"}),
        ("template", {"message_type": "whatsapp", "to": {"phone": PHONE}, "body": None}),
        ("to.phone", {"message_type": "whatsapp", "to": {"phone": "07900900905"}, "template": "t", "body": None}),
        ("body", {"message_type": "whatsapp", "to": {"phone": PHONE}, "template": "t"}),
        ("message_type", {"message_type": "sms", "api_version": "2.17"}),
        ("to", {"to": [USER]}),
        ("to", {"to": [USER, USER], "shared_conversation": True, "api_version": "2.13"}),
        ("to.type", {"to": {"type": "admin", "id": 1}}),
        ("to", {"to": {"type": "user"}}),
        ("api_version", {"api_version": "latest"}),
        ("repeat", {"repeat": "sometimes"}),
        ("on_unconfirmed", {"on_unconfirmed": "hope"}),
        ("on_rejected", {"on_rejected": "ignore"}),
        ("contact_wait", {"contact_wait": -1}),
        ("not_after", {"not_after": "tomorrow"}),
        ("created_at", {"created_at": 99_999_999_999}),
        ("body_format", {"body_format": "markdown"}),
    ],
)
def test_a_wrong_literal_fails_when_the_dag_is_parsed(field: str, fields: dict[str, Any]) -> None:
    with DAG("wrong"), pytest.raises(InvalidFieldError, match=rf"(^|; ){field}: ") as caught:
        in_app(**fields)
    assert isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize(
    ("field", "fields", "params"),
    [
        ("message_type", {"message_type": "{{ params.x }}"}, "fax"),
        ("body", {"body": "{{ params.x }}"}, "None"),
        (
            "to.phone",
            {"message_type": "whatsapp", "to": {"phone": "{{ params.x }}"}, "template": "t", "body": None},
            "1",
        ),
        ("to", {"to": "{{ params.x }}"}, "ada"),
        ("api_version", {"api_version": "{{ params.x }}"}, "newest"),
        ("repeat", {"repeat": "{{ params.x }}"}, "maybe"),
    ],
)
def test_a_wrong_template_fails_for_good_before_any_request(
    run_dag: Any, sandbox: Sandbox, capfd: pytest.CaptureFixture[str], field: str, fields: dict[str, Any], params: str
) -> None:
    with DAG("wrong_template", params={"x": params}) as dag:
        in_app(retries=3, **fields)
    assert run_dag(dag).states == {"send": "failed"}
    assert f"{field}: " in capfd.readouterr().out
    assert sandbox.requests == []


def test_no_sender_anywhere_names_both_places(
    run_dag: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    connect(monkeypatch, sandbox.connection, admin_id=None)
    with DAG("no_sender") as dag:
        in_app()
    assert run_dag(dag).states == {"send": "failed"}
    said = capfd.readouterr().out
    assert "from_admin_id" in said
    assert "admin_id in the connection" in said
    assert sandbox.requests == []
