"""
What the other instances of a mapped task have sent.

Airflow keeps task state for each map index apart. When the mapped list comes back in another order, a recipient
has another index, and the ledger of that index does not know the recipient. So each instance publishes its ledger
in XCom as soon as it starts, and an instance that does not know a recipient reads what the others have published.

An instance that failed before it published anything may have sent something. Then nobody who needs its records may
send: the reader waits for it for a minute, then fails and is retried by Airflow. A batch publishes twice, before it
sends and after; an instance that ended in between has not published everything that it sent.

Nothing is read before anything in the DAG run was cleared: until then no mapped list can have changed. Otherwise
hundreds of instances would read each other's records for nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.compat import AirflowException
from intercom_provider.ledger.ledger import LOST, Entry, best_known, lost_records
from intercom_provider.ledger.stored import is_count, read_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    Published: TypeAlias = Mapping[int, Mapping[str, Entry]]

XCOM_KEY: Final = "ledger"

UNREADABLE: Final = "unreadable"
"""The digest of the one entry in a ledger that somebody has edited so that it cannot be read."""

# An instance that starts loses its XComs, parses its DAG, and publishes its ledger again.
_STARTING: Final = frozenset({"running", "restarting", "deferred"})
_NEVER_STARTED: Final = frozenset({None, "none", "scheduled", "queued", "removed", "skipped", "upstream_failed"})
_MAX_WAIT_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 1.0


class MappedInstances:
    """
    The instances of one mapped task in one DAG run.

    :param ti: This task instance.
    :param was_cleared: Whether anything in the run was cleared; before that no mapped list can have changed.
    """

    def __init__(self, ti: Any, *, was_cleared: bool) -> None:
        self._ti = ti
        self._was_cleared = was_cleared

    def publish(self, entries: Mapping[str, Entry], *, is_final: bool = True) -> None:
        """
        Publish the ledger of this instance to the others.

        :param entries: The ledger, by digest.
        :param is_final: False when more will be sent before the ledger is published again (default True). If the
            instance ends before that, the others cannot know everything that it sent.
        """
        packed = None if UNREADABLE in entries else {digest: _pack(entry) for digest, entry in entries.items()}
        value = {"map_index": self._ti.map_index, "entries": packed, "is_final": is_final}
        self._ti.xcom_push(key=XCOM_KEY, value=value)

    def look_up(self, digest: str, *, changed: bool) -> Entry | None:
        """
        Look up a message in what the other instances have published.

        :param digest: The message.
        :param changed: Whether this index had another recipient before, so that the list must have changed.
        :return: The entry; None when no other instance knows the message, and none has lost its records.
        :raises AirflowException: When an instance may have sent it and has not published; Airflow retries.
        """
        if not (changed or self._was_cleared):
            return None
        published = self._wait_for_published(lambda found: any(digest in entries for entries in found.values()))
        found = best_known(entries.get(digest) for entries in published.values())
        return found or best_known(entries.get(LOST) for entries in published.values())

    def look_up_all(self) -> dict[str, Entry]:
        """
        Look up all messages that the other instances have published.

        :return: The entries by digest; empty when no mapped list can have changed.
        :raises AirflowException: When an instance may have sent something and has not published; Airflow retries.
        """
        if not self._was_cleared:
            return {}
        found: dict[str, Entry] = {}
        for entries in self._wait_for_published(lambda _: False).values():
            for digest, entry in entries.items():
                found[digest] = best_known((found.get(digest), entry)) or entry
        return found

    def _wait_for_published(self, is_enough: Callable[[Published], bool]) -> Published:
        deadline = time.monotonic() + _MAX_WAIT_SECONDS
        ended_before: set[int] = set()
        while True:
            states = self._read_states()
            published, incomplete = self._read_published(states)
            if is_enough(published):
                return published
            unknown = {
                index: state
                for index, state in states.items()
                if index not in published and (index in incomplete or state not in _NEVER_STARTED)
            }
            if not unknown:
                return published
            # An instance may publish and end between the two reads above, so one that ended is read once more.
            ended = {index for index, state in unknown.items() if state not in _STARTING | _NEVER_STARTED}
            if time.monotonic() >= deadline or ended_before & ended:
                raise AirflowException(
                    f"Map index {', '.join(map(str, sorted(unknown)))} of this task ended before it published what it "
                    "had sent, and the mapped list may have changed. Nothing was sent: let that instance run again "
                    'first, or set repeat="always" if everybody may be messaged again'
                )
            ended_before = ended
            time.sleep(_POLL_SECONDS)

    def _read_published(self, states: Mapping[int, str | None]) -> tuple[Published, set[int]]:
        """Read the entries of each instance, and which instances ended before they published all of theirs."""
        # Without map_indexes Airflow returns the values of all instances; None would mean a task that is not mapped.
        found = self._ti.xcom_pull(task_ids=self._ti.task_id, key=XCOM_KEY)
        published: dict[int, Mapping[str, Entry]] = {}
        incomplete: set[int] = set()
        for value in found if isinstance(found, list) else [found]:
            index = value.get("map_index") if isinstance(value, dict) else None
            if not isinstance(index, int):
                continue
            entries = _unpack_all(value.get("entries"), index)
            if entries is None:
                continue
            if not value.get("is_final") and states.get(index) not in _STARTING:
                incomplete.add(index)
            else:
                published[index] = entries
        return published, incomplete

    def _read_states(self) -> dict[int, str | None]:
        ti = self._ti
        states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id]).get(ti.run_id, {})
        prefix = f"{ti.task_id}_"
        by_index = {name.removeprefix(prefix): state for name, state in states.items() if name.startswith(prefix)}
        others = {int(index): state for index, state in by_index.items() if index.isdigit()}
        return {index: state for index, state in others.items() if index != ti.map_index}


def _pack(entry: Entry) -> list[Any]:
    # A batch publishes thousands of these, so they are lists and hold no more than is needed.
    ids = entry.ids.pack() if entry.state == "sent" else None
    packed = [entry.attempt, entry.max_tries, ids, entry.at]
    return packed if entry.at is not None else packed[: 3 if ids else 2]


def _unpack_all(packed: Any, map_index: int) -> dict[str, Entry] | None:
    """Unpack the entries of an instance; None when they cannot be read, as if it had not published them."""
    try:
        return {digest: _unpack(digest, entry, map_index) for digest, entry in packed.items()}
    except (AttributeError, TypeError, ValueError):
        return None


def _unpack(digest: str, packed: list[Any], map_index: int) -> Entry:
    attempt, max_tries, packed_ids, at = [*packed, None, None][:4]
    if digest == LOST:
        return lost_records(attempt, map_index)
    ids = read_ids(packed_ids or [])
    if ids is None or not is_count(attempt) or not is_count(max_tries):
        raise ValueError(digest)
    return Entry("sent" if packed_ids else "intent", attempt, max_tries, ids, at, map_index)
