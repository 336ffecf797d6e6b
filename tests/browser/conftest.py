"""A real Airflow, an Intercom for it, and a browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from intercom_provider.sandbox import Sandbox
from tests.browser.chromium import Browser, browser
from tests.support.airflow_instance import AirflowInstance, end_on_signals
from tests.support.debian import MissingError, Packages
from tests.support.project import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME: Final = PROJECT / ".airflow" / "browser"
DAGS: Final = Path(__file__).parent / "dags"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let pictures be taken where they are wanted."""
    parser.addoption("--pictures", type=Path, help="a folder for pictures of what the tests see")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """Name the logs where they are needed."""
    if exitstatus and HOME.is_dir():
        terminalreporter.write_line(f"The logs: {HOME.relative_to(PROJECT)}/airflow/logs")


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """Start an Intercom whose workspace is in Europe, where WhatsApp is quick."""
    with Sandbox(region="eu", speed=100, failures=0) as server:
        yield server


@pytest.fixture(scope="session")
def airflow(sandbox: Sandbox) -> Iterator[AirflowInstance]:
    """Start an Airflow in which connections may be tested."""
    end_on_signals()
    # No region: for a conversation Intercom's own word counts, and of values as short as that Airflow warns each time.
    connection = {**sandbox.connection, "extra": {"admin_id": "814860"}}
    settings = {"AIRFLOW__CORE__TEST_CONNECTION": "Enabled"}
    with AirflowInstance(HOME / "airflow", DAGS, {"intercom_shop": connection}, settings=settings) as instance:
        yield instance


@pytest.fixture(scope="session")
def _browser(
    request: pytest.FixtureRequest, airflow: AirflowInstance, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    pictures: Path | None = request.config.getoption("--pictures")
    with pytest.MonkeyPatch.context() as patch:
        # Nothing between this machine and itself is a proxy's business.
        for name in ("NO_PROXY", "no_proxy"):
            patch.setitem(os.environ, name, "127.0.0.1,localhost")
        try:
            with browser(Packages(HOME / "debian"), tmp_path_factory.mktemp("profile"), airflow.url, pictures) as one:
                yield one
        except MissingError as missing:
            pytest.exit(str(missing), returncode=1)


@pytest.fixture
def page(_browser: Browser) -> Browser:
    """Give the browser, which shows what the last test has left there."""
    return _browser
