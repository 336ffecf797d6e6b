"""
What a test may need of Airflow, and where the documentation says how the provider does without.

A test that needs something, or that shows what happens without it, says so with a marker:
`@pytest.mark.needs("task_state_store")`, `@pytest.mark.lacks("task_state_store")`. Where it does not apply it is
deselected, and counted by its reason. A test that fails for any other reason fails.
"""

from __future__ import annotations

import importlib
from collections import Counter
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Feature:
    """Something that not every version of Airflow has."""

    what: str
    module: str
    name: str
    documented: str

    def is_there(self) -> bool:
        """Tell whether the Airflow of this environment has it."""
        try:
            attrgetter(self.name)(importlib.import_module(self.module))
        except (ImportError, AttributeError):
            return False
        return True


FEATURES: Final = {
    "task_state_store": Feature(
        "task state store", "airflow.sdk", "NEVER_EXPIRE", "docs/reliability.md#before-airflow-33"
    ),
    "retry_policy": Feature(
        "retry policies",
        "airflow.sdk.definitions.retry_policy",
        "RetryPolicy",
        "docs/reliability.md#when-the-rate-limit-is-used-up",
    ),
    "async_tasks": Feature("asynchronous tasks", "airflow.sdk", "BaseAsyncOperator", "docs/hook.md#async"),
    "dag_test_waits": Feature(
        "a dag.test() that waits until its API server has started",
        "airflow.sdk.execution_time.supervisor",
        "in_process_api_server.cache_info",
        "docs/testing.md#the-fixture",
    ),
    "deadline_imports": Feature(
        "deadline alerts among the names of airflow.sdk", "airflow.sdk", "AsyncCallback", "docs/alerts.md#deadlines"
    ),
    "sync_callback": Feature("synchronous callbacks", "airflow.sdk", "SyncCallback", "docs/alerts.md#deadlines"),
    "connections_as_written": Feature(
        "connections whose extra is no JSON object",
        "airflow.secrets.base_secrets",
        "BaseSecretsBackend._get_connection_class",
        "docs/errors.md#errors-of-the-connection",
    ),
    "provider_commands": Feature(
        "commands of providers", "airflow.providers_manager", "ProvidersManager.cli_command_functions", "docs/cli.md"
    ),
}


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    config.addinivalue_line("markers", "needs(feature): runs only where Airflow has it; see tests/support/features.py")
    config.addinivalue_line("markers", "lacks(feature): runs only where Airflow does not have it")
    config.pluginmanager.register(_Applicable(config))


class _Applicable:
    """Leaves out what does not apply to this version of Airflow, and says so."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._left_out: Counter[str] = Counter()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        there = {name: feature.is_there() for name, feature in FEATURES.items()}
        kept = []
        for item in items:
            if reason := _reason(item, there):
                self._left_out[reason] += 1
            else:
                kept.append(item)
        if "workeroutput" not in vars(self._config):
            self._config.hook.pytest_deselected(items=set(items) - set(kept))
        items[:] = kept

    def pytest_sessionfinish(self) -> None:
        # A process of pytest-xdist tells the one that started it, which has collected nothing itself.
        if "workeroutput" in vars(self._config):
            vars(self._config)["workeroutput"]["left_out"] = dict(self._left_out)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        # All of them have collected, and left out, the same.
        left_out = getattr(node, "workeroutput", {}).get("left_out", {})
        if left_out and not self._left_out:
            self._left_out.update(left_out)
            self._config.hook.pytest_deselected(items=range(self._left_out.total()))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for reason, count in sorted(self._left_out.items()):
            terminalreporter.write_line(f"NOT APPLICABLE [{count}] {reason}")


def _reason(item: pytest.Item, there: dict[str, bool]) -> str | None:
    """Tell why a test does not apply; None when it does."""
    for marker, applies in (("needs", True), ("lacks", False)):
        for name in _names(item.iter_markers(marker)):
            if there[name] is not applies:
                feature = FEATURES[name]
                return f"{feature.what}: {'not ' if applies else ''}in this Airflow, {feature.documented}"
    return None


def _names(markers: Iterable[pytest.Mark]) -> Iterable[str]:
    return [name for marker in markers for name in marker.args]
