"""Writing JSON Lines to a file or to the standard output."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from intercom_provider.api.errors import IntercomError, InvalidInputError
from intercom_provider.waiting.report import write_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from intercom_provider.waiting.sent import Row

STDOUT = "-"


def write_lines(rows: Iterator[Row], output: str, out: TextIO) -> None:
    """
    Write rows as JSON Lines.

    :param rows: The rows.
    :param output: A path, an object-storage URI, or ``-`` for the standard output.
    :param out: The standard output.
    :raises OSError: When the file cannot be written.
    :raises InvalidInputError: When the storage does not exist or refuses.
    """
    if output == STDOUT:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return
    try:
        written = write_rows(rows, output)
    except (IntercomError, OSError):
        raise
    except Exception as error:
        raise InvalidInputError.of("--output", f"cannot be written: {error}") from error
    sys.stderr.write(f"{written:,} lines written to {output}\n")
