"""Three DAGs send one campaign at the same moment, to lists that overlap, and one of two workers is killed half-way."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from intercom_provider.sending.batch.counts import COUNT_NAMES
from tests.distributed.conftest import WORKERS, start_missing_workers
from tests.support.eventually import until

if TYPE_CHECKING:
    from pathlib import Path

    from demo.machinery import Sandbox
    from tests.distributed.servers import Servers
    from tests.support.airflow_instance import AirflowInstance, Task

THIRD: Final = 1_000
PHONES: Final = [f"+447901{number:06}" for number in range(3 * THIRD)]
# Each DAG has two thirds, so that everybody is in two lists.
LISTS: Final = {
    "thirds_first": PHONES[: 2 * THIRD],
    "thirds_second": PHONES[THIRD:],
    "thirds_third": PHONES[2 * THIRD :] + PHONES[:THIRD],
}


@dataclass(frozen=True, slots=True)
class Thirds:
    """
    The campaign as Airflow, the ledger and the sandbox recorded it.

    :param sends: The task of each DAG.
    :param batches: The counts of each task.
    :param later: The task of a run that began when the others had ended.
    :param created: How many messages the sandbox created for each phone.
    :param rows: How many rows the ledger has, by DAG, try, and outcome.
    :param unconfirmed: The phones that are unconfirmed in the ledger.
    """

    sends: dict[str, Task]
    batches: dict[str, Counter[str]]
    later: Task
    created: Counter[str]
    rows: Counter[tuple[str, int, str]]
    unconfirmed: set[str]


@pytest.fixture(scope="module")
def thirds(airflow: AirflowInstance, intercom: Sandbox, servers: Servers, home: Path) -> Thirds:
    """Run the three DAGs once, kill a worker half-way, run one again, and collect the records of all sides."""
    start_missing_workers(airflow)
    params: dict[str, dict[str, Any]] = {}
    for dag_id, phones in LISTS.items():
        file = home / f"{dag_id}.jsonl"
        file.write_text("".join(f"{json.dumps({'to': {'phone': phone}, 'key': phone})}\n" for phone in phones))
        params[dag_id] = {"recipients": file.as_uri(), "campaign": "autumn"}
    sends = {dag_id: airflow.run(dag_id, "send", **params[dag_id]) for dag_id in LISTS}

    def half_way() -> str | None:
        if _created(intercom).total() < len(PHONES) // 2:
            return None
        working = [name for name in WORKERS if any(airflow.works_on(name, send) for send in sends.values())]
        return working[0] if len(working) == len(WORKERS) else None

    airflow.kill(until(half_way, "half of the messages, both workers in the midst of theirs", within=180, every=0.2))
    assert [send.end(within=240) for send in sends.values()] == ["success"] * len(sends)

    later = airflow.run("thirds_first", "send", **params["thirds_first"])
    assert later.end(within=120) == "success"
    rows = servers.ask_ledger("SELECT dag_id, try_number, outcome, count(*) FROM intercom_messages GROUP BY 1, 2, 3")
    unconfirmed = servers.ask_ledger("SELECT key FROM intercom_messages WHERE outcome = 'unconfirmed'")
    return Thirds(
        sends=sends,
        batches={dag_id: _counts(send) for dag_id, send in sends.items()},
        later=later,
        created=_created(intercom),
        rows=Counter({(dag_id, number, outcome): count for dag_id, number, outcome, count in rows}),
        unconfirmed={key for (key,) in unconfirmed},
    )


def _created(intercom: Sandbox) -> Counter[str]:
    messages = intercom.ask("/_sandbox/messages", last=100_000)["messages"]
    everybody = set(PHONES)
    return Counter(message["recipient"] for message in messages if message["recipient"] in everybody)


def _counts(task: Task) -> Counter[str]:
    return Counter({name: task.xcom(name) for name in ("total", *COUNT_NAMES)})


def test_nobody_gets_two_messages_and_only_the_unconfirmed_may_have_none(thirds: Thirds) -> None:
    assert set(thirds.created.values()) == {1}
    assert set(PHONES) - thirds.created.keys() <= thirds.unconfirmed
    assert thirds.unconfirmed <= set(PHONES)


def test_a_task_of_the_killed_worker_was_tried_again_and_answers_for_what_it_had_claimed(thirds: Thirds) -> None:
    tries = {dag_id: send.info["try_number"] for dag_id, send in thirds.sends.items()}
    killed = {dag_id for dag_id, number in tries.items() if number > 1}
    assert killed
    for dag_id, batch in thirds.batches.items():
        theirs = sum(thirds.rows[dag_id, number, "unconfirmed"] for number in range(1, tries[dag_id] + 1))
        assert batch["unconfirmed"] == theirs
        assert dag_id in killed or not theirs


def test_the_counts_of_all_three_agree_with_the_table(thirds: Thirds) -> None:
    by_outcome = Counter[str]()
    for (_, _, outcome), count in thirds.rows.items():
        by_outcome[outcome] += count
    # No try and no run left a claim open, and everybody has one row.
    assert by_outcome.keys() <= {"sent", "unconfirmed"}
    assert by_outcome.total() == len(PHONES)
    for dag_id, batch in thirds.batches.items():
        assert batch["total"] == sum(batch[outcome] for outcome in COUNT_NAMES) == len(LISTS[dag_id])
        assert batch["sent"] == thirds.rows[dag_id, thirds.sends[dag_id].info["try_number"], "sent"]
        assert not any(batch[outcome] for outcome in ("rejected", "not_sent", "expired", "suppressed", "duplicates"))


def test_a_later_run_is_green_and_sends_nothing(thirds: Thirds) -> None:
    later = _counts(thirds.later)
    assert later["sent"] == later["unconfirmed"] == 0
    assert later["already_sent"] + later["claimed"] == later["total"] == 2 * THIRD
    assert later["claimed"] == len(thirds.unconfirmed & set(LISTS["thirds_first"]))
