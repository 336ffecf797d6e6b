"""A sequence as Airflow hands over mapped XComs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload


class Lazy(Sequence[Any]):
    """A sequence of a type of its own, which is neither a list nor a tuple."""

    def __init__(self, *entries: Any) -> None:
        self._entries = entries

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)
