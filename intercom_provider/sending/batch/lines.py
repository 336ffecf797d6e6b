"""Read the lines of a file on object storage, of any size, with errors for people."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.api.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_LINE_BYTES: Final = 1 << 22
"""The longest line that is read."""

_CHUNK_BYTES: Final = 1 << 18
# Another try would meet these again. A network that fails may well work the next time.
_PERMANENT_READ_ERRORS: Final = (
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
    ImportError,
    ValueError,
    EOFError,
    gzip.BadGzipFile,
    zlib.error,
)
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def read_lines(field: str, path: Any) -> Iterator[tuple[int, bytes | None]]:
    """
    Read a file line by line; what ends in ``.gz`` and the like is unpacked.

    :param field: The field that names the file, for errors.
    :param path: A path or a URI that Airflow's ``ObjectStoragePath`` takes.
    :return: Each line with its number, stripped of white space; blank ones are left out. None, and nothing after it,
        for a line of more than ``MAX_LINE_BYTES``.
    :raises InvalidInputError: When the file cannot be read, and another try would meet the same.
    """
    for number, line in enumerate(_split_lines(_chunks(field, path)), start=1):
        text = line and (line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line).strip()
        if text is None or text:
            yield number, text


def without_credentials(field: str, path: str) -> str:
    """
    Refuse a URI that holds credentials.

    :param field: The field that names the file, for the error.
    :param path: The path or URI.
    :return: The path.
    :raises InvalidInputError: When it holds any.
    """
    # Airflow takes the text before the @ for the id of a connection, and logs and errors name it.
    if ":" in path.partition("://")[2].partition("/")[0].rpartition("@")[0]:
        raise InvalidInputError.of(
            field, "holds credentials: put them into an Airflow connection, and its id before the @"
        )
    return path


def is_storage_path(value: object) -> bool:
    """
    Check whether a value is Airflow's own path, which is not an ``os.PathLike``.

    :param value: Any field's value.
    :return: True for an ``ObjectStoragePath``.
    """
    # Importing its class takes longer than all the rest.
    return hasattr(value, "protocol") and hasattr(value, "conn_id")


def _chunks(field: str, path: Any) -> Iterator[bytes]:
    try:
        from airflow.sdk import ObjectStoragePath

        file = (path if is_storage_path(path) else ObjectStoragePath(path)).open("rb", compression="infer")
    except _PERMANENT_READ_ERRORS as error:
        raise _unreadable(field, error) from None
    with file:
        yield from _read_chunks(field, file.read)


def _read_chunks(field: str, read: Callable[[int], bytes]) -> Iterator[bytes]:
    while True:
        try:
            chunk = read(_CHUNK_BYTES)
        except _PERMANENT_READ_ERRORS as error:
            raise _unreadable(field, error) from None
        if not chunk:
            return
        yield chunk


def _unreadable(field: str, error: Exception) -> InvalidInputError:
    # A library's own words may repeat the URI, and credentials in it.
    return InvalidInputError.of(field, f"cannot be read ({type(error).__name__}): check the path or URI")


def _split_lines(chunks: Iterator[bytes]) -> Iterator[bytes | None]:
    """Yield whole lines; None, and nothing after it, for a line that is too long."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > MAX_LINE_BYTES:
            yield None
            return
    if rest:
        yield rest
