"""
Look up, before a batch begins, which contacts Intercom knows to be unsubscribed, unreachable or annoyed by emails.

All messages that are to be sent are looked at once, fifty contacts a search, twenty searches side by side, within the
batch's share of the rate limit. Rejected: looking up a few hundred messages at a time while others go out, because the
main thread would neither record results nor hear of a token without the permission before the first message is sent.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final, TypeAlias

from intercom_provider.api.client import IntercomClient
from intercom_provider.api.contact_flags import MAX_VALUES, SEARCHED_FIELDS, find_flagged
from intercom_provider.api.errors import ForbiddenError, InvalidInputError, UnauthorizedError
from intercom_provider.api.flow import Flow, RetryLimits
from intercom_provider.api.pacing import Pacer
from intercom_provider.api.parallel import Parallel, ParallelFlow
from intercom_provider.metrics import report_requests
from intercom_provider.sending.batch.suppress_list import addresses_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from intercom_provider.api.message import Message
    from intercom_provider.api.settings import Settings

log = logging.getLogger(__name__)

FLAGS: Final = {
    "email": ("unsubscribed_from_emails", "has_hard_bounced", "marked_email_as_spam"),
    # Not documented by Intercom, and seen in its answers. The others say nothing about a phone.
    "sms": ("unsubscribed_from_sms",),
}
"""The fields of a contact that forbid a message, by its type."""

_LIMITS: Final = RetryLimits(attempts=8)
_WRONG_TOKEN: Final = "unauthorized"  # noqa: S105 - a code of Intercom's

_Address: TypeAlias = tuple[str, str, str]
"""The type of a message, and the field and value by which it addresses somebody."""


class UnsubscribedContacts:
    """The contacts that must not be messaged."""

    def __init__(self) -> None:
        self._reasons: dict[_Address, str] = {}

    def reason(self, message: Message) -> str | None:
        """
        Return why a message must not be sent.

        :param message: The message.
        :return: The name of the contact's field; None when nothing is known against it.
        """
        if not self._reasons:
            return None
        found = (self._reasons.get((message.wire_type, *address)) for address in addresses_of(message))
        return next((f"the contact has {flag}" for flag in found if flag is not None), None)

    def look_up(
        self, messages: Iterable[Message], settings: Settings, budget: float, stopped: Callable[[], bool]
    ) -> None:
        """
        Look the recipients of emails and SMS up.

        :param messages: The messages.
        :param settings: The address and the token.
        :param budget: The share of the rate limit that may be used.
        :param stopped: Returns True when the task was told to stop.
        :raises InvalidInputError: When the token may not read contacts.
        :raises StoppedError: When the task was told to stop.
        :raises IntercomError: When Intercom does not answer or refuses.
        """
        with IntercomClient(settings, pacer=Pacer(budget), stopped=stopped, on_close=report_requests) as client:
            try:
                client.run(self._searches(messages))
            except (ForbiddenError, UnauthorizedError) as error:
                if error.code == _WRONG_TOKEN:
                    raise
                raise InvalidInputError.of(
                    "unsubscribed",
                    f"skip looks contacts up, and the token may not read them ({error.said}): give it the permission "
                    "Read and list users and companies in the Developer Hub and regenerate it, or set unsubscribed to "
                    "send. Nothing was sent",
                ) from None
        for flag, count in Counter(self._reasons.values()).items():
            log.info("%d contacts have %s: they are not messaged", count, flag)

    def _searches(self, messages: Iterable[Message]) -> ParallelFlow[None]:
        yield Parallel(_split(messages), self._reasons.update, share=None)


def _split(messages: Iterable[Message]) -> Iterator[Flow[dict[_Address, str]]]:
    """Gather the recipients for one search after the other, by what they are looked up by."""
    groups: dict[tuple[str, str], dict[str, None]] = {}
    for message in messages:
        if message.wire_type not in FLAGS:
            continue
        for field, value in addresses_of(message):
            if field not in SEARCHED_FIELDS:
                continue
            group = groups.setdefault((message.wire_type, field), {})
            group[value] = None
            if len(group) == MAX_VALUES:
                yield _search(message.wire_type, field, list(group))
                group.clear()
    for (message_type, field), group in groups.items():
        if group:
            yield _search(message_type, field, list(group))


def _search(message_type: str, field: str, values: list[str]) -> Flow[dict[_Address, str]]:
    found = yield from find_flagged(field, values, FLAGS[message_type], _LIMITS)
    return {(message_type, field, value): flag for value, flag in found.items()}
