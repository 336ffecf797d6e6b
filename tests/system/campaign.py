"""Run a campaign against a sandbox in a process of its own, and read its counts, results and ledger."""

from __future__ import annotations

import functools
import json
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Self

import httpx
import psutil  # type: ignore[import-untyped]  # Airflow brings it, without types

from intercom_provider.ledger.ledger import Attempt
from intercom_provider.ledger.task_state import MAX_OPEN_INTENTS
from intercom_provider.ledger.task_state_batch import BatchLedger
from tests.support.eventually import until
from tests.support.project import PROJECT
from tests.support.results import read_last_try

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from tests.support.airflow_instance import AirflowInstance, Task

MOST_UNCONFIRMED: Final = MAX_OPEN_INTENTS
"""How many messages one kill may leave unconfirmed."""

KILLS: Final = 10
SEED: Final = 4
CAMPAIGN: Final = 5_000
"""The number of messages of the campaign that is killed ten times."""

COUNTS: Final = ("total", "sent", "already_sent", "rejected", "not_sent", "unconfirmed", "expired", "duplicates")


class SandboxProcess:
    """A sandbox in a process of its own, with the default rate limit, that runs for the length of a ``with`` block."""

    def __init__(self) -> None:
        options = ("--port", "0", "--print-json", "--latency", "0.1")
        command = [sys.executable, "-m", "intercom_provider.sandbox", *options]
        self._process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ours
        assert self._process.stdout is not None
        address = json.loads(self._process.stdout.readline())
        self._connection: dict[str, Any] = address["connection"]
        self._http = httpx.Client(base_url=f"{address['url']}/_sandbox", timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
        self._process.terminate()
        self._process.communicate(timeout=10)

    def connect(self, airflow: AirflowInstance, connection_id: str) -> None:
        """Add the connection to it to Airflow."""
        body = {**self._connection, "extra": json.dumps(self._connection["extra"])}
        airflow.call("POST", "/connections", {"connection_id": connection_id, **body})

    def reset(self) -> None:
        """Remove all its messages and requests."""
        self._http.post("/reset").raise_for_status()

    @property
    def number(self) -> int:
        """The number of messages that were created."""
        return int(self._ask("/messages?last=1")["total"])

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages that were created."""
        return list(self._ask("/messages?last=1000000")["messages"])

    @property
    def times(self) -> Counter[str]:
        """The number of messages of each recipient."""
        return Counter(message["recipient"] for message in self.messages)

    @property
    def last_request(self) -> float:
        """The time of the last request, in epoch seconds."""
        return float(self._ask("/requests?last=1")["requests"][-1]["time"])

    def _ask(self, path: str) -> Any:
        return self._http.get(path).raise_for_status().json()


def phone(index: int) -> str:
    """Return the phone of a recipient."""
    return f"+4479001{index:05}"


def write_messages(file: Path, people: Iterable[int]) -> None:
    """Write a campaign as JSON Lines."""
    file.write_text("\n".join(json.dumps({"to": {"phone": phone(index)}}) for index in people))


def start(airflow: AirflowInstance, dag_id: str, folder: Path, number: int, **params: Any) -> Task:
    """Start a batch of `number` messages."""
    write_messages(folder / "messages.jsonl", range(number))
    where = {"messages": str(folder / "messages.jsonl"), "results_path": str(folder / "results")}
    return airflow.run(dag_id, "send", **where, **params)


def process_of(task: Task, try_number: int = 1) -> psutil.Process:
    """Wait for the process of a try, and return it."""

    def pid() -> int | None:
        info = task.info
        return info["pid"] if info["state"] == "running" and info["try_number"] == try_number else None

    return psutil.Process(until(pid, f"try {try_number}", every=0.05))


def kill(process: psutil.Process) -> None:
    """End a task's process with SIGKILL, and wait for its end."""
    process.kill()
    until(lambda: not process.is_running(), "the end of the process", every=0.01)


def counts(task: Task) -> Counter[str]:
    """Read a batch's counts."""
    return Counter({name: task.xcom(name) for name in COUNTS})


def last_results(folder: Path, task: Task) -> list[dict[str, Any]]:
    """Read the results of the last try."""
    return list(read_last_try(folder / task.dag_id / task.run_id / "send" / "-1"))


@dataclass(frozen=True, slots=True)
class _Read:
    values: dict[str, Any]

    def get(self, key: str) -> Any:
        return self.values.get(key)

    def set(self, key: str, value: Any) -> None:
        raise NotImplementedError


def unconfirmed(task: Task) -> set[str]:
    """Read the unconfirmed messages from a batch's ledger."""
    rows = task.airflow.select(f"SELECT key, value FROM task_state_store WHERE run_id = '{task.run_id}'")  # noqa: S608
    ledger = BatchLedger(_Read({key: json.loads(value) for key, value in rows}), Attempt(100, 100, 100))
    return {digest for digest, entry in ledger.entries().items() if entry.state == "intent"}


@dataclass(frozen=True, slots=True)
class KilledCampaign:
    """
    A campaign that was killed ten times.

    :param task: Its task, which has ended.
    :param sandbox: The sandbox that it used.
    :param results: The folder of its results.
    :param unconfirmed: The number of unconfirmed messages in its ledger after each kill.
    """

    task: Task
    sandbox: SandboxProcess
    results: Path
    unconfirmed: list[int]


def _has_ended(task: Task, number: int) -> bool:
    info = task.info
    return info.get("state") != "running" or info["try_number"] > number


def kill_again_and_again(airflow: AirflowInstance, sandbox: SandboxProcess, folder: Path) -> KilledCampaign:
    """Send a campaign, and kill ten tries of its task at random moments."""
    moments = random.Random(SEED)  # noqa: S311 - no secret
    send = start(airflow, "batch_of_a_campaign", folder, CAMPAIGN, conn="intercom_campaign")
    unknown: list[set[str]] = []
    for number in range(1, KILLS + 1):
        process = process_of(send, number)
        time.sleep(moments.uniform(0.3, 5))
        kill(process)
        # The last write of the process may still be on its way to the store.
        until(functools.partial(_has_ended, send, number), f"the end of try {number}")
        unknown.append(unconfirmed(send))
    # A message that is unconfirmed once stays unconfirmed.
    assert all(before <= after for before, after in pairwise(unknown))
    send.end(within=120)
    return KilledCampaign(send, sandbox, folder / "results", [len(each) for each in unknown])
