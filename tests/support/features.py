"""
Features that not every version of Airflow has, and the page that explains how the provider works without each.

A test that needs a feature, or that shows the behaviour without it, has a marker:
`@pytest.mark.needs("task_state_store")`, `@pytest.mark.lacks("task_state_store")`. Tests that do not apply to the
installed Airflow are deselected, and the summary counts them by reason.
"""

from __future__ import annotations

import importlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Feature:
    """A feature that not every version of Airflow has."""

    what: str
    module: str
    name: str
    documented: str

    def is_there(self) -> bool:
        """Check whether the installed Airflow has it."""
        try:
            found: Any = importlib.import_module(self.module)
            for name in self.name.split("."):
                # The fields of pydantic's models are not attributes of their classes.
                fields = getattr(found, "model_fields", {})
                found = fields[name] if name in fields else getattr(found, name)
        except (ImportError, AttributeError):
            return False
        return True


FEATURES: Final = {
    "task_state_store": Feature(
        "task state store", "airflow.sdk", "NEVER_EXPIRE", "docs/reliability.md#before-airflow-33"
    ),
    "clear_empties_state": Feature(
        "a clear that empties the task state store",
        "airflow.api_fastapi.core_api.datamodels.task_instances",
        "ClearTaskInstancesBody.keep_task_state",
        "docs/reliability.md#a-clear-that-empties-the-store",
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
    "stats_of_a_process": Feature(
        "stats that each process sets up for itself",
        "airflow.sdk.observability.metrics.stats_utils",
        "get_stats_factory",
        "docs/metrics.md",
    ),
    "human_input": Feature(
        "tasks that wait for a person in a state of their own",
        "airflow.sdk.exceptions",
        "TaskAwaitingInput",
        "docs/batches.md#ask-somebody-before-it-goes-out",
    ),
    "provider_commands": Feature(
        "commands of providers", "airflow.providers_manager", "ProvidersManager.cli_command_functions", "docs/cli.md"
    ),
}


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    config.addinivalue_line("markers", "needs(feature): runs only where Airflow has it; see tests/support/features.py")
    config.addinivalue_line("markers", "lacks(feature): runs only where Airflow does not have it")
    config.pluginmanager.register(_Applicable(config))


class _Applicable:
    """Deselects the tests that do not apply to the installed Airflow, and reports them."""

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
        # A worker of pytest-xdist reports to the process that started it, which collects no tests itself.
        if "workeroutput" in vars(self._config):
            vars(self._config)["workeroutput"]["left_out"] = dict(self._left_out)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        # All workers have collected and deselected the same tests, so one report is enough.
        left_out = getattr(node, "workeroutput", {}).get("left_out", {})
        if left_out and not self._left_out:
            self._left_out.update(left_out)
            self._config.hook.pytest_deselected(items=range(self._left_out.total()))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for reason, count in sorted(self._left_out.items()):
            terminalreporter.write_line(f"NOT APPLICABLE [{count}] {reason}")


def _reason(item: pytest.Item, there: dict[str, bool]) -> str | None:
    """Return why a test does not apply; None when it does."""
    for marker, applies in (("needs", True), ("lacks", False)):
        for name in _names(item.iter_markers(marker)):
            if there[name] is not applies:
                feature = FEATURES[name]
                return f"{feature.what}: {'not ' if applies else ''}in this Airflow, {feature.documented}"
    return None


def _names(markers: Iterable[pytest.Mark]) -> Iterable[str]:
    return [name for marker in markers for name in marker.args]
