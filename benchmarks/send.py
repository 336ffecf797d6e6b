"""
Sending: 50 ms a reply, 50 requests in flight, no rate limit; over https, as Intercom speaks nothing else.

An httpx client that many tasks share keeps 20 idle connections and opens the others anew, which costs little on one
machine; keeping all of them costs more, because it checks each one for each request. So there is a row for either, and
one without TLS.

The sandbox checks every message and shares the cores with the sender, so the rows of a minimal fast server stand
beside its own.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, TypeAlias

from benchmarks import engine, fast, senders
from benchmarks.measure import Cpu, in_turns
from benchmarks.table import Row
from demo.machinery import sandbox
from tests.support.tls import write_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.measure import Sample
    from benchmarks.senders import Send

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


_Measured: TypeAlias = "tuple[dict[str, Sample], Cpu]"


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
        measured = _measure(_SENDERS, "--certificate", str(certificate))
        plain = _measure({name: _SENDERS[name] for name in (_OURS, _ASYNC_SDK)})
        quick = _measure_fast({name: _SENDERS[name] for name in (_OURS, _TASKS, _THREADS, _AIOHTTP)}, certificate)
    rates, cpu = measured
    best = max((_TASKS, _THREADS), key=lambda name: rates[name].median)
    other = _THREADS if best == _TASKS else _TASKS
    return [
        # Never four times AsyncIntercom as it comes: that is more than the replies allow.
        _row(measured, _ASYNC_SDK, 2),
        _row(measured, _ASYNC_SDK_KEPT, 4),
        _row(measured, _SYNC_SDK, 30),
        _row(measured, _SYNC_HTTPX, 30),
        _row(measured, best, 0.9),
        _row(measured, other),
        _row(measured, _AIOHTTP),
        Row(
            what="messages a second, against what the replies allow at most",
            ours=rates[_OURS].told("{:.0f}"),
            other=f"{_AT_ONCE / _LATENCY_SECONDS:.0f}: {_AT_ONCE} in {1000 * _LATENCY_SECONDS:.0f} ms",
            ratio=rates[_OURS].median * _LATENCY_SECONDS / _AT_ONCE,
        ),
        _row(measured, best, ours=_OURS_STORED),
        *(_row(quick, name, how="a minimal server") for name in (best, other, _AIOHTTP)),
        _row(plain, _ASYNC_SDK, how="http without TLS"),
        Row(
            what=f"CPU a message, against {_THREADS}",
            ours=cpu.sample(_OURS).told("{:.0f} us"),
            other=cpu.sample(_THREADS).told("{:.0f} us"),
            ratio=cpu.sample(_OURS).median / cpu.sample(_THREADS).median,
            at_most=0.93,
        ),
    ]


def _measure(chosen: Mapping[str, tuple[Send, int]], *options: str) -> _Measured:
    with sandbox("--rate-limit", "0", "--latency", str(_LATENCY_SECONDS), *options, log=sys.stderr) as intercom:

        def check(number: int) -> None:
            report = intercom.ask("/_sandbox/report")
            if not report["messages"] == report["recipients"] == number:
                raise AssertionError(f"{number} messages: {report}")
            intercom.ask("/_sandbox/reset", body={})

        return _in_turns(chosen, intercom.url, intercom.connection["password"], check)


def _measure_fast(chosen: Mapping[str, tuple[Send, int]], certificate: Path) -> _Measured:
    expected = 0
    with fast.serve(_LATENCY_SECONDS, certificate) as (url, created):

        def check(number: int) -> None:
            nonlocal expected
            expected += number
            if created() != expected:
                raise AssertionError(f"{created()} messages instead of {expected}")

        return _in_turns(chosen, url, "token", check)


def _in_turns(chosen: Mapping[str, tuple[Send, int]], url: str, token: str, check: Callable[[int], None]) -> _Measured:
    """Return messages a second, and microseconds of this process's CPU a message."""
    cpu = Cpu()

    def rate(name: str) -> float:
        send, number = chosen[name]
        contacts = [f"contact-{index}" for index in range(number)]
        began = time.perf_counter()
        with cpu.spent(name, number):
            send(url, token, contacts, _AT_ONCE)
        took = time.perf_counter() - began
        check(number)
        return number / took

    return in_turns({name: functools.partial(rate, name) for name in chosen}), cpu


def _row(measured: _Measured, other: str, at_least: float | None = None, *, ours: str = _OURS, how: str = "") -> Row:
    rates, cpu = measured
    how = how or ours.partition(", ")[2]
    return Row(
        what=f"messages a second{how and f', {how}'}, against {other}",
        ours=rates[ours].told("{:.0f}"),
        other=rates[other].told("{:.0f}"),
        ratio=rates[ours].median / rates[other].median,
        at_least=at_least,
        cpu=cpu.told(ours, other),
    )
