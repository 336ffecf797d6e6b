"""Wait for something that happens in another thread or process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def eventually(poll: Callable[[], T], *, within: float = 3.0, every: float = 0.005) -> T:
    """
    Call a function until it returns something true, or the time is up.

    :param poll: the function.
    :param within: seconds after which the last value is returned, whatever it is.
    :param every: seconds between two calls.
    :return: what it returned last.
    """
    deadline = time.monotonic() + within
    while not (value := poll()) and time.monotonic() < deadline:
        time.sleep(every)
    return value


def until(poll: Callable[[], T | None], what: str, *, within: float = 60.0, every: float = 0.2) -> T:
    """
    Call a function until it returns something true, and fail the test if it does not in time.

    :param poll: the function.
    :param what: a name for people of the event that the test waits for.
    :param within: seconds until the test fails.
    :param every: seconds between two calls.
    :return: what it returned.
    """
    value = eventually(poll, within=within, every=every)
    assert value, f"{what}: not within {within:.0f} s"
    return value
