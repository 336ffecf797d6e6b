"""A batch whose task is killed or given up for dead: nobody twice, and the truth about the rest."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from intercom_provider.sending.batch.run import AHEAD
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


def test_a_campaign_of_5000_killed_ten_times_reaches_nobody_twice_and_names_what_it_does_not_know(
    killed_campaign: Future[KilledCampaign],
) -> None:
    campaign = killed_campaign.result(timeout=300)
    send, sandbox, unknown = campaign.task, campaign.sandbox, campaign.unconfirmed
    seed = f"killed at the moments of seed {SEED}"
    assert (send.state, send.info["try_number"]) == ("success", KILLS + 1), seed
    told, times = counts(send), sandbox.times
    assert told["unconfirmed"] == unknown[-1] > 0, seed
    assert max(after - before for before, after in pairwise([0, *unknown])) <= MOST_UNCONFIRMED, seed
    assert told["sent"] + told["already_sent"] + told["unconfirmed"] == told["total"] == CAMPAIGN, seed
    assert set(times.values()) == {1}, seed

    lines = last_results(campaign.results, send)
    assert sorted(line["index"] for line in lines) == list(range(CAMPAIGN))
    known = [line for line in lines if line["outcome"] != "unconfirmed"]
    assert len(lines) - len(known) == told["unconfirmed"], seed
    ids = {message["recipient"]: message["whatsapp_message_id"] for message in sandbox.messages}
    assert all(line["whatsapp_message_id"] == ids[phone(line["index"])] for line in known), seed


def test_killed_with_its_first_intents_written_a_batch_says_that_it_does_not_know(
    airflow: AirflowInstance, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    send = start(airflow, "batch", tmp_path, 150, die=True)

    assert send.end() == "failed"
    assert send.info["try_number"] == 2
    told = counts(send)
    assert 0 < told["unconfirmed"] <= AHEAD
    assert told == Counter(total=150, sent=150 - told["unconfirmed"], unconfirmed=told["unconfirmed"])
    assert sandbox.number == len(sandbox.times) == told["sent"]


def test_a_file_that_changes_after_a_kill_has_those_sent_who_were_not(
    airflow: AirflowInstance, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    send = start(airflow, "batch_of_a_campaign", tmp_path, 300)
    process = process_of(send)
    until(lambda: sandbox.number >= 100, "a third of the messages", every=0.05)
    kill(process)
    write_messages(tmp_path / "messages.jsonl", range(399, 99, -1))

    assert send.end() == "success"
    told, times = counts(send), sandbox.times
    assert told["total"] == 300
    assert set(times.values()) == {1}
    known = [line for line in last_results(tmp_path / "results", send) if line["outcome"] != "unconfirmed"]
    assert len(known) == 300 - told["unconfirmed"] >= 300 - MOST_UNCONFIRMED
    assert {phone(399 - line["index"]) for line in known} <= times.keys()


def test_a_task_that_sleeps_while_airflow_gives_it_up_for_dead_reaches_nobody_once_more(
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
        # It may send what it had intended, but whoever would keep it from more does not wake up yet.
        time.sleep(2)
        supervisor.resume()
    until(lambda: not process.is_running(), "the end of the one that slept")

    told, times = counts(send), sandbox.times
    assert set(times.values()) == {1}
    assert len(times) >= 500 - told["unconfirmed"] >= 500 - MOST_UNCONFIRMED
