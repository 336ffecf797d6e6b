"""Notifiers, tasks that fail, and what a person gets to read."""

from __future__ import annotations

import html
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from intercom_provider.notifications.message import IntercomNotifier

if TYPE_CHECKING:
    from airflow.sdk import Context

    from tests.support.hostile import Hostile

ON_CALL = {"type": "user", "user_id": "data-on-call"}
SAYS = "rows < 10 & columns > 2"


class Fails(BaseOperator):
    """Fails for as many tries as it is told."""

    def __init__(self, *, tries: int = 99, says: str = SAYS, **kwargs: Any) -> None:
        super().__init__(**{"retry_delay": timedelta(seconds=0.1), **kwargs})
        self.tries = tries
        self.says = says

    def execute(self, context: Context) -> None:
        if context["ti"].try_number <= self.tries:
            raise ValueError(self.says)


def alert(**fields: Any) -> IntercomNotifier:
    return IntercomNotifier(**{"message_type": "in_app", "to": ON_CALL, **fields})


def bodies(server: Hostile) -> list[str]:
    """Give the alerts' texts as a person reads them."""
    return [html.unescape(request.json["body"]).replace("<br>\n", "\n") for request in server.requests]


def missed(dag_id: str = "reports") -> Any:
    """Give what Airflow hands to a deadline alert."""
    return {
        "dag_run": {"dag_id": dag_id, "dag_run_id": "manual__1", "state": "running"},
        "deadline": {"id": "1", "deadline_time": "2026-01-01T00:00:00Z"},
    }


async def awaited(**fields: Any) -> None:
    """Do what the triggerer does."""
    await IntercomNotifier(**{"message_type": "in_app", "to": ON_CALL, "context": missed(), **fields})
