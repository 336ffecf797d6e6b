"""A campaign over five runs that are made up for at once: everybody gets it once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.airflow_instance import Task
from tests.support.eventually import until
from tests.system.campaign import phone, write_messages

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.airflow_instance import AirflowInstance
    from tests.system.campaign import SandboxProcess
    from tests.system.ledgers import SystemLedger

DAYS: Final = [f"2025-01-{day}" for day in range(10, 15)]
A_DAY: Final = 600
# Two thirds of each list were on that of the day before, a third on that of two days before.
NEW: Final = A_DAY // 3
EVERYBODY: Final = {phone(index) for index in range((len(DAYS) + 2) * NEW)}


@pytest.mark.parametrize("ledger", ["SQLite", "PostgreSQL"], indirect=True)
def test_five_runs_at_once_message_everybody_once(
    airflow: AirflowInstance, sandbox: SandboxProcess, ledger: SystemLedger, tmp_path: Path
) -> None:
    for number, day in enumerate(DAYS):
        write_messages(tmp_path / f"{day}.jsonl", range(number * NEW, number * NEW + A_DAY))
    airflow.set_variable("lifecycle", str(tmp_path))
    dag_id = f"lifecycle_{ledger.conn_id}"
    until(lambda: airflow.find(f"/dags/{dag_id}"), "the DAG", within=120)
    airflow.call("PATCH", f"/dags/{dag_id}", {"is_paused": False})

    def ended() -> list[dict[str, Any]] | None:
        runs: list[dict[str, Any]] = airflow.call("GET", f"/dags/{dag_id}/dagRuns")["dag_runs"]
        return runs if [run["state"] in ("success", "failed") for run in runs] == [True] * len(DAYS) else None

    runs = until(ended, "the runs", within=180, every=1)
    assert [run["state"] for run in runs] == ["success"] * len(DAYS)
    assert sandbox.times == dict.fromkeys(EVERYBODY, 1)

    totals = Counter[str]()
    for run in runs:
        send = Task(airflow, dag_id, run["dag_run_id"], "send")
        counts: dict[str, int] = {name: send.xcom(name) for name in ("sent", "already_sent", "claimed")}
        assert sum(counts.values()) == send.xcom("total") == A_DAY
        totals.update(counts)
    assert totals["sent"] == len(EVERYBODY)
    rows = ledger.select("SELECT outcome, count(*) FROM intercom_messages WHERE campaign = 'trial-day-3' GROUP BY 1")
    assert rows == [("sent", len(EVERYBODY))]
