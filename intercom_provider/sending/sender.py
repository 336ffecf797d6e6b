"""
Look up the senders of a batch before its first message: whether the admin exists, and may converse.

Intercom answers 404 to a message of an unknown sender as it does to an unknown contact, so a wrong ``admin_id`` looks
like a list of contacts that are all missing. Reading admins takes a permission that a token for messages need not
have; then the log says so, and the batch goes on.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from intercom_provider.api import calls
from intercom_provider.api.client import IntercomClient
from intercom_provider.api.errors import IntercomError, InvalidInputError
from intercom_provider.api.flow import RetryLimits
from intercom_provider.metrics import report_requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from intercom_provider.api.settings import Settings

log = logging.getLogger(__name__)

_LIMITS: Final = RetryLimits(attempts=2, timeout=10.0)


def check_senders(settings: Settings, senders: Iterable[str], stopped: Callable[[], bool]) -> None:
    """
    Check that the senders are admins of the workspace; a warning says when one has no inbox seat.

    :param settings: The connection's settings.
    :param senders: The ids of the admins.
    :param stopped: Returns True when the task was told to stop.
    :raises InvalidInputError: When Intercom does not know one of them; nothing was sent.
    """
    default = None if settings.admin_id is None else str(settings.admin_id)
    with IntercomClient(settings, stopped=stopped, on_close=report_requests) as client:
        _check_all(client, senders, default)


def _check_all(client: IntercomClient, senders: Iterable[str], default: str | None) -> None:
    for sender in senders:
        try:
            admin = client.run(calls.find_admin(sender, _LIMITS))
        except IntercomError as error:
            log.info("The sender is not looked up, as the token may not read admins: %s", error)
            return
        if admin is None:
            field = "the connection's admin_id" if sender == default else "from_admin_id"
            raise InvalidInputError.of(
                field, f"{sender} is not an admin of this workspace: give the id of a teammate (airflow intercom check)"
            )
        if admin.has_inbox_seat is False:
            log.warning("Admin %s (%s) has no inbox seat, which Intercom wants of a sender", sender, admin.name)
