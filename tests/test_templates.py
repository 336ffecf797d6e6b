"""Placeholders of other systems in templates, and what native rendering makes of texts."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG

from intercom_provider.exceptions import InvalidFieldError
from intercom_provider.notifications.message import IntercomNotifier
from intercom_provider.operators.message import SendMessageBatchOperator, SendMessageOperator
from intercom_provider.templates import find_foreign_placeholders
from tests.support.messages import ADA, in_app, whatsapp


@pytest.mark.parametrize(
    "text", ["Hi {{1}}", "{{ 12 }}", "{{-1-}}", "{% raw %}{{1}}{% endraw %} {{2}}", "{{ds}}{{3 }}"]
)
@pytest.mark.parametrize("nest", [lambda text: text, lambda text: {"a": [text]}, lambda text: ({"a": text},)])
def test_a_number_in_double_braces_is_refused(text: str, nest: Any) -> None:
    [problem] = find_foreign_placeholders("body", nest(text))
    assert problem.field.startswith("body")
    assert "{% raw %}{{1}}{% endraw %}" in problem.text


@pytest.mark.parametrize(
    "text",
    ["{{ ds }}", "{{ 1 + 1 }}", "{{ x[1] }}", "{1}", "{% raw %}{{1}}{% endraw %}", "{%- raw -%} {{ 1 }} {%- endraw -%}",
     "{{ '1' }}", "", "{{", "{{ a1 }}"],
)  # fmt: skip
def test_other_texts_are_templates_of_airflows(text: str) -> None:
    assert not [*find_foreign_placeholders("body", text)]


def test_a_number_in_the_template_of_an_option_is_left_alone() -> None:
    assert SendMessageOperator(task_id="send", **in_app(), campaign="spring/{{ 2026 }}", ledger_conn_id="db")
    assert SendMessageBatchOperator(task_id="send", messages=[], results_path="results/{{ 2026 }}")


COMPONENTS = [{"type": "body", "parameters": [{"type": "text", "text": "{{1}}"}]}]


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: SendMessageOperator(task_id="send", **in_app(body="Hello {{1}}")), "body"),
        (
            lambda: SendMessageOperator(task_id="send", **whatsapp(components=COMPONENTS)),
            "components.0.parameters.0.text",
        ),
        (lambda: SendMessageBatchOperator(task_id="send", messages=[], defaults=in_app(body="{{1}}")), "defaults.body"),
        (lambda: IntercomNotifier(**in_app(body="{{1}}")), "body"),
    ],
)
def test_a_placeholder_of_metas_is_refused_when_the_dag_is_parsed(make: Any, field: str) -> None:
    with pytest.raises(InvalidFieldError, match=rf"^{field}: \{{\{{1\}}\}} is a placeholder of Meta's"):
        make()


def test_a_placeholder_of_metas_is_refused_in_a_mapped_task_and_not_in_what_a_task_returned(
    run_dag: Any, sandbox: Any
) -> None:
    failures: list[str] = []
    with DAG("mapped") as dag:
        SendMessageOperator.partial(
            task_id="written", **in_app(body="{{1}}"), on_failure_callback=lambda context: failures.append(str(context))
        ).expand(key=["a"])
        SendMessageOperator.partial(task_id="returned", message_type="in_app", to=ADA).expand(
            body=["{% raw %}{{1}}{% endraw %} fits"]
        )
    run = run_dag(dag)
    assert set(run.states.values()) >= {"failed"}
    assert any("is a placeholder of Meta's" in text for text in failures)
    assert all("{{1}}" in str(message.wire) or "fits" in str(message.wire) for message in sandbox.messages)


@pytest.mark.parametrize(
    "body", ['{{ name | default: "there" }}', "{{ name | fallback }}", "{% assign x = 1 %}", "{{ name | date: '%d' }}"]
)
@pytest.mark.parametrize("operator", ["single", "batch"])
def test_another_template_language_is_explained_with_the_field(
    run_dag: Any, sandbox: Any, body: str, operator: str
) -> None:
    failures: list[str] = []

    def keep(context: Any) -> None:
        failures.append(str(context["exception"]))

    with DAG("liquid") as dag:
        if operator == "single":
            SendMessageOperator(task_id="send", **in_app(body=body), on_failure_callback=keep)
        else:
            SendMessageBatchOperator(
                task_id="send", messages=[in_app(body=None)], defaults={"body": body}, on_failure_callback=keep
            )
    assert run_dag(dag).states == {"send": "failed"}
    assert failures[0].startswith("body" if operator == "single" else "defaults")
    assert "{% raw %}" in failures[0]
    assert not sandbox.messages


@pytest.mark.parametrize("native", [True, False])
def test_native_rendering_is_named_only_where_it_is_on(run_dag: Any, sandbox: Any, native: bool) -> None:
    failures: list[str] = []
    with DAG("native", render_template_as_native_obj=native) as dag:
        SendMessageOperator(
            task_id="send",
            **in_app(body="{{ 40 + 2 }}"),
            on_failure_callback=lambda context: failures.append(str(context["exception"])),
        )
    run_dag(dag)
    if native:
        assert failures[0].startswith("body: is a number, not text")
        assert "render_template_as_native_obj" in failures[0]
        assert not sandbox.messages
    else:
        assert [message.wire["body"] for message in sandbox.messages] == ["42"]
