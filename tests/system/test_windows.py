"""A batch for three time zones defers twice while a triggerer is killed: everybody once, in their window."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from intercom_provider.sending.window import MAX_SLEEP_SECONDS
from tests.support.eventually import until
from tests.system.campaign import counts, last_results, phone
from tests.system.conftest import HOME, ZONES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.airflow_instance import AirflowInstance, Task
    from tests.system.campaign import SandboxProcess

PEOPLE = 36


def start(airflow: AirflowInstance, folder: Path, opens: datetime, zones: list[str]) -> Task:
    """Start a batch whose window opens at this time in UTC, for people in these time zones in turns."""
    hours = [opens.time().isoformat(), (opens + timedelta(hours=1)).time().isoformat()]
    HOME.joinpath("hours.json").write_text(json.dumps(hours))
    lines = [{"to": {"phone": phone(n)}, "timezone": zones[n % len(zones)]} for n in range(PEOPLE)]
    folder.joinpath("messages.jsonl").write_text("\n".join(map(json.dumps, lines)))
    where = {"messages": str(folder / "messages.jsonl"), "results_path": str(folder / "results")}
    return airflow.run("windows", "send", **where)


@pytest.mark.needs("task_state_store")
def test_a_batch_for_three_time_zones_defers_twice_and_counts_the_whole_try(
    airflow: AirflowInstance, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    opens, zones = datetime.now(UTC).replace(microsecond=0), list(ZONES)
    send = start(airflow, tmp_path, opens, zones)

    send.reach("deferred")
    assert (sandbox.number, send.xcom("sent"), send.xcom("waiting")["messages"]) == (12, 12, 24)
    airflow.kill("triggerer")
    airflow.start("triggerer")
    send.reach("running", within=MAX_SLEEP_SECONDS + 90)
    send.reach("deferred")
    assert (sandbox.number, send.xcom("sent"), send.xcom("waiting")["messages"]) == (24, 24, 12)
    assert send.end(within=MAX_SLEEP_SECONDS + 90) == "success"

    assert send.info["try_number"] == 1
    assert (counts(send), send.xcom("waiting")) == (Counter(total=PEOPLE, sent=PEOPLE), None)
    messages = {message["recipient"]: message["time"] for message in sandbox.messages}
    assert len(messages) == sandbox.number == PEOPLE
    for n in range(PEOPLE):
        behind = -ZONES[zones[n % len(zones)]]
        assert messages[phone(n)] >= int(opens.timestamp()) + behind, n
    rows = last_results(tmp_path / "results", send)
    assert Counter(row["index"] for row in rows) == Counter(range(PEOPLE))
    assert {row["outcome"] for row in rows} == {"sent"}


@pytest.mark.needs("task_state_store")
def test_a_batch_that_is_cleared_while_it_waits_messages_nobody_twice_and_waits_again(
    airflow: AirflowInstance, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    opens = datetime.now(UTC).replace(microsecond=0)
    send = start(airflow, tmp_path, opens, ["Test/Here", "Test/FurtherBehind"])
    send.reach("deferred")
    assert (sandbox.number, send.xcom("sent")) == (18, 18)
    send.clear()
    until(lambda: send.info["try_number"] == 2 and send.state == "deferred", "the deferral of the second try")
    assert (sandbox.number, send.xcom("already_sent"), send.xcom("sent")) == (18, 18, 0)
    assert (send.xcom("waiting")["try"], send.xcom("waiting")["messages"]) == (2, 18)
    send.mark_failed()
