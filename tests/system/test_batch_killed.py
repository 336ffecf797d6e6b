"""A batch whose task is killed or loses its heartbeat: no duplicates, and every unknown outcome is reported."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from intercom_provider.ledger.task_state import MAX_OPEN_INTENTS
from tests.support.eventually import until

from .campaign import (
    CAMPAIGN,
    KILLS,
    MOST_UNCONFIRMED,
    SEED,
    counts,
    kill,
    last_results,
    phone,
    process_of,
    start,
    write_messages,
)

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from tests.support.airflow_instance import AirflowInstance

    from .campaign import KilledCampaign, SandboxProcess


def test_a_campaign_of_5000_killed_ten_times_has_no_duplicates_and_reports_what_is_unconfirmed(
    killed_campaign: Future[KilledCampaign],
) -> None:
    campaign = killed_campaign.result(timeout=300)
    send, sandbox, unknown = campaign.task, campaign.sandbox, campaign.unconfirmed
    seed = f"killed at the moments of seed {SEED}"
    assert (send.state, send.info["try_number"]) == ("success", KILLS + 1), seed
    counted, times = counts(send), sandbox.times
    assert counted["unconfirmed"] == unknown[-1] > 0, seed
    assert max(after - before for before, after in pairwise([0, *unknown])) <= MOST_UNCONFIRMED, seed
    assert counted["sent"] + counted["already_sent"] + counted["unconfirmed"] == counted["total"] == CAMPAIGN, seed
    assert set(times.values()) == {1}, seed

    lines = last_results(campaign.results, send)
    assert sorted(line["index"] for line in lines) == list(range(CAMPAIGN))
    known = [line for line in lines if line["outcome"] != "unconfirmed"]
    assert len(lines) - len(known) == counted["unconfirmed"], seed
    ids = {message["recipient"]: message["whatsapp_message_id"] for message in sandbox.messages}
    assert all(line["whatsapp_message_id"] == ids[phone(line["index"])] for line in known), seed


def test_a_batch_killed_after_its_first_intents_reports_them_as_unconfirmed(
    airflow: AirflowInstance, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    send = start(airflow, "batch", tmp_path, 150, die=True)

    assert send.end() == "failed"
    assert send.info["try_number"] == 2
    told = counts(send)
    assert 0 < told["unconfirmed"] <= MAX_OPEN_INTENTS
    assert told == Counter(total=150, sent=150 - told["unconfirmed"], unconfirmed=told["unconfirmed"])
    assert sandbox.number == len(sandbox.times) == told["sent"]


def test_a_file_that_changes_after_a_kill_reaches_the_new_recipients_and_nobody_twice(
    airflow: AirflowInstance, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    send = start(airflow, "batch_of_a_campaign", tmp_path, 300)
    process = process_of(send)
    until(lambda: sandbox.number >= 100, "a third of the messages", every=0.05)
    kill(process)
    write_messages(tmp_path / "messages.jsonl", range(399, 99, -1))

    assert send.end() == "success"
    counted, times = counts(send), sandbox.times
    assert counted["total"] == 300
    assert set(times.values()) == {1}
    known = [line for line in last_results(tmp_path / "results", send) if line["outcome"] != "unconfirmed"]
    assert len(known) == 300 - counted["unconfirmed"] >= 300 - MOST_UNCONFIRMED
    assert {phone(399 - line["index"]) for line in known} <= times.keys()


def test_a_suspended_task_that_airflow_retries_sends_no_duplicates(
    airflow: AirflowInstance, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    send = start(airflow, "batch_of_a_campaign", tmp_path, 500)
    process = process_of(send)
    supervisor = process.parent()
    until(lambda: sandbox.number >= 100, "some messages", every=0.05)
    supervisor.suspend()
    process.suspend()
    try:
        process_of(send, 2)
        assert send.end() == "success"
    finally:
        process.resume()
        # The process may now send what it had intended. Its supervisor, which would stop it, still sleeps.
        time.sleep(2)
        supervisor.resume()
    until(lambda: not process.is_running(), "the end of the suspended process")

    counted, times = counts(send), sandbox.times
    assert set(times.values()) == {1}
    assert len(times) >= 500 - counted["unconfirmed"] >= 500 - MOST_UNCONFIRMED
