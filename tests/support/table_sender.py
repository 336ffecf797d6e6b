"""Send a batch with its ledger in a table, in this process or in one that a test can kill."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.ledger.database import open_database
from intercom_provider.ledger.ledger import Attempt
from intercom_provider.ledger.sql import Owner, SqlLedger
from intercom_provider.results.writer import ResultsWriter
from intercom_provider.sending.batch.counts import COUNT_NAMES
from intercom_provider.sending.batch.input import BatchInput
from intercom_provider.sending.batch.run import BatchRun
from intercom_provider.sending.options import SendOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.connection import Connection

    from intercom_provider.api.settings import Settings

THREADS: Final = 20
DEFAULTS: Final = {"message_type": "in_app", "body": "Hello", "from_admin_id": "1"}


def table_ledger(dag: str = "dag", number: int = 1, **options: Any) -> SqlLedger:
    """Return the ledger of a try of this DAG's task, for the campaign `welcome`."""
    owner = Owner(dag, "run", "send", -1, number, 100)
    return SqlLedger(open_database("ledger"), owner, Attempt(number, 100, 100), **{"campaign": "welcome", **options})


def batch_of(people: Iterable[int], ledger: SqlLedger, settings: Settings) -> BatchInput:
    """Return a batch with a message to each of these people, whose ids and keys are their numbers."""
    messages = [{"to": {"type": "user", "id": str(person)}, "key": str(person)} for person in people]
    return BatchInput(messages, DEFAULTS, duplicates="skip", salt=ledger.salt, settings=settings)


def send_people(
    people: Iterable[int],
    ledger: SqlLedger,
    settings: Settings,
    stopped: Callable[[], bool] = lambda: False,
    into: list[BatchRun] | None = None,
    **options: Any,
) -> dict[str, int]:
    """Send a message to each of these people that the ledger does not hold back, and return the counts."""
    ledger.begin_try()
    with batch_of(people, ledger, settings) as batch:
        run = BatchRun(
            batch,
            batch.check(),
            settings=settings,
            options=SendOptions(**{"concurrency": THREADS, **options}),
            ledger=ledger,
            results=ResultsWriter(None, 1),
            stopped=stopped,
        )
        if into is not None:
            into.append(run)
        counts = run.run()
    return {name: getattr(counts, name) for name in COUNT_NAMES}


def send(people: range, dag: str, number: int, settings: Settings, connection: str, report: Connection) -> None:
    """Send in a process of its own, and report the counts."""
    os.environ["AIRFLOW_CONN_LEDGER"] = connection
    report.send(send_people(people, table_ledger(dag, number), settings))
