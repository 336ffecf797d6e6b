"""
Run the scenarios and write the table; a chosen few are only shown.

Ends with 0 when every target is met, with 1 when one is missed or could not be measured.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.measure import alone, say
from benchmarks.table import document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.table import Row

_HOME: Final = Path(__file__).resolve().parents[1] / ".airflow" / "bench"
_RESULTS: Final = Path(__file__).with_name("results.md")

# A module each, in the order of the table.
_SCENARIOS: Final = {
    "send": "Sending over https, 50 ms a reply, 50 in flight",
    "rate": "Sending against 1,667 requests in 10 s, 300 ms a reply",
    "mapped": "Sending in Airflow, 50 ms a reply",
    "reading": "Reading 100,000 statuses",
    "polling": "A ruleset of 100 pages that settles over 30 polls",
    "asking": "Asking for single messages, 300 ms a reply",
    "waiting": "A thousand deferred sensors in one process",
    "parsing": "Parsing a DAG",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run what was asked for.

    :param arguments: The command line; None for the process's own.
    :return: The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"any of {', '.join(_SCENARIOS)} (all)")
    chosen = parser.parse_args(arguments).scenarios
    if unknown := set(chosen) - set(_SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(_SCENARIOS)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Nothing of it is left outside this folder, and nothing of another Airflow gets in.
    _HOME.mkdir(parents=True, exist_ok=True)
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        del os.environ[name]
    os.environ |= {
        "AIRFLOW_HOME": str(_HOME),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    }
    load = os.getloadavg()[0]
    tables: dict[str, list[Row]] = {}
    for name, title in _SCENARIOS.items():
        if not chosen or name in chosen:
            say(f"{title} ({name})")
            began = time.monotonic()
            # What one scenario leaves in memory is no burden for the next.
            try:
                tables[title] = alone(importlib.import_module(f"benchmarks.{name}").run)
            except ChildProcessError as error:
                # The others' numbers are worth having all the same.
                say(f"  {error}")
                tables[title] = []
            say(f"  took {time.monotonic() - began:.0f} s")
    text = document(tables, load)
    sys.stdout.write(text)
    if not chosen:
        _RESULTS.write_text(text, encoding="utf-8")
    wrong = [f"Not measured: {title}" for title, rows in tables.items() if not rows]
    wrong += [f"Target missed: {title}: {row.what}" for title, rows in tables.items() for row in rows if not row.holds]
    for each in wrong:
        say(each)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
