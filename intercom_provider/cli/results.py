"""``results``: the results of a batch or of a sensor, as CSV for people and warehouses, or as JSON Lines."""

from __future__ import annotations

import csv
import json
import re
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, get_args

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.models import Outcome
from intercom_provider.cli.output import explain_storage_errors
from intercom_provider.results.rows import BATCH_FIELDS, open_results

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import TextIO

    from intercom_provider.results.rows import Row

_OUTCOMES: Final = (*get_args(Outcome), "suppressed", "duplicate")
# Spreadsheets run cells that begin so as formulas, some of them also behind white space.
_FORMULA: Final = re.compile(r"[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER: Final = re.compile(r"[+-][0-9]+(\.[0-9]+)?")


def run(options: argparse.Namespace, out: TextIO) -> int:
    """
    Write the rows to the standard output, and how many there were to the standard error.

    :param options: ``path``, ``output``, ``outcomes``, ``try_number`` and ``allow_incomplete``.
    :param out: The standard output.
    :return: The exit status: 0.
    """
    with explain_storage_errors("PATH", "cannot be read: "):
        names, rows = open_results(
            options.path, results_try=options.try_number, allow_incomplete=options.allow_incomplete
        )
        wanted = _Wanted(rows, names, options.outcomes)
        if options.output == "csv":
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(names)
            writer.writerows([_cell(value) for value in row.values()] for row in wanted)
        else:
            out.writelines(json.dumps(row, ensure_ascii=False, default=datetime.isoformat) + "\n" for row in wanted)
    # The count is for rows that are written, which a full disk shows only now.
    out.flush()
    sys.stderr.write(f"{wanted.written:,} of {wanted.total:,} messages\n")
    if missing := wanted.missing():
        sys.stderr.write(f"No message is {', '.join(missing)}: the file has {', '.join(sorted(wanted.seen))}\n")
    return 0


class _Wanted:
    """The rows with certain outcomes, counted while they are taken."""

    def __init__(self, rows: Iterator[Row], names: tuple[str, ...], outcomes: list[str] | None) -> None:
        self.total = self.written = 0
        self.seen: set[str] = set()
        self._rows = rows
        self._outcomes = outcomes
        # A sensor's rows have a status of Intercom's in place of an outcome.
        self._field = "outcome" if names == BATCH_FIELDS else "status"
        unknown = set(outcomes or ()) - set(_OUTCOMES)
        if self._field == "outcome" and unknown:
            raise InvalidInputError.of("--outcome", f"a batch's outcomes are {', '.join(_OUTCOMES)}")

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.total += 1
            self.seen.add(str(row[self._field]))
            if self._outcomes is None or row[self._field] in self._outcomes:
                self.written += 1
                yield row

    def missing(self) -> list[str]:
        """Return the statuses that no message of a sensor has: they may be misspelt, for Intercom may have new ones."""
        if self._field == "outcome" or not self.seen:
            return []
        return [each for each in self._outcomes or () if each not in self.seen]


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if not isinstance(value, str):
        return value
    if _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        value = f"'{value}"
    # No database takes NUL, and Python quotes no carriage return that stands alone.
    return value.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
