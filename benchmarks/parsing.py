"""Measure the time that importing this provider adds to a DAG file, once Airflow is loaded."""

from __future__ import annotations

import compileall
import importlib
import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import intercom_provider
from benchmarks.measure import Sample, alone, say
from benchmarks.table import Row, allowed

_ROUNDS: Final = 7
_MAX_SECONDS: Final = 0.030
_MODULES: Final = (
    "intercom_provider.operators.message",
    "intercom_provider.operators.batch",
    "intercom_provider.sensors.message_status",
    "intercom_provider.notifications.message",
)
# Every process of Airflow that parses a DAG has loaded these before.
_LOADED_BEFORE: Final = (
    "airflow.triggers.base",
    "airflow.sdk.configuration",
    "httpx",
    "pydantic",
    "pendulum",
    "jinja2",
)
# The HTTP libraries that other providers import; they come with Airflow.
_OTHER: Final = ("requests", "aiohttp")


def run() -> list[Row]:
    """
    Import operators, sensors and the notifier in fresh processes, each on one core.

    :return: The rows.
    """
    # An installed package is compiled. A clone's modules would be compiled during the measured import.
    compileall.compile_dir(Path(intercom_provider.__file__).parent, quiet=1)
    modules = tuple(name for name in _MODULES if find_spec(name.rpartition(".")[0]) and find_spec(name))
    ours, other = [], []
    for number in range(_ROUNDS):
        ours.append(1000 * alone(_seconds_to_import, modules))
        other.append(1000 * alone(_seconds_to_import, _OTHER))
        say(f"  round {number + 1} of {_ROUNDS}: {ours[-1]:.1f} ms; {' and '.join(_OTHER)} {other[-1]:.1f} ms")
    found, yardstick = Sample(tuple(ours)), Sample(tuple(other))
    names = ", ".join(name.removeprefix("intercom_provider.") for name in modules)
    return [
        allowed(f"import {names}, ms of a core", found, 1000 * _MAX_SECONDS, "{:.1f} ms"),
        Row(
            what=f"the same beside {' and '.join(_OTHER)}, which other providers import: times as fast",
            ours=found.told("{:.1f} ms"),
            other=yardstick.told("{:.1f} ms"),
            ratio=yardstick.median / found.median,
        ),
    ]


def _seconds_to_import(names: tuple[str, ...]) -> float:
    if sys.platform == "linux":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    airflow = importlib.import_module("airflow.sdk")
    # The SDK loads its names at first use, and every DAG file uses some of these.
    _ = airflow.DAG, airflow.BaseOperator, airflow.BaseSensorOperator, airflow.BaseHook
    for name in _LOADED_BEFORE:
        importlib.import_module(name)
    # CPU time, because the load of other processes must not count.
    started = time.process_time()
    for name in names:
        importlib.import_module(name)
    return time.process_time() - started
