"""Read the subject of an alert from the context of the callback that sends it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind: TypeAlias = Literal["failed", "up_for_retry", "success", "skipped", "running", "dag_run", "deadline", "unknown"]

_HAPPENED: Final[dict[Kind, str]] = {
    "failed": "failed",
    "up_for_retry": "failed and will be tried again",
    "success": "succeeded",
    "skipped": "was skipped",
    "running": "has started",
}
_UNKNOWN: Final = "Airflow asked for an alert, and gave no reason"
_NO_EXCEPTION: Final = "There is no exception: the process was killed or lost, or never began"
_UNREADABLE: Final = "Airflow asked for an alert, and what it is about cannot be read"
_MAX_TEXT_CHARS: Final = 2_000
# Secrets are masked before a text is cut, and searching a megabyte for them would take too long.
_MAX_MASKED_CHARS: Final = 20_000
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Alert(NamedTuple):
    """
    What happened.

    :param kind: The state of a task instance; ``dag_run`` and ``deadline`` when it concerns a whole run.
    :param headline: What happened, in a line.
    :param text: The same with all that Airflow knows of it: run, try, the log's address, and the exception at its end.
    :param from_dag_processor: Whether the DAG processor alerts because the task's process cannot (default False).
    """

    kind: Kind
    headline: str
    text: str
    from_dag_processor: bool = False

    @property
    def of_task(self) -> bool:
        """Whether the alert concerns one task instance."""
        return self.kind in _HAPPENED


def read_alert(context: Mapping[str, Any], *, will_retry: bool | None = None) -> Alert:
    """
    Read what happened from the context of a callback, which differs between Airflow's processes.

    :param context: The context of a task's callback, a DAG's callback or a deadline alert.
    :param will_retry: Whether it is the callback of a retry; None (default) when that is not known.
    :return: The alert.
    """
    try:
        if "deadline" in context:
            return _of_deadline(context)
        if "reason" in context:
            # There is a task instance as well, the last one of the run; the alert is not about its state.
            return _of_dag_run(context)
        if context.get("ti") is not None:
            return _of_task(context, will_retry)
    except Exception as error:  # noqa: BLE001 - an alert that says little is better than none
        return Alert("unknown", _UNREADABLE, _text(f"{_UNREADABLE} ({type(error).__name__}: {to_text(error)})"))
    return Alert("unknown", _UNKNOWN, _UNKNOWN)


def _of_task(context: Mapping[str, Any], will_retry: bool | None) -> Alert:
    ti = context["ti"]
    state = str(getattr(ti.state, "value", ti.state))
    kind = next((kind for kind in _HAPPENED if kind == state), None)
    from_dag_processor = kind is None
    if kind is None:
        # The DAG processor knows neither the state nor an exception, and calls only after failures.
        will_retry = ti.try_number <= ti.max_tries if will_retry is None else will_retry
        kind = "up_for_retry" if will_retry else "failed"
    headline = f"Task {_name_of(ti)} of DAG {to_text(ti.dag_id)} {_HAPPENED[kind]}"
    text = _text(
        headline,
        f"Run: {to_text(ti.run_id)}, try {ti.try_number} of {max(ti.max_tries + 1, ti.try_number)}",
        f"Log: {_log_url(ti)}",
        _NO_EXCEPTION if from_dag_processor else _error_of(context),
    )
    return Alert(kind, headline, text, from_dag_processor)


def _of_dag_run(context: Mapping[str, Any]) -> Alert:
    reason, ti = context["reason"], context.get("ti")
    failed = reason != "success"
    headline = f"DAG {to_text(context['dag'].dag_id)} {f'failed: {to_text(reason)}' if failed else 'succeeded'}"
    last = f"Last task: {_name_of(ti)}, log: {_log_url(ti)}" if failed and ti is not None else ""
    return Alert("dag_run", headline, _text(headline, f"Run: {to_text(context['run_id'])}", last))


def _of_deadline(context: Mapping[str, Any]) -> Alert:
    run = context.get("dag_run") or {}
    due = context["deadline"]["deadline_time"]
    dag_id, run_id, state = (to_text(run.get(name, "unknown")) for name in ("dag_id", "dag_run_id", "state"))
    headline = f"DAG {dag_id} missed a deadline"
    details = f"Run: {run_id}, due at {to_text(due)}, now {state}"
    return Alert("deadline", headline, _text(headline, details))


def _text(*lines: str) -> str:
    text = without_secrets("\n".join(filter(None, lines)))
    return text if len(text) <= _MAX_TEXT_CHARS else f"{text[:_MAX_TEXT_CHARS]}..."


def to_text(value: object) -> str:
    """
    Return the text of a value that may be anybody's: a name, a reason, an exception.

    :param value: Any value.
    :return: Its text, also where its ``__str__`` raises, in characters that can be sent, and not a megabyte of it.
    """
    try:
        text = str(value)
    except Exception as error:  # noqa: BLE001 - its class may raise anything
        text = f"(its text cannot be read: {type(error).__name__})"
    return _sendable(text[:_MAX_MASKED_CHARS])


def _sendable(text: str) -> str:
    """Write half characters, as in file names that are not UTF-8, and control characters by their numbers."""
    whole = text.encode("utf-8", "backslashreplace").decode()
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", whole)


def without_secrets(value: Any) -> Any:
    """
    Mask what Airflow knows to be a secret in a text, or in the texts of a list or an object, and make it sendable.

    :param value: A field of a message.
    :return: The value with asterisks in place of secrets.
    """
    from airflow.sdk.log import redact  # type: ignore[attr-defined]

    if isinstance(value, str):
        return redact(_sendable(value))
    if isinstance(value, list | tuple):
        return [without_secrets(each) for each in value]
    if isinstance(value, dict):
        # Airflow masks the values of objects by their names, and not at every depth.
        return {name: without_secrets(each) for name, each in value.items()}
    return value


def _name_of(ti: Any) -> str:
    mapped = getattr(ti, "map_index", None)
    name = to_text(ti.task_id)
    return name if mapped is None or mapped < 0 else f"{name}[{mapped}]"


def _log_url(ti: Any) -> str:
    try:
        return to_text(ti.log_url)
    except Exception:  # noqa: BLE001 - Airflow makes it from what it knows, which may be nothing
        return "unknown"


def _error_of(context: Mapping[str, Any]) -> str:
    error = context.get("exception")
    if error is None:
        return ""
    return f"{type(error).__name__}: {to_text(error)}" if isinstance(error, BaseException) else to_text(error)
