"""Send against Intercom's rate limit: how much of it is used, and how many requests are answered 429."""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks import engine
from benchmarks.measure import Sample, beside, say
from benchmarks.table import Row, allowed
from demo.machinery import sandbox

if TYPE_CHECKING:
    from demo.machinery import Sandbox

_LIMIT: Final = 1_667
_WINDOW_SECONDS: Final = 10
_MIN_WINDOWS: Final = 6
_LATENCY_SECONDS: Final = 0.3
_BUDGET: Final = 0.8
# Enough for a minute of full windows, even when a run begins late in its first window.
_MESSAGES: Final = 10_000
_MESSAGES_OF_TWO: Final = 6_500
_REMEMBERED: Final = 20_000
_OK: Final = 200
_TOO_MANY: Final = 429


@dataclass(frozen=True, slots=True)
class _Seen:
    """
    The requests of a run, as the sandbox counted them.

    :param windows: The number of accepted requests in each full window in which every sender was at work.
    :param refused: The share of all requests that were answered 429.
    :param lost: How many messages were not created, were created twice, or differ from the senders' counts.
    :param cpu: The senders' CPU for a message, in microseconds.
    """

    windows: Sample
    refused: float
    lost: int
    cpu: float


def run() -> list[Row]:
    """
    Send for more than a minute, from one process and then from two that share nothing but the limit.

    :return: The rows.
    """
    one = _measure(("a",), _MESSAGES)
    two = _measure(("a", "b"), _MESSAGES_OF_TWO)
    per_window = _BUDGET * _LIMIT
    return [
        Row(
            what=f"one process: requests in a window, over {_WINDOW_SECONDS * len(one.windows.values)} s",
            ours=_average(one.windows),
            other=f"{per_window:.0f}: its budget, {_BUDGET:g} of {_LIMIT:,}",
            ratio=one.windows.mean / per_window,
            at_least=0.95,
            cpu=f"{one.cpu:.0f} us",
        ),
        allowed("one process: requests answered 429", Sample((100 * one.refused,)), 0.1, "{:.2f}%"),
        _none_lost("one process", one, _MESSAGES),
        Row(
            what="two processes, one limit: requests in a window, both together",
            ours=_average(two.windows),
            other=f"{_LIMIT:,}: the limit",
            ratio=two.windows.mean / _LIMIT,
            at_least=0.9,
            cpu=f"{two.cpu:.0f} us",
        ),
        allowed("two processes, one limit: requests answered 429", Sample((100 * two.refused,)), 1, "{:.2f}%"),
        _none_lost("two processes, one limit", two, 2 * _MESSAGES_OF_TWO),
    ]


def _average(windows: Sample) -> str:
    return f"{windows.mean:.0f} on average ({min(windows.values):.0f} to {max(windows.values):.0f})"


def _none_lost(who: str, seen: _Seen, number: int) -> Row:
    there = number - seen.lost
    return Row(
        what=f"{who}: messages sent once", ours=f"{there:,}", other=f"{number:,}", ratio=there / number, at_least=1
    )


def _measure(senders: tuple[str, ...], number: int) -> _Seen:
    options = ("--rate-limit", str(_LIMIT), "--latency", str(_LATENCY_SECONDS))
    with sandbox(*options, log=sys.stderr) as intercom:
        with ExitStack() as at_work:
            answers = [
                at_work.enter_context(beside(_send, intercom.url, _token(intercom), sender, number))
                for sender in senders
            ]
            reported, seconds = map(sum, zip(*(answer() for answer in answers), strict=True))
        seen = _measure_requests(intercom, senders, number * len(senders), int(reported), seconds)
    windows = " ".join(f"{count:.0f}" for count in seen.windows.values)
    say(f"  {len(senders)} at work: {windows} in a window, {100 * seen.refused:.2f}% refused, {seen.lost} lost")
    return seen


def _send(url: str, token: str, sender: str, number: int) -> tuple[int, float]:
    """Send, and return how many messages were sent and the seconds of CPU."""
    contacts = [f"{sender}-{index}" for index in range(number)]
    began = time.process_time()
    sent = engine.send(url, token, contacts, budget=_BUDGET).sent
    return sent, time.process_time() - began


def _measure_requests(intercom: Sandbox, senders: tuple[str, ...], number: int, reported: int, seconds: float) -> _Seen:
    requests = intercom.ask("/_sandbox/requests", last=_REMEMBERED)["requests"]
    times: dict[str, list[float]] = {sender: [] for sender in senders}
    for request in requests:
        times[request["json"]["to"]["id"].partition("-")[0]].append(request["time"])
    first = int(max(map(min, times.values())) // _WINDOW_SECONDS) + 1
    last = int(min(map(max, times.values())) // _WINDOW_SECONDS)
    passed = Counter(int(request["time"] // _WINDOW_SECONDS) for request in requests if request["status"] == _OK)
    windows = tuple(float(passed[window]) for window in range(first, last))
    if len(windows) < _MIN_WINDOWS:
        raise AssertionError(f"only {len(windows)} full windows")
    refused = sum(request["status"] == _TOO_MANY for request in requests) / len(requests)
    report = intercom.ask("/_sandbox/report")
    once = report["recipients"] - report["recipients_with_several_messages"]
    return _Seen(Sample(windows), refused, number - min(once, reported), 1e6 * seconds / number)


def _token(intercom: Sandbox) -> str:
    token: str = intercom.connection["password"]
    return token
