"""Answer a task that waits for a person, as Airflow's page of required actions does."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_WAIT_SECONDS: Final = 120.0


@contextmanager
def answered(dag_id: str, task_id: str, option: str) -> Iterator[list[str]]:
    """Choose an option whenever a task of the DAG waits for it; yields the texts that the person is shown."""
    shown: list[str] = []
    over = threading.Event()
    thread = threading.Thread(target=_answer, args=(dag_id, task_id, option, shown, over), daemon=True)
    thread.start()
    try:
        yield shown
    finally:
        over.set()
        thread.join()


def _answer(dag_id: str, task_id: str, option: str, shown: list[str], over: threading.Event) -> None:
    """
    Answer until the run is over.

    SQLite has no row locks: dag.test() may write the task's state after the answer and lose it, or the answer meets a
    locked database. Then the task still waits, and is answered again. dag.test() itself would wait without an end, so
    a task that waits too long is failed.
    """
    end = time.monotonic() + _MAX_WAIT_SECONDS
    while not over.wait(1.0):
        with suppress(OperationalError):
            waiting = _find_waiting(dag_id, task_id)
            if waiting is None:
                continue
            if time.monotonic() > end:
                _fail(waiting[0])
            else:
                shown[:] = waiting[2:]
                _choose(dag_id, task_id, option, *waiting[:2])


def _fail(instance_id: object) -> None:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState

    with create_session() as session:
        failed = update(TaskInstance).where(TaskInstance.id == instance_id).values(state=TaskInstanceState.FAILED)
        session.execute(failed)


def _choose(dag_id: str, task_id: str, option: str, instance_id: object, run_id: str) -> None:
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
    from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail
    from airflow.models.hitl import HITLDetail
    from airflow.utils.session import create_session

    with create_session() as session:
        session.execute(update(HITLDetail).where(HITLDetail.ti_id == instance_id).values(responded_at=None))
        update_hitl_detail(
            dag_id=dag_id,
            dag_run_id=run_id,
            task_id=task_id,
            update_hitl_detail_payload=UpdateHITLDetailPayload(chosen_options=[option]),
            user=SimpleAuthManagerUser(username="ada", role="admin"),
            session=session,
        )


def _find_waiting(dag_id: str, task_id: str) -> tuple[object, str, str, str] | None:
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState

    with create_session() as session:
        found = session.execute(
            select(TaskInstance.id, TaskInstance.run_id, HITLDetail.subject, HITLDetail.body)
            .join(HITLDetail, HITLDetail.ti_id == TaskInstance.id)
            .where(
                TaskInstance.dag_id == dag_id,
                TaskInstance.task_id == task_id,
                TaskInstance.state == TaskInstanceState.AWAITING_INPUT,
            )
        ).first()
        return None if found is None else (found.id, found.run_id, found.subject, found.body or "")
