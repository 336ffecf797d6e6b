"""What the command line does with a standard output that is full, closed, or of another encoding than UTF-8."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from intercom_provider.results.writer import ResultsWriter

NAME = "né 東京 🎈"


@pytest.fixture
def folder(tmp_path: Path) -> str:
    writer = ResultsWriter(str(tmp_path), 1)
    writer.open()
    for index in range(20_000):
        writer.add({"index": index, "key": NAME, "outcome": "sent" if index else "rejected"})
    writer.close()
    return str(tmp_path)


def start(folder: str, *options: str, to: int | IO[bytes] = subprocess.PIPE) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "intercom_provider", "results", folder, *options]
    return subprocess.Popen(command, stdout=to, stderr=subprocess.PIPE)  # noqa: S603 - our own command


@pytest.fixture(autouse=True)
def buffering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "")


@pytest.mark.parametrize("options", [(), ("--outcome", "rejected"), ("--output", "jsonl")], ids=["all", "one", "jsonl"])
def test_a_reader_that_has_enough_is_no_error(folder: str, options: tuple[str, ...]) -> None:
    with start(folder, *options) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        errors = process.stderr.read().decode()
    assert process.returncode == 141
    assert "rror" not in errors
    assert "pipe" not in errors


@pytest.mark.parametrize("options", [(), ("--outcome", "rejected")], ids=["all", "one"])
def test_a_full_disk_is_an_error_of_one_line(folder: str, options: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full, start(folder, *options, to=full) as process:
        _, errors = process.communicate(timeout=90)
    assert process.returncode == 1
    assert errors.decode().endswith("No space left on device\n")
    assert b"messages\n" not in errors
    assert b"Exception ignored" not in errors


def test_results_are_utf_8_whatever_the_encoding_of_the_terminal(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    with start(folder, "--outcome", "rejected") as process:
        out, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    assert out.decode().splitlines()[1] == f"0,{NAME},rejected,,,,"
