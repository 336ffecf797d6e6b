"""Read the results of a batch or of a sensor as rows, for tables and other tools."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from intercom_provider.api.errors import IntercomError, InvalidInputError
from intercom_provider.results.reader import TryResults, open_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import ObjectStoragePath

Row: TypeAlias = dict[str, Any]

BATCH_FIELDS: Final = ("index", "key", "outcome", "id", "conversation_id", "whatsapp_message_id", "reason")
STATUS_FIELDS: Final = (
    "whatsapp_message_id",
    "key",
    "conversation_id",
    "user_id",
    "status",
    "reason",
    "template_name",
    "updated_at",
)


def read_results(path: str, *, results_try: int | None = None, allow_incomplete: bool = False) -> Iterator[Row]:
    """
    Read the results of a batch, or those that a sensor wrote, one row a message.

    Ids and keys are text, ``updated_at`` is a datetime in UTC, and every row has the same fields. Rows are read while
    they are taken, so that results of any size need little memory.

    :param path: The folder that the batch's XCom ``results_path`` names, or the sensor's file.
    :param results_try: The try of a batch, as its XCom ``results_try`` names it; None (default) for the last one.
    :param allow_incomplete: Whether a try may be read that was killed or is still running (default False).
    :return: The rows; none for a batch without messages.
    :raises InvalidInputError: When there are no such results, or the try did not come to its end.
    """
    return open_results(path, results_try=results_try, allow_incomplete=allow_incomplete)[1]


def open_results(
    path: str, *, results_try: int | None = None, allow_incomplete: bool = False
) -> tuple[tuple[str, ...], Iterator[Row]]:
    """
    Find results, and return the names of their fields beside the rows.

    :param path: The folder of a batch, or the file of a sensor.
    :param results_try: The try of a batch; None (default) for the last one.
    :param allow_incomplete: Whether a try may be read that did not come to its end (default False).
    :return: The names, and the rows.
    :raises InvalidInputError: When there are no such results, or the try did not come to its end.
    """
    from airflow.sdk import ObjectStoragePath

    if not path:
        raise InvalidInputError.of(
            "path", "is missing: the batch has no results_path, or could not write all of its results"
        )
    with _explain_errors(path):
        target = ObjectStoragePath(path)
        if target.is_file():
            if results_try is not None:
                raise InvalidInputError.of("results_try", "goes with the folder of a batch, and this is a file")
            return _file_rows(path, target)
        results = _choose(path, results_try)
        if not allow_incomplete:
            lines = results.written_lines()
            if lines is None:
                raise InvalidInputError.of(
                    "path",
                    f"try {results.try_number} of the batch did not come to its end (killed, or still running), so "
                    f"it lacks messages. Wait for the batch or clear it, and read the try that its XCom results_try "
                    f"names; or read what is there with allow_incomplete=True",
                )
            results = replace(results, total=lines)
    return BATCH_FIELDS, _batch_rows(path, results)


def _choose(path: str, results_try: int | None) -> TryResults:
    tries = {each.try_number: each for each in TryResults.of_tries(path)}
    if not tries:
        raise InvalidInputError.of(
            "path",
            f"{path} has no results of a batch: give the folder that its XCom results_path names, "
            "DAG_ID/RUN_ID/TASK_ID/MAP_INDEX",
        )
    if results_try is None:
        return tries[max(tries)]
    if results_try not in tries:
        raise InvalidInputError.of("results_try", f"the batch has left the tries {', '.join(map(str, tries))} here")
    return tries[results_try]


def _batch_rows(path: str, results: TryResults) -> Iterator[Row]:
    with _explain_errors(path):
        for line in results.lines():
            yield {
                name: getattr(line, name) if name == "index" else _text(getattr(line, name)) for name in BATCH_FIELDS
            }


def _file_rows(path: str, target: ObjectStoragePath) -> tuple[tuple[str, ...], Iterator[Row]]:
    lines = _parsed_lines(path, target)
    first = next(lines, None)
    names = BATCH_FIELDS if first is not None and "outcome" in first else STATUS_FIELDS
    rows = lines if first is None else chain([first], lines)
    return names, ({name: _value(name, row.get(name)) for name in names} for row in rows)


def _parsed_lines(path: str, target: ObjectStoragePath) -> Iterator[Row]:
    fields = {"outcome", "status"}
    with _explain_errors(path), open_lines(target) as file:
        for number, text in enumerate(file, 1):
            try:
                row = json.loads(text)
            except (ValueError, RecursionError):
                row = None
            # All lines are of the kind of the first, or their outcomes or statuses would be lost.
            fields = fields.intersection(row) if isinstance(row, dict) else set()
            if not fields:
                raise InvalidInputError.of("path", f"line {number} of {path} is not the result of a message")
            yield row


def _value(name: str, value: Any) -> Any:
    if name == "updated_at":
        return _time(value)
    return value if name == "index" else _text(value)


def _time(value: Any) -> datetime | None:
    # A time that nobody can read must not hide the status beside it.
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _text(value: Any) -> str | None:
    # A column of numbers in which one is missing becomes one of floats in pandas: 123 would be "123.0".
    return None if value is None else str(value)


@contextmanager
def _explain_errors(path: str) -> Iterator[None]:
    """Raise what another attempt would meet, too, as an error that names the path."""
    try:
        yield
    except IntercomError:
        raise
    except (ValueError, ImportError, FileNotFoundError, NotADirectoryError) as error:
        raise InvalidInputError.of("path", f"the results {path} cannot be read: {error}") from None
