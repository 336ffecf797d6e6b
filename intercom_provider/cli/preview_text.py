"""A preview as text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from intercom_provider.cli.preview_result import write_moment, write_numbers, write_zones

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercom_provider.cli.preview_result import Preview


def as_lines(preview: Preview) -> Iterator[str]:
    """
    Write a preview.

    :param preview: The preview.
    :return: The lines: counts, time, when windows open, invalid rows by cause, messages.
    """
    for name, count in preview.counts.items():
        yield f"{name.replace('_', ' '):<14}{count:>10,}"
    yield preview.duration
    if preview.held:
        yield ""
        yield f"{preview.counts['to_send']:>10,}  now"
    for opens_at, zones in preview.held:
        yield f"{zones.total():>10,}  from {write_moment(opens_at)} on ({write_zones(zones)})"
    for reason, numbers in preview.causes:
        times = f" ({len(numbers):,} times)" if len(numbers) > 1 else ""
        yield ""
        yield f"invalid: {reason}{times}"
        yield f"  {preview.numbered_by} {write_numbers(numbers)}"
    for each in preview.shown:
        yield ""
        yield f"{preview.numbered_by} {each.number}{f': {each.reason}' if each.reason else ''}"
        if each.wire is not None:
            yield json.dumps(each.wire, ensure_ascii=False, indent=2)
