"""
What the other instances of a mapped task have sent.

Airflow keeps state for each map index alone. When the list that is mapped comes back in another order, a
recipient has another index, whose ledger knows nothing of them. So each instance tells in XCom what its
ledger holds, from its first moment on, and one that knows nothing of its recipient asks the others.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.compat import AirflowException
from intercom_provider.ledger.ledger import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Told = Mapping[int, Mapping[str, Any]]

XCOM_KEY: Final = "ledger"

# An instance that starts loses its XComs, parses its DAG, and tells again.
_STARTING: Final = frozenset({"running", "restarting", "deferred"})
_NEVER_STARTED: Final = frozenset({None, "none", "scheduled", "queued", "removed", "skipped", "upstream_failed"})
_PATIENCE: Final = 60.0
_PAUSE: Final = 1.0


class MappedInstances:
    """
    The instances of one mapped task in one DAG run.

    :param ti: This task instance.
    :param was_cleared: Whether anything in the run was cleared; before that no list can have changed.
    """

    def __init__(self, ti: Any, *, was_cleared: bool) -> None:
        self._ti = ti
        self._was_cleared = was_cleared

    def publish(self, entries: Mapping[str, Any], *, is_final: bool = True) -> None:
        """
        Tell the others what this instance's ledger holds.

        :param entries: The ledger.
        :param is_final: False when more is added before the next time that this is told; so what one has told that
            ended without another word is not taken for all that it sent.
        """
        value = {"map_index": self._ti.map_index, "entries": entries}
        self._ti.xcom_push(key=XCOM_KEY, value=value if is_final else {**value, "is_all": False})

    def look_up(self, digest: str, *, changed: bool) -> dict[str, Any] | None:
        """
        Ask the others for a message.

        :param digest: What names the message.
        :param changed: Whether this index had another recipient before.
        :return: The entry of the one that knows it; None when nobody does.
        :raises AirflowException: When one of them may know it and cannot be asked; Airflow retries.
        """
        if not (changed or self._was_cleared):
            return None
        told = self._listen(lambda told: any(digest in each for each in told.values()))
        known = [{**each[digest], "map_index": index} for index, each in told.items() if digest in each]
        # One that knows the result knows more than one that only meant to send.
        return max(known, key=lambda entry: entry.get("state") == "sent", default=None)

    def look_up_all(self) -> Told:
        """
        Ask the others for all that they know.

        :return: The entries of each by its map index; nothing where no list can have changed.
        :raises AirflowException: When one of them may know something and cannot be asked; Airflow retries.
        """
        return self._listen(lambda _: False) if self._was_cleared else {}

    def _listen(self, is_enough: Callable[[Told], bool]) -> Told:
        give_up = time.monotonic() + _PATIENCE
        missed: set[int] = set()
        while True:
            states = self._states()
            told, unfinished = self._told(states)
            if is_enough(told):
                return told
            silent = {index: state for index, state in states.items() if index not in told}
            unknown = {
                index: state for index, state in silent.items() if index in unfinished or state not in _NEVER_STARTED
            }
            if not unknown:
                return told
            # Between the two questions one may have told and ended: it is asked again before it is called silent.
            ended = {index for index, state in unknown.items() if state not in _STARTING | _NEVER_STARTED}
            if time.monotonic() >= give_up or missed & ended:
                raise AirflowException(
                    f"The mapped list may have changed, and map index {', '.join(map(str, sorted(unknown)))} of this "
                    "task ended before telling what it had sent. Nothing was sent: let it run again first, or set "
                    'repeat="always" if everybody may be messaged again'
                )
            missed = ended
            time.sleep(_PAUSE)

    def _told(self, states: Mapping[int, str | None]) -> tuple[Told, set[int]]:
        """Read what the others have told, and whose word was not their last one though they have ended."""
        # Without map_indexes it gives all of them; None would mean a task that is not mapped.
        found = self._ti.xcom_pull(task_ids=self._ti.task_id, key=XCOM_KEY)
        words = [each for each in (found if isinstance(found, list) else [found]) if isinstance(each, dict)]
        unfinished = {
            each["map_index"]
            for each in words
            if not each.get("is_all", True) and states.get(each["map_index"]) not in _STARTING
        }
        # One whose ledger was edited beyond recognition has told nothing.
        told = {each["map_index"]: each["entries"] for each in words if UNREADABLE not in each["entries"]}
        return {index: entries for index, entries in told.items() if index not in unfinished}, unfinished

    def _states(self) -> dict[int, str | None]:
        ti = self._ti
        states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id]).get(ti.run_id, {})
        own = f"{ti.task_id}_"
        indexes = {name.removeprefix(own): state for name, state in states.items() if name.startswith(own)}
        others = {int(index): state for index, state in indexes.items() if index.isdigit()}
        return {index: state for index, state in others.items() if index != ti.map_index}
