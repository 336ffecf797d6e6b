"""Who sees what on the page *Intercom messages*: Airflow with roles for single DAGs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httpx
import pytest

from tests.browser.axe import find_faults
from tests.support.eventually import until
from tests.support.server_process import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browser.chromium import Browser
    from tests.support.airflow_instance import AirflowInstance, Task

# As in `tests.browser.viewer`, which needs Airflow's settings when it is imported.
READER: Final = "ada"
NO_XCOM_READER: Final = "bob"
PASSWORD: Final = "a password for tests"
# Cookies of 127.0.0.1 are for all of its ports, and so those of the other API server.
HOST: Final = "localhost"


@pytest.fixture(scope="module")
def url(airflow: AirflowInstance, runs: dict[str, Task]) -> Iterator[str]:
    """Start a second API server, with users who may read one DAG."""
    port = str(free_port())
    url = f"http://{HOST}:{port}"
    settings = {
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    }
    viewers = ("tests.browser.viewer", PASSWORD, runs["refused"].dag_id)
    for name, command in {"fab-migrate": ("airflow", "fab-db", "migrate"), "fab-viewers": viewers}.items():
        assert airflow.launch(name, *command, settings=settings).wait(timeout=120) == 0, f"{name} failed"
    airflow.launch("fab-server", "airflow", "api-server", "--host", "127.0.0.1", settings=settings)
    until(lambda: answers(f"http://127.0.0.1:{port}/api/v2/version"), "the second API server", within=120)
    yield url
    airflow.kill("fab-server")


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


def sign_in(page: Browser, name: str) -> None:
    page.click("//a[.='Sign in']")
    page.see("//input[@name='username']").send_keys(name)
    page.see("//input[@name='password']").send_keys(PASSWORD)
    page.click("//*[@type='submit']")


def test_a_visitor_signs_in_and_sees_nothing_of_dags_that_the_role_may_not_read(
    page: Browser, url: str, runs: dict[str, Task]
) -> None:
    page.open(f"{url}/intercom/")
    page.read("You are not signed in to Airflow")
    assert find_faults(page) == []
    sign_in(page, READER)
    text = page.read("order_refunded", "1 rejected")
    assert len(page.all("//tbody/tr")) == 1
    assert [task.dag_id for task in runs.values() if task.dag_id != "order_refunded" and task.dag_id in text] == []
    assert page.all("//*[@id='notice']") == []


def test_the_address_of_a_run_gives_no_right_to_read_it(page: Browser, url: str, runs: dict[str, Task]) -> None:
    task = runs["offer"]
    page.open(f"{url}/intercom/page.css")
    page.open(f"{url}/intercom/#/{task.dag_id}/{task.run_id}/{task.task_id}/-1")
    text = page.read("Your role may not read this")
    assert "Outcomes" not in text


def test_who_may_read_no_xcoms_sees_states_and_is_told_why_there_are_no_counts(page: Browser, url: str) -> None:
    page.open(f"{url}/intercom/page.css")
    page.forget_cookies()
    page.open(f"{url}/intercom/")
    sign_in(page, NO_XCOM_READER)
    text = page.read("order_refunded", "failed", "Your role may not read this", "XComs")
    assert "1 rejected" not in text
