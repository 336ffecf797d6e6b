"""The same calls through both drivers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from intercom_provider.api import calls
from intercom_provider.api.client import AsyncIntercomClient, IntercomClient
from intercom_provider.api.errors import IntercomError
from intercom_provider.api.flow import Flow, RetryLimits
from intercom_provider.api.message import parse_message
from intercom_provider.api.settings import Settings
from tests.support.hostile import TOKEN

if TYPE_CHECKING:
    from tests.support.hostile import Hostile

T = TypeVar("T")
Call: TypeAlias = Callable[[Settings, RetryLimits], Flow[Any]]
Driver: TypeAlias = Callable[..., list[Any]]

ADA: Final = {"message_type": "in_app", "to": {"type": "user", "id": "ada"}, "body": "Hello, dear customer"}


def settings_for(url: str, *, timeout: float = 5.0, token: str = TOKEN, **more: Any) -> Settings:
    return Settings(token=token, base_url=url, timeout=timeout, admin_id="814860", **more)


def run_sync(settings: Settings, *flows: Flow[Any]) -> list[Any]:
    with IntercomClient(settings) as client:
        return [client.run(flow) for flow in flows]


def run_async(settings: Settings, *flows: Flow[Any]) -> list[Any]:
    async def run() -> list[Any]:
        async with AsyncIntercomClient(settings) as client:
            return [await client.run(flow) for flow in flows]

    return asyncio.run(run())


DRIVERS: Final[dict[str, Driver]] = {"sync": run_sync, "async": run_async}


def send(settings: Settings, limits: RetryLimits, **fields: object) -> Flow[Any]:
    return calls.send_message(parse_message(ADA | fields), settings, limits)


def status(_: Settings, limits: RetryLimits) -> Flow[Any]:
    return calls.whatsapp_status("wamid.1", limits)


def page(_: Settings, limits: RetryLimits) -> Flow[Any]:
    return calls.Pages("4711").read(limits)


CALLS: Final[dict[str, Call]] = {"send": send, "status": status, "page": page}
GETS: Final = ("status", "page")


@dataclass(frozen=True, slots=True)
class Seen:
    """The end of a call: the class of its error, or "ok"; requests made, messages created."""

    end: str
    requests: int
    created: int


def ending_of(driver: Driver, settings: Settings, flow: Flow[Any]) -> tuple[str, IntercomError | None, Any]:
    """Run one call; return the name of its end, and its error or its result."""
    try:
        [result] = driver(settings, flow)
    except IntercomError as error:
        return type(error).__name__, error, None
    return "ok", None, result


def together(*works: Callable[[], T]) -> list[T]:
    """Run functions that mostly wait, at the same time."""
    with ThreadPoolExecutor(max_workers=len(works)) as pool:
        return [done.result() for done in [pool.submit(work) for work in works]]


def in_both_drivers(work: Callable[[str], T]) -> T:
    """Run a function for both drivers at the same time; both must return the same."""
    first, second = together(*(partial(work, driver) for driver in DRIVERS))
    assert first == second
    return first


def see(server: Hostile, driver: str, call: str, settings: Settings, limits: RetryLimits) -> Seen:
    end, _, _ = ending_of(DRIVERS[driver], settings, CALLS[call](settings, limits))
    return Seen(end, len(server.requests), len(server.created))
