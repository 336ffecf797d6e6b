"""The results of a batch, message by message, as JSON Lines on object storage."""

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

LINES_A_PART: Final = 10_000
"""How many lines are gathered before they are written; a part is complete when it is there."""


class ResultsWriter:
    """
    Gathers one line a message and writes them in parts, none of which is ever overwritten.

    :param folder: Where the parts go; None for nowhere.
    :param attempt: The try of the task, which is part of a part's name; a higher number where parts of it or of a
        later one are there already.
    """

    def __init__(self, folder: str | None, attempt: int) -> None:
        self.folder = folder
        self.failed = False
        """Whether a part could not be written."""

        self._attempt = attempt
        self._number = 0
        self._lines: list[str] = []

    def open(self) -> None:
        """
        Find out, before anything is sent, whether there is such a place.

        :raises InvalidInputError: When there is none.
        """
        if self.folder is None:
            return
        try:
            folder = self._path(self.folder)
            if folder.protocol in ("", "file"):
                folder.mkdir(parents=True, exist_ok=True)
            # The highest number is the one that counts: a DAG run that was deleted leaves its parts to the next one
            # of its name, which begins to count tries anew.
            if folder.exists():
                self._attempt = max(self._attempt, last_try(self.folder) + 1)
        except Exception as error:  # noqa: BLE001 - storage libraries fail in many ways
            raise InvalidInputError.of(
                "results_path", f"{self.folder} cannot be used ({type(error).__name__}: {error})"
            ) from None

    def add(self, line: dict[str, Any]) -> None:
        """
        Take in what became of one message.

        :param line: The line: index, key, outcome, id, whatsapp_message_id, reason.
        """
        if self.folder is None:
            return
        self._lines.append(json.dumps(line, ensure_ascii=False))
        if len(self._lines) >= LINES_A_PART:
            self.write()

    def write(self) -> None:
        """Write the lines that were gathered; what keeps them from being written must not keep messages back."""
        if not self._lines or self.folder is None:
            return
        try:
            folder = self._path(self.folder)
            while True:
                self._number += 1
                part = folder / f"try-{self._attempt}-part-{self._number}.jsonl"
                if not part.exists():
                    break
            _put(part, "\n".join(self._lines) + "\n")
        except Exception:
            log.exception("%d results could not be written to %s", len(self._lines), self.folder)
            self.failed = True
        self._lines.clear()

    def _path(self, path: str) -> ObjectStoragePath:
        from airflow.sdk import ObjectStoragePath  # noqa: PLC0415 - loads a storage library, only where results are wanted

        return ObjectStoragePath(path)


def _put(part: ObjectStoragePath, text: str) -> None:
    if part.protocol not in ("", "file"):
        with part.open("w", encoding="utf-8") as file:  # type: ignore[no-untyped-call]  # Airflow has no annotation
            file.write(text)
        return
    # A full disk or a kill must not leave half a part; object stores show a file when it is whole.
    unfinished = Path(f"{part.path}.unfinished")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(part.path)
    finally:
        unfinished.unlink(missing_ok=True)
