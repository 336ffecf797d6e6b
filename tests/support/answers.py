"""Answer a task that waits for a person, as Airflow's page of required actions does."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def answered(dag_id: str, task_id: str, option: str) -> Iterator[list[str]]:
    """Choose an option as soon as a task of the DAG waits for it; yields the texts that the person is shown."""
    shown: list[str] = []
    thread = threading.Thread(target=_answer, args=(dag_id, task_id, option, shown), daemon=True)
    thread.start()
    yield shown
    thread.join()


def _answer(dag_id: str, task_id: str, option: str, shown: list[str]) -> None:
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
    from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail
    from airflow.utils.session import create_session

    waiting = eventually(lambda: _find_waiting(dag_id, task_id), within=300.0, every=0.2)
    if waiting is None:
        return
    run_id, *texts = waiting
    with create_session() as session:
        update_hitl_detail(
            dag_id=dag_id,
            dag_run_id=run_id,
            task_id=task_id,
            update_hitl_detail_payload=UpdateHITLDetailPayload(chosen_options=[option]),
            user=SimpleAuthManagerUser(username="ada", role="admin"),
            session=session,
        )
    shown += texts


def _find_waiting(dag_id: str, task_id: str) -> tuple[str, str, str] | None:
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import select

    with create_session() as session:
        found = session.execute(
            select(TaskInstance.run_id, HITLDetail.subject, HITLDetail.body)
            .join(HITLDetail, HITLDetail.ti_id == TaskInstance.id)
            .where(
                TaskInstance.dag_id == dag_id,
                TaskInstance.task_id == task_id,
                TaskInstance.state == TaskInstanceState.AWAITING_INPUT,
            )
        ).first()
        return None if found is None else (found.run_id, found.subject, found.body or "")
