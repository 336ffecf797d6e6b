"""
When triggers poll.

A triggerer may take up a thousand triggers in one moment. Their polls spread over the interval, by a hash of what they
poll; triggers that poll the same get the same phase, so that they can share one reply.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

# Airflow 3.3 can fail a task that resumes within some eight seconds of being deferred.
_MIN_FIRST_SECONDS: Final = 10.0


def phase_for(*names: str | None) -> float:
    """
    Return where in the interval something is polled: the same for the same names.

    :param names: What is polled, and with which connection.
    :return: A share of the interval, from 0 to below 1.
    """
    digest = blake2b("\0".join(map(str, names)).encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2.0 ** (8 * len(digest))


def first_poll(now: float, interval: float, phase: float, not_before: float = 0.0) -> float:
    """
    Return the time of the first poll: in half an interval to one and a half.

    :param now: Epoch seconds.
    :param interval: Seconds between two polls.
    :param phase: A share of the interval, from 0 to below 1.
    :param not_before: Epoch seconds before which Intercom does not want a poll (default: any time).
    :return: Epoch seconds; with a short interval not earlier than in one interval or in ten seconds.
    """
    return _next(max(now + max(interval / 2, min(interval, _MIN_FIRST_SECONDS)), not_before), interval, phase)


def next_poll(now: float, interval: float, phase: float, not_before: float = 0.0) -> float:
    """
    Return the time of the next poll: one interval after the last, or more when that took over half an interval.

    :param now: Epoch seconds.
    :param interval: Seconds between two polls.
    :param phase: A share of the interval, from 0 to below 1.
    :param not_before: Epoch seconds before which Intercom does not want a poll (default: any time).
    :return: Epoch seconds.
    """
    return _next(max(now + interval / 2, not_before), interval, phase)


def _next(earliest: float, interval: float, phase: float) -> float:
    return earliest + (phase * interval - earliest) % interval
