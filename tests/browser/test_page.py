"""The page *Intercom messages* in Airflow: what it shows of real runs, and to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.browser.people import NAME, PHONE
from tests.support.airflow_instance import Task

if TYPE_CHECKING:
    from tests.browser.chromium import Browser
    from tests.support.airflow_instance import AirflowInstance

PAGE: Final = "/intercom/"
IMAGE: Final = "<img src=x onerror=\"document.title = 'run'\">"


@pytest.fixture(scope="module")
def runs(airflow: AirflowInstance) -> dict[str, Task]:
    """Run DAGs that end well, that fail, and that wait."""
    tasks = {
        "refused": Task(airflow, "order_refunded", "page-1", "tell_customer"),
        "campaign": Task(airflow, "autumn_offer", "page-2", "wait"),
        "deferred": Task(airflow, "appointments", "page-3", "wait"),
    }
    for task in tasks.values():
        task.start_run()
    states = {name: task.reach("success", "failed", "deferred", within=180) for name, task in tasks.items()}
    assert states == {"refused": "failed", "campaign": "success", "deferred": "deferred"}
    return {**tasks, "batch": tasks["campaign"].in_same_run("send")}


def address(task: Task) -> str:
    return f"{PAGE}#/{task.dag_id}/{task.run_id}/{task.task_id}/-1"


def open_one(page: Browser, task: Task) -> None:
    # Another fragment alone would not load the page anew.
    page.open(f"{PAGE}page.css")
    page.open(address(task))


def test_an_empty_deployment_is_explained(page: Browser) -> None:
    page.open(PAGE)
    page.read("No Intercom messages yet", "SendMessageBatchOperator")


def test_the_list_shows_states_and_counts(page: Browser, runs: dict[str, Task]) -> None:
    page.open(PAGE)
    text = page.read("autumn_offer", "order_refunded", "appointments", "20 sent", "deferred", "failed")
    assert [private for private in (NAME, PHONE) if private in text] == []
    page.picture("page-list")
    assert len(runs) == 4


def test_a_batch_shows_its_outcomes_and_the_deliveries_of_its_run(page: Browser, runs: dict[str, Task]) -> None:
    open_one(page, runs["batch"])
    page.read("autumn_offer \u203a send", "Outcomes", "20 sent", "Deliveries, as wait sees them")
    log = page.see("//a[.='Log in Airflow']").get_attribute("href")
    assert log.endswith(f"/dags/autumn_offer/runs/{runs['batch'].run_id}/tasks/send")
    assert page.see("//a[.='Open in Intercom']").get_attribute("href").startswith("https://app.")
    page.picture("page-batch")


def test_a_deferred_wait_shows_its_progress(page: Browser, runs: dict[str, Task]) -> None:
    open_one(page, runs["deferred"])
    page.read("appointments \u203a wait", "deferred", "1 on their way", within=60)


def test_the_button_leads_to_the_tasks_own_run(page: Browser, runs: dict[str, Task], airflow: AirflowInstance) -> None:
    task = runs["refused"]
    page.open(f"/dags/{task.dag_id}/runs/{task.run_id}/tasks/{task.task_id}/details")
    assert page.see("//a[.='Delivery']").get_attribute("href") == f"{airflow.url}{address(task)}"


def test_text_from_outside_stays_text(page: Browser, runs: dict[str, Task], airflow: AirflowInstance) -> None:
    task = runs["refused"]
    path = f"/dags/{task.dag_id}/dagRuns/{task.run_id}/taskInstances/{task.task_id}/xcomEntries/return_value"
    values: dict[str, Any] = {"outcome": IMAGE, "reason": IMAGE, "key": IMAGE}
    airflow.call("PATCH", path, {"value": values, "map_index": -1})
    open_one(page, task)
    text = page.read(IMAGE)
    assert text.count(IMAGE) == 3
    assert page.title == "Intercom messages"
    assert page.all("//img") == []


def test_the_page_is_in_airflows_menu_and_in_its_frame(page: Browser, airflow: AirflowInstance) -> None:
    page.open("/plugin/intercom-messages")
    frame = page.see("//iframe")
    assert frame.get_attribute("src") == f"{airflow.url}{PAGE}"
    with page.inside(frame):
        page.read("autumn_offer", "20 sent")
        page.click("//tr[contains(.,'autumn_offer')]//a[.='send']")
        page.read("Outcomes")
        page.click("//a[.='Log in Airflow']")
    page.read("20 of 20: 20 sent")


def test_the_page_is_readable_in_the_dark(page: Browser, runs: dict[str, Task]) -> None:
    with page.dark():
        open_one(page, runs["batch"])
        page.read("Outcomes", "20 sent")
        assert page.see("//body").value_of_css_property("background-color") == "rgba(20, 23, 27, 1)"
        page.picture("page-dark")
