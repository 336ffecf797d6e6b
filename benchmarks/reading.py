"""
Reading the statuses of 100,000 messages, a thousand pages: how long, and how much memory.

This provider reads them as the sensor does, which counts each message once and keeps the failed ones for its report; a
loop with json.loads counts the events. The sandbox makes the pages. Over HTTP they come from a server that only writes
them, because the sandbox takes longer for a page than anybody who reads it. Seconds are those of this process's CPU.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import httpx
import urllib3
from intercom import Intercom
from intercom.core.unchecked_base_model import construct_type
from intercom.unstable.types import WhatsappMessageStatusList

from benchmarks import recorded
from benchmarks.measure import ROUNDS, Sample, alone, in_turns, memory, say
from benchmarks.table import Row, allowed
from demo.machinery import sandbox
from intercom_provider.api.client import IntercomClient
from intercom_provider.api.flow import DEFAULT_RETRY_LIMITS, Reply
from intercom_provider.api.settings import Settings
from intercom_provider.waiting.criteria import Criteria, Growth
from intercom_provider.waiting.list_position import read_list
from intercom_provider.waiting.poll import PollOptions
from intercom_provider.waiting.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from demo.machinery import Sandbox
    from intercom_provider.api.flow import Flow
    from intercom_provider.waiting.poll import FullPoll
    from intercom_provider.waiting.statuses import Summary

_MESSAGES: Final = 100_000
_RULESET: Final = "4711"
_EMPTY: Final = "nobody"
_BYTES_EACH: Final = 16
_MEBIBYTES: Final = 10

_OURS: Final = "this provider"
_SDK: Final = "python-intercom"
_BARE: Final = "json.loads"
_URLLIB3: Final = "urllib3 and json.loads"


def run() -> list[Row]:
    """
    Compare reading with the official SDK's models and with a loop over bare JSON.

    :return: The rows.
    """
    # So fast that every message has come to its end before the first page is asked for.
    options = ("--rate-limit", "0", "--speed", "10000", "--failures", "0.05", "--ruleset", f"{_RULESET}:{_MESSAGES}")
    with sandbox(*options, log=sys.stderr) as intercom:
        url, token = intercom.url, _token(intercom)
        bodies: list[bytes] = []
        counts = _count(_pages(url, token, bodies.append))
        say(f"  {len(bodies)} pages, {sum(map(len, bodies)) / 2**20:.0f} MiB")
        used = Sample(tuple(alone(_mebibytes, url, token) for _ in range(ROUNDS)))
    parsed = in_turns(
        {
            _OURS: lambda: _timed(lambda: _as_counts(_replayed(bodies)), counts),
            _SDK: lambda: _timed(lambda: _count_models(map(_model, bodies)), counts),
            _BARE: lambda: _timed(lambda: _count(map(json.loads, bodies)), counts),
        }
    )
    with recorded.serve(bodies) as url:
        fetched = in_turns(
            {
                _OURS: lambda: _timed(lambda: _as_counts(_fetched(url, token)), counts),
                _SDK: lambda: _timed(lambda: _count_models(_models(url, token)), counts),
                _BARE: lambda: _timed(lambda: _count(_pages(url, token)), counts),
                _URLLIB3: lambda: _timed(lambda: _count(_urllib3_pages(url, token)), counts),
            }
        )
    return [
        *_rows("parsed from recorded bytes", parsed),
        *_rows("over HTTP", fetched),
        _against_loop("over HTTP", fetched, _URLLIB3),
        allowed("memory while reading", used, _BYTES_EACH * _MESSAGES / 2**20 + _MEBIBYTES, "{:.1f} MiB"),
    ]


def _rows(how: str, samples: dict[str, Sample]) -> Iterator[Row]:
    ours, sdk = samples[_OURS], samples[_SDK]
    is_parsing = "HTTP" not in how
    yield Row(
        what=f"{how}, against the models of {_SDK}: times as fast",
        ours=ours.told("{:.2f} s"),
        other=sdk.told("{:.2f} s"),
        ratio=sdk.median / ours.median,
        at_least=8 if is_parsing else None,
    )
    yield _against_loop(how, samples, _BARE, 1.5 if is_parsing else 1.1)


def _against_loop(how: str, samples: dict[str, Sample], other: str, at_most: float | None = None) -> Row:
    return Row(
        what=f"{how}, against a loop with {other}: times as long",
        ours=samples[_OURS].told("{:.2f} s"),
        other=samples[other].told("{:.2f} s"),
        ratio=samples[_OURS].median / samples[other].median,
        at_most=at_most,
    )


def _timed(read: Callable[[], dict[str, int]], expected: dict[str, int]) -> float:
    """Read, and return the seconds of CPU that this process took."""
    began = time.process_time()
    found = read()
    took = time.process_time() - began
    if found != expected:
        raise AssertionError(f"read {found} instead of {expected}")
    return took


def _poll(ruleset_id: str, report: Report) -> Flow[FullPoll]:
    options = PollOptions(
        now=0.0,
        criteria=Criteria(),
        growth=Growth(),
        first=DEFAULT_RETRY_LIMITS,
        others=DEFAULT_RETRY_LIMITS,
        unknown_is_pending=False,
        observer=report,
        full=True,
        may_stop_early=False,
    )
    poll, _ = yield from read_list(ruleset_id, None, options)
    return poll


def _replayed(bodies: list[bytes]) -> Summary:
    replies = iter(bodies)
    with _report() as report:
        flow = _poll(_RULESET, report)
        next(flow)
        while True:
            try:
                flow.send(Reply(200, {}, next(replies), 0.0))
            except StopIteration as end:
                poll: FullPoll = end.value
                return poll.summary


def _fetched(url: str, token: str, ruleset_id: str = _RULESET) -> Summary:
    with IntercomClient(Settings(token=token, base_url=url)) as client, _report() as report:
        return client.run(_poll(ruleset_id, report)).summary


def _report() -> Report:
    return Report(wait_for="delivered", results=None, keys={})


def _as_counts(summary: Summary) -> dict[str, int]:
    return {name: getattr(summary, name) for name in ("delivered", "failed", "read", "sent") if getattr(summary, name)}


def _pages(url: str, token: str, record: Callable[[bytes], None] = lambda _: None) -> Iterator[Any]:
    with httpx.Client(base_url=url, headers=_headers(token), trust_env=False) as client:

        def get(params: dict[str, str]) -> bytes:
            body = client.get("/messages/status", params=params).raise_for_status().content
            record(body)
            return body

        yield from _walked(get)


def _urllib3_pages(url: str, token: str) -> Iterator[Any]:
    with urllib3.PoolManager(headers=_headers(token)) as client:
        yield from _walked(lambda params: client.request("GET", f"{url}/messages/status", fields=params).data)


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Intercom-Version": "2.17"}


def _walked(get: Callable[[dict[str, str]], bytes]) -> Iterator[Any]:
    params: dict[str, str] = {"ruleset_id": _RULESET, "per_page": "100"}
    while True:
        page = json.loads(get(params))
        yield page
        following = page["pages"]["next"]
        if following is None:
            return
        params["starting_after"] = following["starting_after"]


def _count(pages: Iterator[Any]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for page in pages:
        for event in page["events"]:
            counts[event["status"]] += 1
    return counts


def _count_models(pages: Iterator[Any]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for page in pages:
        for event in page.events:
            counts[event.status] += 1
    return counts


def _model(page: bytes) -> Any:
    # What the SDK's client does with a reply; it has no pager for this list.
    return construct_type(type_=WhatsappMessageStatusList, object_=json.loads(page))


def _models(url: str, token: str) -> Iterator[Any]:
    client = Intercom(base_url=url, token=token, headers={"Intercom-Version": "2.17"})
    after = None
    while True:
        page = client.unstable.messages.get_whats_app_message_status(
            ruleset_id=_RULESET, per_page=100, starting_after=after
        )
        yield page
        if page.pages.next is None:
            return
        after = page.pages.next.starting_after


def _token(intercom: Sandbox) -> str:
    token: str = intercom.connection["password"]
    return token


def _mebibytes(url: str, token: str) -> float:
    """Tell by how much the memory of this process grows at most while it reads the statuses."""
    # Whatever the first request loads is not the number of messages' fault.
    _fetched(url, token, _EMPTY)
    before = memory("VmRSS")
    _fetched(url, token)
    return memory("VmHWM") - before
