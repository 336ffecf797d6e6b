"""Time zones of our own, so that one local time comes seconds apart and not hours."""

from __future__ import annotations

import os
import struct
import zoneinfo
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write_zone(folder: Path, name: str, offset_seconds: int) -> None:
    """
    Write a time zone that is always so many seconds ahead of UTC.

    :param folder: A folder on the search path of time zones.
    :param name: Its name, such as ``Test/Ahead``.
    :param offset_seconds: How far it is ahead.
    """
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    # RFC 8536: no transitions, one type of local time, whose abbreviation has four bytes.
    counts = struct.pack(">4s c 15x 6l", b"TZif", b"\0", 0, 0, 0, 0, 1, 4)
    path.write_bytes(counts + struct.pack(">l b B", offset_seconds, 0, 0) + b"TST\0")


def search_path(folder: Path) -> str:
    """
    Return the value of ``PYTHONTZPATH`` for processes that shall find the zones of a folder, too.

    :param folder: The folder.
    :return: The folders.
    """
    return os.pathsep.join([str(folder), *zoneinfo.TZPATH])


@contextmanager
def zones_in(folder: Path) -> Iterator[None]:
    """
    Let this process find the time zones of a folder.

    :param folder: The folder.
    """
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath((str(folder), *before))
    try:
        yield
    finally:
        zoneinfo.reset_tzpath(before)
        zoneinfo.ZoneInfo.clear_cache()
