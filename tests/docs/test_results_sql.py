"""The ways of the page about results into a real PostgreSQL, and from CSV into pandas and polars."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pytest

from intercom_provider.__main__ import main
from intercom_provider.results import read_results
from intercom_provider.results.writer import ResultsWriter

from .pages import ROOT, blocks, section

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.databases import LedgerDatabase

PAGE = ROOT / "docs" / "results.md"
ROWS: list[dict[str, Any]] = [
    {"key": "00123", "outcome": "sent", "id": "0042", "whatsapp_message_id": "wamid.HBgL=="},
    {"key": 'with "quotes", a comma', "outcome": "rejected", "reason": "two\nlines, né"},
    {"key": "\\N", "outcome": "rejected", "reason": "\\."},
    {"outcome": "sent", "id": "9007199254740993"},
]


def copy(database: LedgerDatabase, table: str, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Pipe the command's CSV into the statement of the page."""
    (command,) = (block.text for block in blocks(PAGE, "console") if "psql" in block.text)
    statement = re.findall(r'-c "(.+)"', command)[0].replace("outcomes", table)
    assert main(["results", path]) == 0
    assert database.postgres is not None
    with database.postgres.connect() as connection, connection.cursor().copy(statement.encode()) as load:
        load.write(capsys.readouterr().out)


@pytest.fixture
def tables(postgres_database: LedgerDatabase, monkeypatch: pytest.MonkeyPatch) -> LedgerDatabase:
    """Make the page's tables."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "")
    postgres_database.execute(section(PAGE, "PostgreSQL").partition("```sql\n")[2].partition("```")[0])
    return postgres_database


def test_the_results_of_a_batch_are_loaded_as_they_are(
    tables: LedgerDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = ResultsWriter(str(tmp_path), 1)
    writer.open()
    for index, row in enumerate(ROWS):
        writer.add({"index": index, **row})
    writer.close()
    copy(tables, "outcomes", str(tmp_path), capsys)
    assert tables.execute('SELECT * FROM outcomes ORDER BY "index"') == [
        tuple(row.values()) for row in read_results(str(tmp_path))
    ]


def test_the_statuses_of_a_sensor_are_loaded_with_their_times(
    tables: LedgerDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "statuses.jsonl"
    lines = [{"key": "00123", "status": "read", "updated_at": 1_795_235_636}, {"status": "failed", "reason": "a, b"}]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    copy(tables, "statuses", str(file), capsys)
    assert sorted(tables.execute("SELECT * FROM statuses"), key=str) == sorted(
        (tuple(row.values()) for row in read_results(str(file))), key=str
    )
    assert tables.execute("SELECT key, extract(epoch FROM updated_at)::int FROM statuses WHERE status = 'read'") == [
        ("00123", 1_795_235_636)
    ]


def test_csv_files_load_into_pandas_and_polars_with_every_key_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ["00123", "1e5", "-5", "+447900123456", "NA", "#N/A", "true", "0x10", "2026-11-21", "C:\\new", "a\nb", None]
    writer = ResultsWriter(str(tmp_path / "results"), 1)
    writer.open()
    for index, key in enumerate(keys):
        writer.add({"index": index, "key": key, "outcome": "sent"})
    writer.close()
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "")
    monkeypatch.chdir(tmp_path)
    assert main(["results", "results"]) == 0
    (tmp_path / "outcomes.csv").write_text(capsys.readouterr().out)
    calls = re.findall(r"`(p[dl]\.read_csv\(.+\))`", PAGE.read_text())
    assert len(calls) == 2
    for call in calls:
        frame = eval(call, {"pd": pd, "pl": pl})  # noqa: S307 - the page's own code
        assert [None if key != key else key for key in frame["key"]] == keys  # noqa: PLR0124 - NaN alone differs from itself
