"""
One alert a task instance, not one a retry.

What a task instance has alerted of is in Airflow's task state store, where a retry and a cleared task find it. A
callback of a retry cannot get there: by then the try is over, and Airflow 3.3 does not know it any more. So there the
rule is one that needs no memory.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.api.errors import IntercomError, UnconfirmedError
from intercom_provider.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercom_provider.api.models import Receipt
    from intercom_provider.ledger.ledger import Attempt, Entry, Store
    from intercom_provider.notifications.alert import Alert

KEY: Final = "intercom/alerts"
"""Where in Airflow's task state store the alerts of a task instance are."""


def reason_to_skip(alert: Alert, attempt: Attempt, *, is_covered: bool) -> str:
    """
    Tell why a try alerts of nothing, by what is known without a memory.

    :param alert: What happened.
    :param attempt: The try.
    :param is_covered: Whether the same person is alerted when the task has failed for good.
    :return: The reason; "" when it is to alert.
    """
    if alert.kind == "up_for_retry" and is_covered:
        if not alert.from_dag_processor:
            return "the task is tried again, and on_failure_callback alerts when it has failed for good"
        if attempt.number == attempt.max_tries:
            # If the process of the last try is killed, too, Airflow (3.3) calls nobody.
            return ""
    if alert.kind in ("up_for_retry", "running") and attempt.is_retry:
        return "the first try was the one to alert"
    return ""


class AlertRecord:
    """
    What is remembered of one alert of a task instance.

    An alert that nobody gets is worse than one too many: what goes wrong here keeps none back.

    :param store: Airflow's ``task_state_store``; None where there is none.
    :param attempt: The try that alerts; None where there is no task.
    :param digest: What names the alert: see :func:`intercom_provider.ledger.ledger.message_digest`.
    :param log: The log of the callback.
    """

    def __init__(self, store: Store | None, attempt: Attempt | None, digest: str, log: Any) -> None:
        self._ledger = None if store is None or attempt is None else Ledger(store, attempt, key=KEY)
        self._identity = digest
        self._log = log
        self._found: Entry | None = None

    def may_alert(self) -> bool:
        """Tell whether the alert is to be given, and write that it is about to be."""
        if self._ledger is None:
            return True
        try:
            return self._may_alert(self._ledger)
        except Exception as error:  # noqa: BLE001 - the alert is worth more than its record
            self._ledger = None
            self._log.warning("Nothing remembers this alert, so there may be another one: %s", error)
            return True

    @contextmanager
    def alerting(self) -> Iterator[None]:
        """Alert within this: what certainly was not sent is left to the next try, what may have been is not."""
        try:
            yield
        except UnconfirmedError:
            raise
        except IntercomError:
            self._take_back()
            raise

    def record(self, receipt: Receipt) -> None:
        """
        Write what became of the alert.

        :param receipt: What Intercom answered.
        """
        if receipt.outcome != "sent":
            self._take_back()
        elif self._ledger is not None:
            try:
                self._ledger.record({"id": receipt.id, "created_at": receipt.created_at}, time.time())
            except Exception:  # noqa: BLE001 - the alert is out, whatever becomes of the record
                self._log.exception("Alert %s was sent, and the task state store could not be told", receipt.id)

    def _take_back(self) -> None:
        if self._ledger is not None:
            try:
                self._ledger.withdraw_intent(self._found)
            except Exception:  # noqa: BLE001 - what is reported is why it was not sent
                self._log.exception("The alert was not sent, and the task state store could not be told")

    def _may_alert(self, ledger: Ledger) -> bool:
        ledger.open()
        self._found = found = ledger.find(self._identity, time.time())
        if found is not None and not ledger.may_send(found, "on_clear", "fail"):
            if found.state == "sent":
                self._log.info("No alert: %s has sent it (once is set)", found)
            else:
                self._log.warning("No alert: %s may have sent it or not, and it is not repeated (once is set)", found)
            return False
        ledger.record_intent(time.time())
        return True
