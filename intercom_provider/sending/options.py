"""The fields that every sender has beside the message, read and checked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.api.errors import InvalidInputError, Problem
from intercom_provider.api.values import is_missing
from intercom_provider.compat import conf, task_state_store
from intercom_provider.fields import read_not_after
from intercom_provider.ledger.ledger import ON_UNCONFIRMED, REPEATS, Attempt

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from airflow.sdk import Context

    from intercom_provider.compat import TaskStateStore

_DEFAULTED: Final = {"repeat": REPEATS, "on_unconfirmed": ON_UNCONFIRMED}


def find_problems(
    operator: Any, choices: Mapping[str, tuple[str, ...]], lazy: Collection[str] = ()
) -> Iterator[Problem]:
    """
    Look for what is wrong with the fields that say how to send; ``repeat`` and ``on_unconfirmed`` may be missing.

    :param operator: The sender.
    :param choices: The words that the sender's own fields may be.
    :param lazy: Fields that are not what they will be yet.
    :return: What is wrong.
    """
    for name, words in {**_DEFAULTED, **choices}.items():
        if name in lazy:
            continue
        if name in _DEFAULTED and is_missing(getattr(operator, name)):
            setattr(operator, name, words[0])
        if getattr(operator, name) not in words:
            yield Problem(name, f"must be one of {', '.join(words)}")
    wait = operator.contact_wait
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 <= wait < math.inf:
        yield Problem("contact_wait", "must be seconds, from 0 on")
    if "not_after" not in lazy:
        try:
            read_not_after(operator.not_after)
        except InvalidInputError as error:
            yield from error.problems


def read_attempt(operator: Any, context: Context) -> Attempt:
    """
    Tell which try of a task this is.

    :param operator: The sender.
    :param context: The task's context.
    :return: The try.
    """
    ti = context["ti"]
    return Attempt(number=ti.try_number, max_tries=ti.max_tries, retries=operator.retries or 0)


def open_store(context: Context, log: Any) -> TaskStateStore | None:
    """
    Get the store of the ledger, and warn where Airflow is set to forget it.

    :param context: The task's context.
    :param log: The task's log.
    :return: The store; None before Airflow 3.3.
    """
    store = task_state_store(context)
    if store is not None and conf.getboolean("state_store", "clear_on_success", fallback=False):
        log.warning(
            "[state_store] clear_on_success is on: Airflow forgets what was sent when this task succeeds, "
            "so clearing it afterwards sends the message again"
        )
    return store


def scope_salt(context: Context) -> str:
    """
    Give what makes the names of messages in the ledger other ones in another run.

    :param context: The task's context.
    :return: The salt.
    """
    ti = context["ti"]
    return f"{ti.dag_id}/{ti.run_id}/{ti.task_id}"


def is_mapped(context: Context) -> bool:
    """
    Tell whether a task instance is one of several of a mapped task.

    :param context: The task's context.
    :return: True when it is.
    """
    map_index = getattr(context.get("ti"), "map_index", None)
    return map_index is not None and map_index >= 0


def was_cleared(context: Context) -> bool:
    """
    Tell whether anything in the DAG run was cleared, before which no mapped list can have changed.

    :param context: The task's context.
    :return: True also where Airflow does not tell.
    """
    return bool(getattr(context["dag_run"], "clear_number", 1))
