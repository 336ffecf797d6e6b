"""The pages of a task: its logs, its rendered fields and the target of its button."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.browser.people import BODY, CODE, NAME, PHONE
from tests.support.eventually import until

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox
    from tests.browser.chromium import Browser
    from tests.support.airflow_instance import AirflowInstance, Task

BUTTON: Final = "//a[.='Open in Intercom']"


def open_task(page: Browser, task: Task, tab: str = "") -> None:
    page.open(f"/dags/{task.dag_id}/runs/{task.run_id}/tasks/{task.task_id}/{tab}")


def test_the_button_leads_to_the_conversation(page: Browser, runs: dict[str, Task], sandbox: Sandbox) -> None:
    open_task(page, runs["sent"], "details")
    button = page.see(BUTTON)
    (message,) = [each for each in sandbox.messages if each.id == runs["sent"].xcom("id")]
    assert message.conversation_id
    assert button.get_attribute("href") == (
        f"https://app.eu.intercom.com/a/inbox/sandbox1/inbox/conversation/{message.conversation_id}"
    )
    assert button.get_attribute("target") == "_blank"
    page.resize(560)
    page.picture("task-button")


def test_the_log_of_a_message_shows_its_id_and_not_its_body(page: Browser, runs: dict[str, Task]) -> None:
    open_task(page, runs["sent"])
    assert BODY not in page.read(f"Message sent: {runs['sent'].xcom('id')}")


def test_the_log_of_a_failed_task_shows_the_cause_and_the_remedy(page: Browser, runs: dict[str, Task]) -> None:
    open_task(page, runs["refused"])
    text = page.read("ContactNotFoundError: Intercom answered 404")
    assert "Check that the recipient is a contact of this workspace with this role" in text
    assert BODY not in text
    open_task(page, runs["refused"], "details")
    assert page.see(BUTTON).get_attribute("href") == "https://app.intercom.com/a/inbox"


def test_the_pages_of_a_batch_show_no_personal_data(page: Browser, runs: dict[str, Task]) -> None:
    tabs = {"": "20 of 20: 20 sent", "rendered_templates": "20 messages", "xcom": "whatsapp_message_ids"}
    for tab, words in tabs.items():
        open_task(page, runs["batch"], tab)
        text = page.read(words)
        assert [private for private in (NAME, PHONE, f"{CODE}-") if private in text] == []
    open_task(page, runs["batch"])
    page.resize(480)
    page.read("20 of 20: 20 sent")
    page.picture("batch-log")


def test_the_log_of_a_deferred_wait_shows_its_progress(page: Browser, airflow: AirflowInstance) -> None:
    # A new one, because of a long log Airflow draws the end only.
    task = airflow.run("appointments", "wait")
    task.reach("deferred", within=120)
    # Logged by the worker first, then by the triggerer.
    progress = "5 WhatsApp messages: 4 of 5 settled"
    until(lambda: shown(page, task).count(progress) > 1, "the triggerer's poll", within=60, every=3)
    page.read("Deferred")
    page.picture("wait-deferred")
    open_task(page, task, "details")
    assert page.see(BUTTON).get_attribute("href") == "https://app.intercom.com/a/inbox"


def shown(page: Browser, task: Task) -> str:
    open_task(page, task)
    page.resize(480)
    return page.read("trigger", "starting")


def test_the_log_of_a_wait_shows_the_counts(page: Browser, runs: dict[str, Task]) -> None:
    open_task(page, runs["campaign"])
    page.read("20 WhatsApp messages: 20 of 20 settled")
