"""
Write the results of a batch, message by message, as JSON Lines on object storage, beside the sending.

The problem: storage may be slow or hang for minutes, and a batch that waits for it sends nothing and hears no stop. The
idea: the batch's main thread only gathers lines; a thread of its own writes them, one part at a time. The lines that
wait for it are bounded, and the end of the batch waits for it with a limit. A try that lost lines has no end, so no
reader takes it for whole; the ledger, not the results, decides what a retry sends.

Rejected: a time-out for each write (storage libraries have none that holds, and nothing interrupts their threads).
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.results.reader import last_try

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TextIO

    from airflow.sdk import ObjectStoragePath

    from intercom_provider.results.reader import Owner

log = logging.getLogger(__name__)

MAX_PART_LINES: Final = 10_000
"""How many lines are gathered before they are written."""

MAX_WAITING_LINES: Final = 100_000
"""How many lines may wait for the storage; more are lost, and the try has no end."""

_WARNING_INTERVAL_SECONDS: Final = 30.0
_STOP_CHECK_SECONDS: Final = 0.1


class StoragePatience(NamedTuple):
    """
    How long a batch waits for the storage of its results.

    :param slow: Seconds for a part after which the log warns (default 10).
    :param close: Seconds that the end of the batch waits (default 60).
    :param stopped: The same after a stop (default 2), because Airflow kills a task five seconds after a stop.
    """

    slow: float = 10.0
    close: float = 60.0
    stopped: float = 2.0


DEFAULT_STORAGE_PATIENCE: Final = StoragePatience()


class ResultsWriter:
    """
    Gathers one line per message and writes the lines in parts, each of them whole and never overwritten.

    A try begins with a small file that claims its number, ``try-{n}.begin.json``, and one that comes to its end marks
    it with another, ``try-{n}.end.json``.

    :param folder: The folder of the parts; None to write nothing.
    :param try_number: The try of the task, which is part of the names; :meth:`open` raises it where the folder has
        results of this try or a later one.
    :param owner: The task instance whose results these are; None (default) where it is not known.
    :param part_lines: How many lines are gathered before they are written (default 10,000).
    :param patience: How long the storage is waited for.
    """

    def __init__(
        self,
        folder: str | None,
        try_number: int,
        owner: Owner | None = None,
        *,
        part_lines: int = MAX_PART_LINES,
        patience: StoragePatience = DEFAULT_STORAGE_PATIENCE,
    ) -> None:
        self.folder = folder
        self.try_number = try_number
        self.failed = False
        """Whether a file could not be written."""

        self._is_suspended = False
        self._owner = owner
        self._part_lines = part_lines
        self._patience = patience
        self._lines: list[str] = []
        self._parts: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._waiting = self._written_parts = self._written_lines = 0
        self._counting = threading.Lock()
        self._writing_since: float | None = None
        self._warned_at = 0.0

    def open(self) -> None:
        """
        Check that the folder can be used, and claim the try in it, before anything is sent.

        The storage is connected here, in the main thread, because no other one may ask Airflow for a connection.

        :raises InvalidInputError: When it cannot be used.
        """
        if self.folder is None:
            return
        try:
            folder = self._path()
            if _is_local(folder):
                folder.mkdir(parents=True, exist_ok=True)
            # Readers take the highest try for the last one. A deleted DAG run leaves its results to the next run of
            # the same name, which counts its tries from 1 again.
            if folder.exists():
                self.try_number = max(self.try_number, last_try(self.folder) + 1)
            while not _create(folder / f"try-{self.try_number}.begin.json", self._claim()):
                self.try_number += 1
        except Exception as error:  # noqa: BLE001 - storage libraries fail in many ways
            raise self._unusable(error) from None

    def resume(self, suspended: Mapping[str, Any]) -> None:
        """
        Go on with the parts of a try that was deferred.

        :param suspended: What :meth:`suspend` has returned.
        :raises InvalidInputError: When the folder cannot be used any more.
        """
        # Where the field renders to another folder by now, the try goes on in its first one.
        self.folder = suspended["folder"]
        self.try_number, self.failed = suspended["try"], suspended["failed"]
        self._written_parts, self._written_lines = suspended["parts"], suspended["lines"]
        if self.folder is None:
            return
        try:
            folder = self._path()
            if not (folder / f"try-{self.try_number}.begin.json").exists():
                self.failed = True
                log.error("The results of this try are gone from %s, or on another worker's disk", self.folder)
                if _is_local(folder):
                    folder.mkdir(parents=True, exist_ok=True)
        except Exception as error:  # noqa: BLE001 - as in open
            raise self._unusable(error) from None

    def suspend(self, stopped: Callable[[], bool] = lambda: False) -> dict[str, Any]:
        """
        Write the rest before the task is deferred, and leave the try open.

        :param stopped: Returns True when the task was told to stop.
        :return: What :meth:`resume` needs to go on, as JSON values.
        """
        self._is_suspended = True
        self.close(stopped)
        if self._thread is not None and not self._thread.is_alive():
            # It may have to be ended all the same, when an error comes before the task is deferred.
            self._is_suspended, self._thread = False, None
        return {
            "folder": self.folder,
            "try": self.try_number,
            "failed": self.failed,
            "parts": self._written_parts,
            "lines": self._written_lines,
        }

    def values(self) -> dict[str, Any]:
        """
        Return where the results are.

        :return: The XCom ``results_path`` and ``results_try``; None where there are none, or not all.
        """
        has_results = self.folder is not None and not self.failed
        return {
            "results_path": self.folder if has_results else None,
            "results_try": self.try_number if has_results else None,
        }

    def add(self, line: dict[str, Any]) -> None:
        """
        Add the result of one message.

        :param line: The line: index, key, outcome, id, conversation_id, whatsapp_message_id, reason.
        """
        if self.folder is None:
            return
        self._lines.append(json.dumps(line, ensure_ascii=False))
        if len(self._lines) >= self._part_lines:
            self.write()

    def write(self) -> None:
        """Hand the gathered lines over to be written as a part."""
        if not self._lines or self.folder is None:
            return
        lines, self._lines = self._lines, []
        self.warn_where_slow()
        with self._counting:
            is_too_much = self._waiting + len(lines) > MAX_WAITING_LINES
            if not is_too_much:
                self._waiting += len(lines)
        if is_too_much:
            self._lose(len(lines), "the storage does not keep up")
            return
        self._parts.put(lines)
        self._start()

    def warn_where_slow(self) -> None:
        """Warn, twice a minute at most, while the storage takes long for a part."""
        since, now = self._writing_since, time.monotonic()
        if since is None or now - since < self._patience.slow or now - self._warned_at < _WARNING_INTERVAL_SECONDS:
            return
        self._warned_at = now
        log.warning(
            "The sending goes on, but the storage of results_path has taken %.0f s for a part so far; %s results wait",
            *(now - since, f"{self._waiting:,}"),
        )

    def close(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """
        Write the rest, mark the end of the try, and wait for the storage with a limit.

        :param stopped: Returns True when the task was told to stop; then it is waited for only shortly.
        """
        if self.folder is None:
            return
        self.write()
        self._parts.put(None)
        thread = self._start()
        give_up = time.monotonic() + self._patience.close
        while thread.is_alive() and time.monotonic() < give_up:
            self.warn_where_slow()
            if stopped():
                give_up = min(give_up, time.monotonic() + self._patience.stopped)
                thread.join(give_up - time.monotonic())
            else:
                thread.join(_STOP_CHECK_SECONDS)
        if thread.is_alive():
            self._lose(self._waiting, "the storage does not answer")

    def _start(self) -> threading.Thread:
        if self._thread is None:
            # A daemon, because storage that hangs must not keep a task from ending.
            self._thread = threading.Thread(target=self._write_parts, name="intercom-results", daemon=True)
            self._thread.start()
        return self._thread

    def _write_parts(self) -> None:
        while (lines := self._parts.get()) is not None:
            self._writing_since = time.monotonic()
            try:
                part = self._path() / f"try-{self.try_number}-part-{self._written_parts + 1}.jsonl"
                _put(part, "\n".join(lines) + "\n")
                self._written_parts += 1
                self._written_lines += len(lines)
            except Exception as error:
                log.exception("A part of the results could not be written")
                self._lose(len(lines), type(error).__name__)
            self._writing_since = None
            with self._counting:
                self._waiting -= len(lines)
        self._mark_end()

    def _mark_end(self) -> None:
        if self.failed or self._is_suspended:
            return
        self._writing_since = time.monotonic()
        try:
            end = {"parts": self._written_parts, "lines": self._written_lines}
            _put(self._path() / f"try-{self.try_number}.end.json", json.dumps(end) + "\n")
        except Exception:
            log.exception("The end of the results could not be marked in %s", self.folder)
            self.failed = True
        self._writing_since = None

    def _lose(self, lines: int, why: str) -> None:
        self.failed = True
        log.error("%s results could not be written to %s: %s", f"{lines:,}", self.folder, why)

    def _unusable(self, error: Exception) -> InvalidInputError:
        return InvalidInputError.of("results_path", f"{self.folder} cannot be used ({type(error).__name__}: {error})")

    def _claim(self) -> str:
        owner = {} if self._owner is None else self._owner._asdict()
        return json.dumps({**owner, "claim": uuid.uuid4().hex}) + "\n"

    def _path(self) -> ObjectStoragePath:
        from airflow.sdk import ObjectStoragePath

        return ObjectStoragePath(str(self.folder))


def _is_local(path: ObjectStoragePath) -> bool:
    return path.protocol in ("", "file")


def _create(path: ObjectStoragePath, text: str) -> bool:
    """Write a file that is not there yet; return False where somebody else has written it."""
    if _is_local(path):
        try:
            with Path(path.path).open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            return False
        return True
    # No exclusive create works on every object store: of two writers the last one wins, and the other reads so.
    if path.exists():
        return False
    _put(path, text)
    return bool(path.read_text(encoding="utf-8") == text)


@contextmanager
def open_whole(path: ObjectStoragePath) -> Iterator[TextIO]:
    """
    Open a file for writing that takes the place of an earlier one only when all of it is written.

    :param path: The file; on object storage files are always so.
    :return: The open file, as a context manager.
    :raises OSError: When it cannot be written.
    """
    target = Path(path.path)
    if not _is_local(path) or (target.exists() and not target.is_file()):
        # What is there and no file is a pipe or a device.
        with path.open("w", encoding="utf-8") as file:  # type: ignore[no-untyped-call]  # Airflow has no annotation
            yield file
        return
    # A full disk or a kill must not leave half a file, and another process may write the same one.
    unfinished = target.with_name(f"{target.name}.{uuid.uuid4().hex}.unfinished")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            yield file
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _put(path: ObjectStoragePath, text: str) -> None:
    with open_whole(path) as file:
        file.write(text)
