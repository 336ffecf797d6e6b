"""A task state store in memory, which counts reads and writes."""

from __future__ import annotations

import json
from typing import Any


class Store:
    """Behaves as Airflow's: values are JSON, and durable on return."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.sets: list[int] = []
        self.gets = 0
        self.fail_after: int | None = None

    def get(self, key: str) -> Any:
        self.gets += 1
        return json.loads(self.values[key]) if key in self.values else None

    def set(self, key: str, value: Any) -> None:
        if self.fail_after is not None and len(self.sets) >= self.fail_after:
            raise ConnectionError("the API server is gone")
        text = json.dumps(value)
        self.values[key] = text
        self.sets.append(len(text.encode()))
