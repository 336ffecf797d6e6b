"""Writing JSON Lines to a file or to the standard output, and asking before something is done."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
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
    with explain_storage_errors("--output", "cannot be written: "):
        written = write_rows(rows, output)
    sys.stderr.write(f"{written:,} lines written to {output}\n")


@contextmanager
def explain_storage_errors(option: str, words: str) -> Iterator[None]:
    """
    Raise what storage libraries raise, such as for a missing provider, connection or permission, as an error of a line.

    :param option: The option that names the storage.
    :param words: The words before those of the storage library.
    :return: A context manager.
    :raises InvalidInputError: For an error of the storage.
    :raises OSError: For an error of the standard output.
    """
    try:
        yield
    except IntercomError:
        raise
    except Exception as error:
        # Without a file's name it is an error of the standard output, such as a closed pipe.
        if isinstance(error, OSError) and error.filename is None:
            raise
        raise InvalidInputError.of(option, f"{words}{error}") from error


def ask(question: str) -> bool:
    """
    Ask on the standard error, and read the answer from the standard input.

    :param question: The question.
    :return: True for yes.
    """
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def confirm(consequence: str, question: str) -> bool:
    """
    Say what is about to be written, and ask.

    :param consequence: What happens, as a sentence.
    :param question: The question.
    :return: True for yes; otherwise the standard error has said that nothing was changed.
    """
    sys.stderr.write(f"{consequence}\n")
    agreed = ask(question)
    if not agreed:
        sys.stderr.write("Nothing was changed.\n")
    return agreed
