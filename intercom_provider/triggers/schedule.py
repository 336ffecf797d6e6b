"""When a trigger looks: those that share a triggerer spread out, and those that can share an answer meet."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

# Airflow 3.3 can fail a task that resumes within some eight seconds of being deferred.
_AT_LEAST: Final = 10.0


def phase_for(*names: str | None) -> float:
    """
    Tell where in the interval something is looked at: the same names in the same place, others anywhere.

    :param names: What is looked at, and over which connection.
    :return: A share of the interval, from 0 to below 1.
    """
    digest = blake2b("\0".join(map(str, names)).encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2.0 ** (8 * len(digest))


def first_poll(now: float, interval: float, phase: float, not_before: float = 0.0) -> float:
    """
    Tell when to look for the first time: in half an interval to one and a half.

    However many triggers a triggerer takes up in one moment, they look at different ones.

    :param now: Epoch seconds.
    :param interval: Seconds between two looks.
    :param phase: A share of the interval, from 0 to below 1.
    :param not_before: Epoch seconds before which nobody wants to be asked (default: no such moment).
    :return: Epoch seconds; where the interval is short, it is not before one interval, or ten seconds.
    """
    return _next(max(now + max(interval / 2, min(interval, _AT_LEAST)), not_before), interval, phase)


def next_poll(now: float, interval: float, phase: float, not_before: float = 0.0) -> float:
    """
    Tell when to look after a look: an interval after it began, or more when it took longer than half of it.

    :param now: Epoch seconds.
    :param interval: Seconds between two looks.
    :param phase: A share of the interval, from 0 to below 1.
    :param not_before: Epoch seconds before which nobody wants to be asked (default: no such moment).
    :return: Epoch seconds.
    """
    return _next(max(now + interval / 2, not_before), interval, phase)


def _next(earliest: float, interval: float, phase: float) -> float:
    return earliest + (phase * interval - earliest) % interval
