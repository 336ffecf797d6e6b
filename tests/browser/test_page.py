"""The page *Intercom messages* in Airflow: what it shows of real runs, and how."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.browser.axe import find_faults
from tests.browser.past import add_past_runs, remove_past_runs
from tests.browser.people import NAME, PHONE
from tests.support.eventually import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browser.chromium import Browser
    from tests.support.airflow_instance import AirflowInstance, Task

PAGE: Final = "/intercom/"
IMAGE: Final = "<img src=x onerror=\"document.title = 'run'\">"
MAX_CALLS: Final = 30
# How often the browser has asked Airflow's API until the rows in view had their counts.
COUNT_CALLS: Final = """
const [shown] = performance.getEntriesByName("intercom-rows-in-view");
if (!shown) return null;
const asked = performance.getEntriesByType("resource").filter((each) => each.name.includes("/api/"));
return asked.filter((each) => each.startTime <= shown.startTime).length;
"""


def address(task: Task) -> str:
    return f"{PAGE}#/{task.dag_id}/{task.run_id}/{task.task_id}/-1"


def open_one(page: Browser, task: Task) -> None:
    # Another fragment alone would not load the page anew.
    page.open(f"{PAGE}page.css")
    page.open(address(task))


def test_an_empty_deployment_is_explained(page: Browser) -> None:
    page.open(PAGE)
    page.read("No Intercom messages yet", "SendMessageBatchOperator")
    assert find_faults(page) == []


def test_the_list_shows_states_and_counts(page: Browser, runs: dict[str, Task]) -> None:
    page.open(PAGE)
    text = page.read("autumn_offer", "order_refunded", "summer_sale", "20 sent", "deferred", "failed", within=60)
    page.read("1 on their way", "1 rejected", within=60)
    assert [private for private in (NAME, PHONE) if private in text] == []
    assert len(page.all("//tbody/tr")) == len(runs) + 1
    assert find_faults(page) == []
    page.resize(650)
    page.picture("page-list")


def test_a_batch_shows_its_outcomes_and_the_deliveries_of_its_run(page: Browser, runs: dict[str, Task]) -> None:
    open_one(page, runs["batch"])
    page.read("autumn_offer \u203a send", "Outcomes", "20 sent", "Deliveries, as wait sees them")
    log = page.see("//a[.='Log in Airflow']").get_attribute("href")
    assert log.endswith(f"/dags/autumn_offer/runs/{runs['batch'].run_id}/tasks/send")
    assert page.see("//a[.='Open in Intercom']").get_attribute("href").startswith("https://app.")


def test_a_campaign_with_failures_shows_their_reasons(page: Browser, runs: dict[str, Task]) -> None:
    open_one(page, runs["offer"])
    text = page.read("Outcomes", "1 suppressed", "3 duplicates", "3 rejected", "6 failed")
    assert "Reason" in text
    (reasons, failures) = page.all("//table")
    assert "WhatsApp" in reasons.text
    assert "undeliverable" in failures.text.lower()
    assert find_faults(page) == []
    page.resize(830)
    page.picture("page-batch")


def test_a_deferred_wait_shows_its_progress(page: Browser, runs: dict[str, Task]) -> None:
    open_one(page, runs["deferred"])
    page.read("appointments \u203a wait", "deferred", "1 on their way", "Counted at", within=60)


def test_the_button_leads_to_the_tasks_own_run(page: Browser, runs: dict[str, Task], airflow: AirflowInstance) -> None:
    task = runs["refused"]
    page.open(f"/dags/{task.dag_id}/runs/{task.run_id}/tasks/{task.task_id}/details")
    assert page.see("//a[.='Delivery']").get_attribute("href") == f"{airflow.url}{address(task)}"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        pytest.param("refused", {"outcome": IMAGE, "reason": IMAGE, "key": IMAGE}, id="a-message"),
        pytest.param(
            "offer",
            {
                "total": 1,
                "rejected": 1,
                "reasons": [{"reason": IMAGE, "count": 1}],
                "key": IMAGE,
                "results_path": IMAGE,
            },
            id="a-batch",
        ),
        pytest.param(
            "sale",
            {"total": 1, "failed": 1, "failures": [{"reason": IMAGE}], "key": IMAGE, "results_path": IMAGE},
            id="a-wait",
        ),
    ],
)
def test_text_from_outside_stays_text(
    page: Browser, runs: dict[str, Task], airflow: AirflowInstance, name: str, values: dict[str, Any]
) -> None:
    task = runs[name]
    path = f"/dags/{task.dag_id}/dagRuns/{task.run_id}/taskInstances/{task.task_id}/xcomEntries/return_value"
    before = task.xcom("return_value")
    airflow.call("PATCH", path, {"value": values, "map_index": -1})
    try:
        open_one(page, task)
        text = page.read(IMAGE)
        assert text.count(IMAGE) == 3
        page.open(PAGE)
        page.read("20 sent")
        assert page.title == "Intercom messages"
        assert page.all("//img") == []
    finally:
        airflow.call("PATCH", path, {"value": before, "map_index": -1})


def test_the_page_is_in_airflows_menu_and_in_its_frame(
    page: Browser, runs: dict[str, Task], airflow: AirflowInstance
) -> None:
    page.open("/plugin/intercom-messages")
    frame = page.see("//iframe")
    assert frame.get_attribute("src") == f"{airflow.url}{PAGE}"
    with page.inside(frame):
        page.read(runs["batch"].dag_id, "20 sent")
        page.click("//tr[contains(.,'autumn_offer')]//a[.='send']")
        page.read("Outcomes")
        page.click("//a[.='Log in Airflow']")
    page.read("20 of 20: 20 sent")


def test_the_page_is_readable_in_the_dark(page: Browser, runs: dict[str, Task]) -> None:
    with page.dark():
        page.open(PAGE)
        page.read("20 sent")
        assert find_faults(page) == []
        open_one(page, runs["offer"])
        page.read("Outcomes", "6 failed")
        assert page.see("//body").value_of_css_property("background-color") == "rgba(20, 23, 27, 1)"
        assert find_faults(page) == []
        page.resize(830)
        page.picture("page-dark")


def test_the_numbers_of_a_batch_move_while_it_runs(page: Browser, airflow: AirflowInstance) -> None:
    task = airflow.run("winter_offer", "send")
    line = "//tr[contains(.,'winter_offer')]"
    page.open(PAGE)
    page.see(f"{line}//*[contains(@class,'running')]", within=120)
    first = sent_so_far(page)
    until(lambda: sent_so_far(page) > first, "the number in the list to move", within=120)
    page.click(f"{line}//a")
    page.read("Counted at", "running")
    first = sent_so_far(page)
    until(lambda: sent_so_far(page) > first, "the number of the task to move", within=120)
    page.resize(480)
    page.picture("page-running")
    page.read("success", "60 sent", within=180)
    assert page.all("//*[contains(.,'to come')]") == []
    assert task.xcom("progress")["total"] == 60


def test_a_batch_that_waits_for_its_window_shows_when_it_opens(page: Browser, airflow: AirflowInstance) -> None:
    task = airflow.run("spring_offer", "send")
    task.reach("deferred", within=120)
    open_one(page, task)
    page.read("deferred", "20 to come", "The rest waits for its window, which opens", within=60)


def sent_so_far(page: Browser) -> int:
    label = page.see("//*[@class='bar'][contains(@aria-label,'to come')]", within=120).get_attribute("aria-label")
    return int(match[1]) if (match := re.match(r"(\d+) sent", label)) else 0


@pytest.fixture
def past(runs: dict[str, Task]) -> Iterator[None]:
    """Add 200 runs with 50 batches each, which are newer than all others."""
    # Airflow keeps times in UTC.
    until_then = datetime.now().replace(microsecond=0) + timedelta(days=2)  # noqa: DTZ005 - SQLite has no time zones
    add_past_runs(runs["batch"], runs=200, tasks=50, until=until_then)
    yield
    remove_past_runs(runs["batch"])


@pytest.mark.usefixtures("past")
def test_the_first_view_of_a_full_database_takes_few_calls(page: Browser) -> None:
    page.open(f"{PAGE}page.css")
    # All rows of the first page are in view, as on the tallest of screens.
    page.resize(2400)
    page.evaluate(f"location.href = '{PAGE}'")
    calls = until(lambda: page.evaluate(COUNT_CALLS), "the counts of all rows in view", within=60)
    assert len(page.all("//tbody/tr//*[@class='bar']")) == 25
    # One for all states, and one for the counts of each row; a slow machine may have read the states twice.
    assert 26 <= calls <= MAX_CALLS
