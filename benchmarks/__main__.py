"""
Run all scenarios and write benchmarks/results.md, or run the named ones and only print their tables.

The exit status is 0 when every target is met, and 1 when a target is missed or a scenario fails.
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

# The title of each scenario's module, in the order of the tables.
_SCENARIOS: Final = {
    "send": "Sending over https, 50 ms a reply, 50 in flight",
    "rate": "Sending against 1,667 requests in 10 s, 300 ms a reply",
    "ledger": "Sending with the ledger in a table",
    "suppressed": "Leaving people out of 100,000 emails",
    "invalid": "Checking 100,000 rows of which 3 % are wrong",
    "exporting": "Writing 100,000 results as CSV",
    "long_ledger": "Asking a ledger of 1,000,000 rows",
    "mapped": "Sending in Airflow, 50 ms a reply",
    "reading": "Reading 100,000 statuses",
    "polling": "A ruleset of 100 pages that settles over 30 polls",
    "asking": "Asking for single messages, 300 ms a reply",
    "waiting": "A thousand deferred sensors in one process",
    "parsing": "Parsing a DAG",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the scenarios of the command line.

    :param arguments: The command line; None for the process's own.
    :return: The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"any of {', '.join(_SCENARIOS)} (all)")
    chosen = parser.parse_args(arguments).scenarios
    if unknown := set(chosen) - set(_SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(_SCENARIOS)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # All files stay inside this folder, and the settings of another Airflow have no effect.
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
            started = time.monotonic()
            # In a process of its own, so that no scenario runs in the memory that another one has filled.
            try:
                tables[title] = alone(importlib.import_module(f"benchmarks.{name}").run)
            except ChildProcessError as error:
                # The other scenarios are independent of this one.
                say(f"  {error}")
                tables[title] = []
            say(f"  took {time.monotonic() - started:.0f} s")
    text = document(tables, load)
    sys.stdout.write(text)
    if not chosen:
        _RESULTS.write_text(text, encoding="utf-8")
    problems = [f"Not measured: {title}" for title, rows in tables.items() if not rows]
    problems += [
        f"Target missed: {title}: {row.what}" for title, rows in tables.items() for row in rows if not row.holds
    ]
    for problem in problems:
        say(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
