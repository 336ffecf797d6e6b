"""Measure what a message costs in Airflow itself: a mapped task each, or one batch for all, on a real scheduler."""

from __future__ import annotations

import functools
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.measure import in_turns
from benchmarks.table import Row
from demo.machinery import sandbox
from tests.support.airflow_instance import AirflowInstance
from tests.support.eventually import until
from tests.support.project import PROJECT

if TYPE_CHECKING:
    from demo.machinery import Sandbox

_LATENCY_SECONDS: Final = 0.05
_DAGS: Final = Path(__file__).with_name("dags")
_MAPPED: Final = 20
_IN_A_BATCH: Final = 1_000
_MAX_RUN_SECONDS: Final = 180.0
# Airflow's default of 32 overloads two cores.
_PARALLELISM: Final = 8


def run() -> list[Row]:
    """
    Run both DAGs from their start to their end, as Airflow itself gives it.

    :return: The rows.
    """
    settings = {"AIRFLOW__CORE__PARALLELISM": str(_PARALLELISM)}
    with sandbox("--rate-limit", "0", "--latency", str(_LATENCY_SECONDS), log=sys.stderr) as intercom:
        connections = {"intercom_default": intercom.connection}
        with AirflowInstance(PROJECT / ".airflow" / "bench-mapped", _DAGS, connections, settings=settings) as airflow:
            found = in_turns(
                {
                    "batch": functools.partial(_seconds_each, airflow, intercom, "batch", _IN_A_BATCH),
                    "mapped": functools.partial(_seconds_each, airflow, intercom, "mapped", _MAPPED),
                }
            )
    batch, mapped = found["batch"], found["mapped"]
    return [
        Row(
            what=f"seconds a message: a batch of {_IN_A_BATCH:,} against {_MAPPED} mapped tasks: times as fast",
            ours=batch.told("{:.4f} s"),
            other=mapped.told("{:.2f} s"),
            ratio=mapped.median / batch.median,
        )
    ]


def _seconds_each(airflow: AirflowInstance, intercom: Sandbox, dag_id: str, number: int) -> float:
    intercom.ask("/_sandbox/reset", body={})
    task = airflow.run(dag_id, "send", number=number)
    path = f"/dags/{dag_id}/dagRuns/{task.run_id}"
    ended = until(
        lambda: found if (found := airflow.call("GET", path))["state"] in ("success", "failed") else None,
        f"the run of {dag_id}",
        within=_MAX_RUN_SECONDS,
    )
    report = intercom.ask("/_sandbox/report")
    if ended["state"] != "success" or not report["messages"] == report["recipients"] == number:
        raise AssertionError(f"{dag_id} {ended['state']}: {report}")
    began, end = (datetime.fromisoformat(ended[name]) for name in ("start_date", "end_date"))
    return (end - began).total_seconds() / number
