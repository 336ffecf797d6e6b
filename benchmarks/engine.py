"""Run this provider's batch without Airflow around it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks.senders import ADMIN, BODY
from intercom_provider.api.settings import Settings
from intercom_provider.ledger.ledger import Attempt
from intercom_provider.ledger.task_state_batch import BatchLedger
from intercom_provider.results.writer import ResultsWriter
from intercom_provider.sending.batch.input import BatchInput
from intercom_provider.sending.batch.run import BatchRun
from intercom_provider.sending.options import SendOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from intercom_provider.ledger.ledger import Ledger
    from intercom_provider.sending.batch.counts import Counts


class _Store:
    """
    A store in memory for the ledger.

    :param pause: Seconds that each call takes, as Airflow's store takes some milliseconds.
    """

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        time.sleep(self._pause)
        return self._values.get(key)

    def set(self, key: str, value: Any) -> None:
        time.sleep(self._pause)
        self._values[key] = value


def send(
    url: str, token: str, contacts: Sequence[str], *, pause: float = 0.0, ledger: Ledger | None = None, **options: Any
) -> Counts:
    """
    Send one message to each of these contacts, as the batch operator does: checked, under a ledger.

    :param url: Where Intercom is.
    :param token: The access token.
    :param contacts: The contacts' ids.
    :param pause: Seconds that each call of the ledger's store takes (default 0).
    :param ledger: Another ledger; None (default) for one in such a store.
    :param options: Fields of :class:`intercom_provider.sending.options.SendOptions`.
    :return: The counts.
    """
    settings = Settings(token=token, base_url=url)
    messages = [{"to": {"type": "user", "id": contact}} for contact in contacts]
    defaults = {"message_type": "in_app", "body": BODY, "from_admin_id": ADMIN}
    ledger = ledger or BatchLedger(_Store(pause), Attempt(number=1, max_tries=0, retries=0), salt="bench")
    ledger.begin_try()
    with BatchInput(messages, defaults, duplicates="skip", salt=ledger.salt, settings=settings) as batch:
        total = batch.check()
        run = BatchRun(
            batch,
            total,
            settings=settings,
            options=SendOptions(**options),
            ledger=ledger,
            results=ResultsWriter(None, 1),
        )
        counts = run.run()
    if run.fatal is not None:
        raise run.fatal
    return counts
