"""Read the results that a batch has written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read_last_try(folder: Path) -> Iterator[dict[str, Any]]:
    """Read the results of the last try from the folder that a batch's `results_path` names."""
    last = max(int(part.name.split("-")[1]) for part in folder.glob("try-*.jsonl"))
    for part in folder.glob(f"try-{last}-part-*.jsonl"):
        yield from map(json.loads, part.read_text(encoding="utf-8").splitlines())
