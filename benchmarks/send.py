"""
Sending: 50 ms a reply, 50 requests in flight, no rate limit; over https, as Intercom speaks nothing else.

An httpx client that many tasks share keeps 20 idle connections and opens the others anew, which costs little on one
machine; keeping all of them costs more, because it checks each one for each request. So there is a row for either, and
one without TLS.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from benchmarks import engine, senders
from benchmarks.measure import Sample, in_turns
from benchmarks.table import Row
from demo.machinery import sandbox
from tests.support.tls import write_certificate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.senders import Send
    from demo.machinery import Sandbox

_LATENCY_SECONDS: Final = 0.05
_AT_ONCE: Final = 50

_OURS: Final = "this provider"
_OURS_STORED: Final = "this provider, 6 ms a write"
_ASYNC_SDK: Final = "AsyncIntercom, a semaphore"
_ASYNC_SDK_KEPT: Final = "AsyncIntercom, its connections kept"
_SYNC_SDK: Final = "Intercom, a loop"
_SYNC_HTTPX: Final = "httpx, a loop"
_TASKS: Final = "httpx, a client a task"
_THREADS: Final = "httpx, a client a thread"
_AIOHTTP: Final = "aiohttp, one session"

# The time of a write to Airflow's task state store.
_STORE_SECONDS: Final = 0.006


def _ours(url: str, token: str, contacts: Sequence[str], at_once: int, *, pause: float = 0.0) -> None:
    engine.send(url, token, contacts, pause=pause, concurrency=at_once)


# Enough messages for some seconds of work; a loop is as slow with few as with many.
_SENDERS: Final[dict[str, tuple[Send, int]]] = {
    _OURS: (_ours, 5_000),
    _ASYNC_SDK: (senders.async_sdk, 3_000),
    _ASYNC_SDK_KEPT: (senders.async_sdk_kept, 1_000),
    _SYNC_SDK: (senders.sync_sdk, 60),
    _SYNC_HTTPX: (senders.sync_httpx, 60),
    _TASKS: (senders.httpx_tasks, 5_000),
    _THREADS: (senders.httpx_threads, 5_000),
    _AIOHTTP: (senders.bare_aiohttp, 5_000),
    _OURS_STORED: (functools.partial(_ours, pause=_STORE_SECONDS), 5_000),
}


def run() -> list[Row]:
    """
    Send with this provider and with its alternatives.

    :return: The rows.
    """
    with TemporaryDirectory() as folder:
        certificate = write_certificate(Path(folder) / "https.pem")
        os.environ["SSL_CERT_FILE"] = str(certificate)
        rates, cpu = _measure(_SENDERS, "--certificate", str(certificate))
        plain, _ = _measure({name: _SENDERS[name] for name in (_OURS, _ASYNC_SDK)})
    best = max((_TASKS, _THREADS), key=lambda name: rates[name].median)
    other = _THREADS if best == _TASKS else _TASKS
    return [
        _row(rates, _ASYNC_SDK, 4),
        _row(rates, _ASYNC_SDK_KEPT),
        _row(rates, _SYNC_SDK, 30),
        _row(rates, _SYNC_HTTPX, 30),
        _row(rates, best, 0.9),
        _row(rates, other),
        _row(rates, _AIOHTTP),
        Row(
            what="messages a second, against what the replies allow at most",
            ours=rates[_OURS].told("{:.0f}"),
            other=f"{_AT_ONCE / _LATENCY_SECONDS:.0f}: {_AT_ONCE} in {1000 * _LATENCY_SECONDS:.0f} ms",
            ratio=rates[_OURS].median * _LATENCY_SECONDS / _AT_ONCE,
        ),
        _row(rates, best, ours=_OURS_STORED),
        _row(plain, _ASYNC_SDK, how="http without TLS"),
        Row(
            what=f"CPU a message, against {_THREADS}",
            ours=cpu[_OURS].told("{:.0f} us"),
            other=cpu[_THREADS].told("{:.0f} us"),
            ratio=cpu[_OURS].median / cpu[_THREADS].median,
            at_most=0.93,
        ),
    ]


def _measure(chosen: Mapping[str, tuple[Send, int]], *options: str) -> tuple[dict[str, Sample], dict[str, Sample]]:
    """Return messages a second, and microseconds of this process's CPU a message."""
    cpu: dict[str, list[float]] = {name: [] for name in chosen}

    def measured(name: str) -> float:
        send, number = chosen[name]
        began = time.process_time()
        rate = _rate(intercom, send, number)
        cpu[name].append(1e6 * (time.process_time() - began) / number)
        return rate

    with sandbox("--rate-limit", "0", "--latency", str(_LATENCY_SECONDS), *options, log=sys.stderr) as intercom:
        rates = in_turns({name: functools.partial(measured, name) for name in chosen})
    return rates, {name: Sample(tuple(values)) for name, values in cpu.items()}


def _row(
    rates: dict[str, Sample], other: str, at_least: float | None = None, *, ours: str = _OURS, how: str = ""
) -> Row:
    how = how or ours.partition(", ")[2]
    return Row(
        what=f"messages a second{how and f', {how}'}, against {other}",
        ours=rates[ours].told("{:.0f}"),
        other=rates[other].told("{:.0f}"),
        ratio=rates[ours].median / rates[other].median,
        at_least=at_least,
    )


def _rate(intercom: Sandbox, send: Send, number: int) -> float:
    """Send, and return messages a second."""
    intercom.ask("/_sandbox/reset", body={})
    contacts = [f"contact-{index}" for index in range(number)]
    began = time.perf_counter()
    send(intercom.url, intercom.connection["password"], contacts, _AT_ONCE)
    took = time.perf_counter() - began
    report = intercom.ask("/_sandbox/report")
    if not report["messages"] == report["recipients"] == number:
        raise AssertionError(f"{number} messages: {report}")
    return number / took
