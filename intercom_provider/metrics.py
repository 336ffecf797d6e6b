"""
Report metrics through Airflow's stats: messages by type and outcome, requests by status, time held by the rate limit.

StatsD as most installations have it drops tags, so each counter goes out twice: with tags, and with their values in its
name. Counts are gathered and go out together, because a datagram for each message of a batch would slow its threads.
In processes in which Airflow has not set up its stats, nothing goes out.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from intercom_provider.api.message import Message
    from intercom_provider.api.usage import Usage

log = logging.getLogger(__name__)

MessageCounts: TypeAlias = "Mapping[tuple[str, str], int]"
"""How many messages there are of each type and outcome."""

MESSAGES: Final = "intercom.messages"
REQUESTS: Final = "intercom.requests"
RATE_LIMIT_WAIT: Final = "intercom.rate_limit_wait"

UNKNOWN_TYPE: Final = "unknown"
# Less is the time that a thread takes to go on, not the rate limit.
_MIN_WAIT_SECONDS: Final = 0.01


def type_of(message: Message | None) -> str:
    """
    Return the type of a message as metrics name it.

    :param message: The message; None when it cannot be built.
    :return: ``in_app``, ``email``, ``whatsapp``, ``sms`` or ``unknown``.
    """
    if message is None:
        return UNKNOWN_TYPE
    return "in_app" if message.wire_type == "inapp" else message.wire_type


def report_messages(counts: MessageCounts) -> None:
    """
    Report messages.

    :param counts: How many there are of each type and outcome.
    """
    for (message_type, outcome), count in counts.items():
        _count(MESSAGES, count, type=message_type, outcome=outcome)


def report_requests(usage: Usage) -> None:
    """
    Report the requests since the last report.

    :param usage: The requests of one or more clients.
    """
    statuses, waited_seconds = usage.take()
    for status, count in statuses.items():
        _count(REQUESTS, count, status=status)
    if waited_seconds >= _MIN_WAIT_SECONDS:
        _report("timing", RATE_LIMIT_WAIT, timedelta(seconds=waited_seconds))


def _count(name: str, count: int, **tags: str) -> None:
    _report("incr", name, count, tags=tags)
    _report("incr", ".".join((name, *tags.values())), count)


def _report(method: str, *arguments: Any, **options: Any) -> None:
    try:
        from airflow.providers.common.compat.sdk import Stats

        getattr(Stats, method)(*arguments, **options)
    except Exception:
        # A message that was sent must not fail for a metric.
        log.debug("A metric could not be reported", exc_info=True)
