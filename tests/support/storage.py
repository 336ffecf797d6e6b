"""Storage that hangs whenever a test wants it to."""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterator

_numbers = itertools.count(1)


class HangingStorage(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no annotations
    """Object storage in memory, which opens no file for writing, or finds none, while it hangs."""

    cachable = False

    def __init__(self) -> None:
        super().__init__()
        # Of each storage its own, because a writer that is late finds the storage of the next test.
        self.path = f"memory://hanging@bucket/results-{next(_numbers)}"
        """A path in the storage."""

        self.store: dict[str, Any] = {}
        self.pseudo_dirs = [""]
        self.answers = threading.Event()
        self.answers.set()
        self.asked = threading.Event()
        self._names = ""
        self._finds_nothing = False

    def open(self, path: str, mode: str = "rb", *args: Any, **kwargs: Any) -> Any:
        """Open a file, when the storage answers."""
        if "w" in mode and self._names in path:
            self.asked.set()
            self.answers.wait(120)
        return super().open(path, mode, *args, **kwargs)

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Look for a file, when the storage answers."""
        if self._finds_nothing:
            self.answers.wait(120)
        return bool(super().exists(path, **kwargs))

    def hang(self, names: str = "", *, finds_nothing: bool = False) -> None:
        """Answer no more, when a file with this in its name is to be written, or any is looked for."""
        self._names, self._finds_nothing = names, finds_nothing
        self.asked.clear()
        self.answers.clear()


@contextmanager
def hanging_storage() -> Iterator[HangingStorage]:
    """Attach the storage to Airflow's paths; at the end it answers, so that no thread is left."""
    storage = HangingStorage()
    # Airflow keeps the first storage of a connection.
    attached = attach("memory", conn_id="hanging", fs=storage)
    attached.fs = storage
    try:
        yield storage
    finally:
        storage.answers.set()
