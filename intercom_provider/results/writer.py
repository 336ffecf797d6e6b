"""Write the results of a batch, message by message, as JSON Lines on object storage."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.results.reader import last_try

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

log = logging.getLogger(__name__)

MAX_PART_LINES: Final = 10_000
"""How many lines are gathered before they are written."""


class ResultsWriter:
    """
    Gathers one line a message and writes the lines in parts, each of them whole and never overwritten.

    A try that comes to its end marks it with a small file, ``try-{n}.end.json``.

    :param folder: The folder of the parts; None to write nothing.
    :param try_number: The try of the task, which is part of the names; :meth:`open` raises it where the folder has
        results of this try or a later one.
    """

    def __init__(self, folder: str | None, try_number: int) -> None:
        self.folder = folder
        self.try_number = try_number
        self.failed = False
        """Whether a file could not be written."""

        self._number = 0
        self._parts = 0
        self._written_lines = 0
        self._lines: list[str] = []

    def open(self) -> None:
        """
        Check that the folder can be used, before anything is sent.

        :raises InvalidInputError: When it cannot be used.
        """
        if self.folder is None:
            return
        try:
            folder = self._path(self.folder)
            if folder.protocol in ("", "file"):
                folder.mkdir(parents=True, exist_ok=True)
            # Readers take the highest try for the last one. A deleted DAG run leaves its results to the next run of
            # the same name, which counts its tries from 1 again.
            if folder.exists():
                self.try_number = max(self.try_number, last_try(self.folder) + 1)
        except Exception as error:  # noqa: BLE001 - storage libraries fail in many ways
            raise InvalidInputError.of(
                "results_path", f"{self.folder} cannot be used ({type(error).__name__}: {error})"
            ) from None

    def add(self, line: dict[str, Any]) -> None:
        """
        Add the result of one message.

        :param line: The line: index, key, outcome, id, conversation_id, whatsapp_message_id, reason.
        """
        if self.folder is None:
            return
        self._lines.append(json.dumps(line, ensure_ascii=False))
        if len(self._lines) >= MAX_PART_LINES:
            self.write()

    def write(self) -> None:
        """Write the gathered lines as a part; an error is logged, because it must not keep messages back."""
        if not self._lines or self.folder is None:
            return
        try:
            folder = self._path(self.folder)
            while True:
                self._number += 1
                part = folder / f"try-{self.try_number}-part-{self._number}.jsonl"
                if not part.exists():
                    break
            _put(part, "\n".join(self._lines) + "\n")
            self._parts += 1
            self._written_lines += len(self._lines)
        except Exception:
            log.exception("%d results could not be written to %s", len(self._lines), self.folder)
            self.failed = True
        self._lines.clear()

    def close(self) -> None:
        """Write the rest, and mark the end of the try, unless a part could not be written."""
        self.write()
        if self.failed or self.folder is None:
            return
        try:
            end = {"parts": self._parts, "lines": self._written_lines}
            _put(self._path(self.folder) / f"try-{self.try_number}.end.json", json.dumps(end) + "\n")
        except Exception:
            log.exception("the end of the results could not be written to %s", self.folder)
            self.failed = True

    def _path(self, path: str) -> ObjectStoragePath:
        from airflow.sdk import ObjectStoragePath  # noqa: PLC0415 - loads a storage library, only where results are wanted

        return ObjectStoragePath(path)


def _put(path: ObjectStoragePath, text: str) -> None:
    if path.protocol not in ("", "file"):
        with path.open("w", encoding="utf-8") as file:  # type: ignore[no-untyped-call]  # Airflow has no annotation
            file.write(text)
        return
    # A full disk or a kill must not leave half a file; object stores show a file only when it is whole.
    unfinished = Path(f"{path.path}.unfinished")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path.path)
    finally:
        unfinished.unlink(missing_ok=True)
