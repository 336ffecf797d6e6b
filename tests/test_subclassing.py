"""Every class can be subclassed and copied as Airflow's own can."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.notifications.message import IntercomNotifier
from intercom_provider.operators.batch import SendMessageBatchOperator
from intercom_provider.operators.message import SendMessageOperator
from intercom_provider.sensors.message_reply import MessageReplySensor
from intercom_provider.sensors.message_status import MessageStatusSensor

if TYPE_CHECKING:
    from tests.support.hostile import Hostile

ADA = {"type": "user", "user_id": "ada"}
TASKS: dict[str, tuple[Any, dict[str, Any]]] = {
    "single": (SendMessageOperator, {"message_type": "in_app", "to": ADA, "body": "Hello"}),
    "batch": (
        SendMessageBatchOperator,
        {"messages": [{"to": ADA}], "defaults": {"message_type": "in_app", "body": "H"}},
    ),
    "ruleset": (MessageStatusSensor, {"ruleset_id": 77}),
    "ids": (MessageStatusSensor, {"whatsapp_message_id": ["wamid.1", "wamid.2"]}),
    "sent": (
        MessageStatusSensor,
        {"sent": {"outcome": "sent", "message_type": "whatsapp", "whatsapp_message_id": "w.1"}},
    ),
    "reply": (MessageReplySensor, {"message_id": "403"}),
}


def with_customer(base: Any) -> Any:
    """Make a subclass with a template field that is set after the constructor of its base."""

    class Customer(base):  # type: ignore[misc]  # made of each class in turn
        template_fields = (*base.template_fields, "customer")

        def __init__(self, *, customer: str, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.customer = customer

    return Customer


@pytest.mark.parametrize("name", TASKS)
def test_a_subclass_may_set_a_template_field_after_super(name: str) -> None:
    kind, fields = TASKS[name]
    with DAG("subclass"):
        task = with_customer(kind)(task_id="task", customer="{{ ds }}", **fields)
        with_customer(kind).partial(task_id="mapped", **fields).expand(customer=["a", "b"])
    assert task.customer == "{{ ds }}"


def test_a_notifier_may_set_a_template_field_after_super() -> None:
    notifier = with_customer(IntercomNotifier)(customer="{{ ds }}", message_type="in_app", to=ADA)
    assert notifier.customer == "{{ ds }}"


@pytest.mark.parametrize("name", TASKS)
def test_a_dag_is_copied_whole_and_in_part(name: str) -> None:
    kind, fields = TASKS[name]
    with DAG("copied") as dag:
        kind(task_id="task", **fields)
        kind.partial(task_id="mapped").expand_kwargs([fields])
    for copied in (copy.deepcopy(dag), dag.partial_subset("task")):
        assert type(copied.task_dict["task"]) is kind
    notifier = IntercomNotifier(message_type="in_app", to=ADA, body="{{ ds }}")
    assert copy.deepcopy(notifier).body == "{{ ds }}"


def test_a_subclass_renders_its_field_and_sends(run_dag: Any, server: Hostile) -> None:
    with DAG("rendered") as dag:
        with_customer(SendMessageOperator)(
            task_id="send", customer="{{ dag.dag_id }}", message_type="in_app", to=ADA, body="Hello"
        )
    assert run_dag(dag).states == {"send": "success"}
    assert len(server.created) == 1
