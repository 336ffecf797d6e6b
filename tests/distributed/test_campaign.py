"""A campaign of 5,000 messages over two workers, one of which is killed half-way."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from intercom_provider.ledger.task_state import MAX_OPEN_INTENTS
from tests.distributed.conftest import DAG_ID, LIMIT, SLOTS, WORKERS
from tests.support.eventually import until
from tests.support.results import read_last_try

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from demo.machinery import Sandbox
    from tests.support.airflow_instance import AirflowInstance, Task

MESSAGES: Final = 5_000
CHUNK: Final = 500
CHUNKS: Final = MESSAGES // CHUNK
# Three magic numbers are among them: one message fails, one stays sent, one is not accepted by WhatsApp.
# Those after them would stop a batch.
PHONES: Final = [f"+447900{number:06}" for number in range(94_906, 94_906 + MESSAGES)]

_WINDOW: Final = 10
_OUTCOMES: Final = ("sent", "already_sent", "rejected", "not_sent", "unconfirmed", "expired", "duplicates")


@dataclass(frozen=True, slots=True)
class Campaign:
    """
    The campaign as Airflow and as the sandbox recorded it.

    :param lost: The chunks that the killed worker was sending.
    :param tries: The number of tries of each chunk.
    :param batches: The XCom of each chunk.
    :param lines: The results of the last try of each chunk, by phone.
    :param summary: The XCom of the sensor.
    :param created: The messages that the sandbox created, by phone.
    :param requests: All requests that the sandbox received.
    """

    lost: set[int]
    tries: list[int]
    batches: list[dict[str, Any]]
    lines: dict[str, dict[str, Any]]
    summary: dict[str, Any]
    created: dict[str, list[dict[str, Any]]]
    requests: list[dict[str, Any]]


@pytest.fixture(scope="module")
def campaign(airflow: AirflowInstance, intercom: Sandbox, home: Path) -> Campaign:
    """Run the campaign once, kill a worker half-way, and collect the records of both sides."""
    recipients = home / "recipients.jsonl"
    recipients.write_text("".join(f"{line}\n" for line in _recipients()), encoding="utf-8")
    folder = home / "airflow" / "campaign"
    send = airflow.run(
        DAG_ID,
        "send",
        recipients=recipients.as_uri(),
        folder=folder.as_uri(),
        chunk_size=CHUNK,
    )
    chunks = [send[index] for index in range(CHUNKS)]
    lost = _kill_half_way(airflow, intercom, chunks)

    wait = send.in_same_run("wait_for_campaign")
    assert [chunk.end(within=240) for chunk in chunks] == ["success"] * CHUNKS
    assert wait.end(within=420) == "success"
    created: dict[str, list[dict[str, Any]]] = {}
    for message in intercom.ask("/_sandbox/messages", last=10 * MESSAGES)["messages"]:
        created.setdefault(message["recipient"], []).append(message)
    return Campaign(
        lost=lost,
        tries=[chunk.info["try_number"] for chunk in chunks],
        batches=[chunk.xcom("return_value") for chunk in chunks],
        lines={
            line["key"]: line for index in range(CHUNKS) for line in _last_try(folder / DAG_ID / send.run_id, index)
        },
        summary=wait.xcom("return_value"),
        created=created,
        requests=intercom.ask("/_sandbox/requests", last=10 * MESSAGES)["requests"],
    )


def _recipients() -> Iterator[str]:
    for number, phone in enumerate(PHONES):
        yield json.dumps({"to": {"phone": phone}, "params": {"name": f"Customer {number}"}, "key": phone})


def _kill_half_way(airflow: AirflowInstance, intercom: Sandbox, chunks: list[Task]) -> set[int]:
    doomed, other = WORKERS

    def half_way() -> bool:
        if intercom.ask("/_sandbox/report")["messages"] < MESSAGES // 2:
            return False
        created = {message["recipient"] for message in intercom.ask("/_sandbox/messages", last=MESSAGES)["messages"]}
        begun = [chunk for chunk in chunks if len(created & set(_phones_of(chunk))) >= CHUNK // 5]
        return all(any(airflow.works_on(name, chunk) for chunk in begun) for name in (doomed, other))

    until(half_way, "half of the messages, both workers in the midst of theirs", within=300, every=0.5)
    airflow.kill(doomed)
    # Airflow shows the tasks of the killed worker as running until it misses their heartbeat.
    survivors = {chunk.map_index for chunk in chunks if airflow.works_on(other, chunk)}
    return {chunk.map_index for chunk in chunks if chunk.state == "running"} - survivors


def _phones_of(chunk: Task) -> list[str]:
    return PHONES[chunk.map_index * CHUNK :][:CHUNK]


def _last_try(folder: Path, index: int) -> Iterator[dict[str, Any]]:
    for line in read_last_try(folder / "send" / str(index)):
        yield {**line, "chunk": index}


def test_the_other_worker_finishes_the_chunks_of_the_killed_one(campaign: Campaign) -> None:
    assert 1 <= len(campaign.lost) <= SLOTS
    assert {index for index, tries in enumerate(campaign.tries) if tries > 1} == campaign.lost
    # It continues them and does not start over.
    assert any(campaign.batches[index]["already_sent"] for index in campaign.lost)


def test_nobody_gets_two_messages(campaign: Campaign) -> None:
    assert {phone: len(messages) for phone, messages in campaign.created.items() if len(messages) > 1} == {}
    assert campaign.created.keys() <= set(PHONES)


def test_every_recipient_without_a_message_is_reported_as_unconfirmed(campaign: Campaign) -> None:
    outcomes = {outcome: set[str]() for outcome in _OUTCOMES}
    for phone, line in campaign.lines.items():
        outcomes[line["outcome"]].add(phone)
    assert campaign.lines.keys() == set(PHONES)
    reported = outcomes["sent"] | outcomes["already_sent"] | outcomes["rejected"]
    assert reported <= campaign.created.keys()
    assert set(PHONES) - reported == outcomes["unconfirmed"]
    # Only chunks of the killed worker have unconfirmed messages: those with an intent and without a result.
    unconfirmed = Counter(campaign.lines[phone]["chunk"] for phone in outcomes["unconfirmed"])
    assert unconfirmed.keys() <= campaign.lost
    assert all(number <= MAX_OPEN_INTENTS for number in unconfirmed.values())


def test_the_summaries_count_every_message(campaign: Campaign) -> None:
    totals = Counter[str]()
    for batch in campaign.batches:
        assert batch["total"] == sum(batch[outcome] for outcome in _OUTCOMES) == CHUNK
        totals.update({outcome: batch[outcome] for outcome in _OUTCOMES})
    assert totals == Counter(line["outcome"] for line in campaign.lines.values())
    assert totals["rejected"] == 1

    known = {
        message["whatsapp_message_id"]: message["status"]
        for phone, (message,) in campaign.created.items()
        if campaign.lines[phone]["outcome"] in ("sent", "already_sent")
    }
    ids = [each for batch in campaign.batches for each in batch["whatsapp_message_ids"]]
    assert sorted(ids) == sorted(known)

    summary, statuses = campaign.summary, Counter(known.values())
    assert summary["total"] == MESSAGES
    assert summary["settled"]
    # Deliveries went on after the sensor's last look.
    assert summary["failed"] <= statuses["failed"] + totals["rejected"]
    assert summary["pending"] >= statuses["sent"] + totals["unconfirmed"]
    assert summary["reached"] <= statuses["delivered"] + statuses["read"]
    assert summary["failed"] + summary["pending"] + summary["reached"] == MESSAGES


def test_the_shared_limit_is_held(campaign: Campaign) -> None:
    windows = Counter(int(request["time"] // _WINDOW) for request in campaign.requests)
    refused = sum(request["status"] == 429 for request in campaign.requests)
    assert refused <= 0.01 * len(campaign.requests)
    assert max(windows.values()) <= LIMIT + refused
    # The limit is what bounds the speed.
    assert max(windows.values()) >= 0.8 * LIMIT
