"""The same commands, run by Airflow and by Python."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from airflow.cli.cli_config import ActionCommand, GroupCommand

from intercom_provider.__main__ import main
from intercom_provider.cli import COMMANDS, get_commands
from tests.support.project import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from intercom_provider.sandbox import Sandbox


def start(*command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", *command], input=stdin, capture_output=True, text=True, timeout=90, check=False
    )


def parser_of(command: ActionCommand) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    for option in command.args:
        option.add_to_parser(parser)
    return parser


def actions(group: GroupCommand, *words: str) -> Iterator[tuple[tuple[str, ...], ActionCommand]]:
    """Yield all commands of a group and of the groups in it, with the words that run them."""
    for each in group.subcommands:
        if isinstance(each, GroupCommand):
            yield from actions(each, *words, each.name)
        else:
            yield (*words, each.name), each


def test_airflow_has_the_same_commands_and_options_as_python(capsys: pytest.CaptureFixture[str]) -> None:
    (group,) = get_commands()
    assert isinstance(group, GroupCommand)
    assert [each.name for each in group.subcommands] == [command.name for command in COMMANDS]
    for words, each in actions(group):
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        shown = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
        assert shown == set(re.findall(r"--[a-z-]+", parser_of(each).format_help()))


@pytest.mark.needs("provider_commands")
def test_airflows_own_command_line_runs_a_command_of_a_group(tmp_path: Path, monkeypatch: Any) -> None:
    connection = {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(connection))
    ended = start("airflow", "intercom", "ledger", "init", "--conn-id", "ledger")
    assert ended.returncode == 0, ended.stderr
    assert "The ledger is in the table intercom_messages" in ended.stdout


@pytest.mark.needs("provider_commands")
def test_airflows_own_command_line_runs_a_command(sandbox: Sandbox) -> None:
    ended = start("airflow", "intercom", "check", "--probe-send")
    assert ended.returncode == 0, ended.stderr
    assert "  yes  send messages\n" in ended.stdout
    assert sandbox.requests


def test_python_runs_a_command_and_prints_only_its_result(sandbox: Sandbox, monkeypatch: Any) -> None:
    with_noise = {**sandbox.connection, "extra": {**sandbox.connection["extra"], "unknown": 1}}
    monkeypatch.setenv("AIRFLOW_CONN_INTERCOM_DEFAULT", json.dumps(with_noise))
    ended = start("intercom_provider", "send", "--type", "in_app", "--to", "user:ada", "--body", "Hi", stdin="y\n")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["id"] == sandbox.messages[0].id
    assert "unknown in extra" in ended.stderr


def test_the_sandbox_starts_without_airflow() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "intercom_provider", "sandbox", "--port", "0", "--print-json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout
            assert json.loads(process.stdout.readline())["url"]
            process.send_signal(signal.SIGTERM)
            _, imported = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0
    assert not re.search(r"\| +airflow", imported)


def test_get_commands_imports_nothing_that_airflow_has_not_imported() -> None:
    code = """
import sys
import airflow.cli.cli_config
before = set(sys.modules)
from intercom_provider.cli import get_commands
get_commands()
print("ADDED", sorted(name for name in set(sys.modules) - before))
"""
    out = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=os.environ
    ).stdout
    added = out.partition("ADDED ")[2]
    assert "intercom_provider.cli" in added
    for name in (
        "httpx",
        "pydantic",
        "uvicorn",
        "starlette",
        "rich",
        "intercom_provider.api",
        "intercom_provider.hooks",
    ):
        assert f"'{name}" not in added


def test_the_page_names_every_command_and_option() -> None:
    page = (PROJECT / "docs" / "cli.md").read_text(encoding="utf-8")
    (group,) = get_commands()
    assert isinstance(group, GroupCommand)
    for words, command in actions(group):
        assert f"## {' '.join(words)}\n" in page
        if command.name != "sandbox":
            for option in command.args:
                flag = option.flags[0]
                assert (f"`{flag}" if flag.startswith("-") else flag.upper()) in page, flag
