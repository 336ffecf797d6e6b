"""
Recognise from the first answers to a batch what all of its messages have in common.

A token that may not send, a plan that is used up, a sender or a template that does not exist: Intercom refuses every
message alike, and a campaign of 100,000 would run through its list to find that out. One contact's refusal looks much
the same, though: somebody has unsubscribed, somebody was deleted. So the answers decide, not the status alone. What is
about the token or the plan stops the batch at once. Any other refusal stops it when the first messages all got the
same one and none was accepted, in this try or an earlier one of the task: a retry finds all refused contacts together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from intercom_provider.api.errors import (
    ApiError,
    CommonRefusalError,
    ContactNotFoundError,
    ForbiddenError,
    InvalidInputError,
    RateLimitedError,
    is_about_access,
)

if TYPE_CHECKING:
    from intercom_provider.api.errors import IntercomError
    from intercom_provider.sending.batch.counts import Counts

MAX_REFUSED_ALIKE: Final = 50
"""After so many equal refusals, and no message accepted before, the batch stops."""

MAX_UNKNOWN_CONTACTS: Final = 20
"""So many messages wait for their contacts at most while none was accepted; when all of them are refused, it stops."""

MAX_WITHOUT_ACCESS: Final = 20
"""After so many answers, all of them 403, the batch stops, whatever the reasons."""

_TEMPLATE_ADVICE: Final = "Check the template's name, its locale and its parameters in WhatsApp."


class CommonRefusal:
    """
    Watches the answers to a batch until one message was accepted.

    :param counts: The counts of the batch's try, which know whether a message was accepted. From then on, refusals are
        those of single messages.
    """

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._summary = ""
        self._alike = self._refused = self._without_access = 0

    def refuse(self, error: IntercomError) -> IntercomError | None:
        """
        Take note of an error that a message ended with.

        :param error: The error; one that is not a refusal changes nothing.
        :return: The error with which the batch has to stop; None when it goes on.
        """
        if isinstance(error, InvalidInputError):
            # The messages were checked before: this is about the way to Intercom.
            return error
        if not isinstance(error, ApiError) or isinstance(error, RateLimitedError):
            return None
        if is_about_access(error):
            return error
        self._without_access += isinstance(error, ForbiddenError)
        most = MAX_UNKNOWN_CONTACTS if isinstance(error, ContactNotFoundError) else MAX_REFUSED_ALIKE
        common = self._count(error.summary, error.advice, most)
        if not self._counts.is_any_accepted and self._without_access == self._refused >= MAX_WITHOUT_ACCESS:
            return error
        return common

    def refuse_unaccepted(self, reason: str) -> IntercomError | None:
        """
        Take note of a message that Intercom took and WhatsApp did not accept.

        :param reason: The reason in its receipt.
        :return: The error with which the batch has to stop; None when it goes on.
        """
        return self._count(reason, _TEMPLATE_ADVICE, MAX_REFUSED_ALIKE)

    def _count(self, summary: str, advice: str, most: int) -> IntercomError | None:
        self._refused += 1
        self._alike = self._alike + 1 if summary == self._summary else 1
        self._summary = summary
        if self._counts.is_any_accepted or self._alike < most:
            return None
        return CommonRefusalError(self._alike, summary, advice)
