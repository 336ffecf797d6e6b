"""Decide which messages of a batch must not go out: by a list of the user's, and by what contacts say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from intercom_provider.sending.batch.screening import Screening
from intercom_provider.sending.batch.suppress_list import SuppressList
from intercom_provider.sending.batch.unsubscribed import UnsubscribedContacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from intercom_provider.api.message import Message
    from intercom_provider.api.settings import Settings
    from intercom_provider.ledger.ledger import Ledger
    from intercom_provider.sending.batch.input import Item
    from intercom_provider.sending.options import SendOptions


class Suppression:
    """
    Knows which messages must not go out.

    :param suppress: The field ``suppress``, rendered; None for no list.
    :raises InvalidInputError: When it is not such a list.
    """

    def __init__(self, suppress: object = None) -> None:
        self._listed = None if suppress is None else SuppressList(suppress)
        self._contacts = UnsubscribedContacts()

    def reason(self, message: Message) -> str | None:
        """
        Return why a message must not go out.

        :param message: The message.
        :return: The reason; None when it may.
        """
        listed = None if self._listed is None else self._listed.reason(message)
        return listed or self._contacts.reason(message)

    def look_up_contacts(
        self,
        items: Iterable[Item],
        *,
        settings: Settings,
        options: SendOptions,
        ledger: Ledger,
        stopped: Callable[[], bool],
    ) -> None:
        """
        Look up which contacts have unsubscribed, of those who would be messaged.

        :param items: The messages of the batch.
        :param settings: The address and the token.
        :param options: The options of the batch.
        :param ledger: The ledger, by which messages that were sent are left out.
        :param stopped: Returns True when the task was told to stop.
        :raises InvalidInputError: When the token may not read contacts.
        :raises StoppedError: When the task was told to stop.
        :raises IntercomError: When Intercom does not answer or refuses.
        """
        screening = Screening(options, None if settings.dry_run else ledger)
        self._contacts.look_up(self._to_be_sent(items, screening), settings, options.budget, stopped)

    def _to_be_sent(self, items: Iterable[Item], screening: Screening) -> Iterator[Message]:
        for item in screening.looked_up(items):
            if item.message is None or item.duplicate_of is not None or screening.find_earlier(item) is not None:
                continue
            if self.reason(item.message) is None:
                yield item.message
